"""The way out: backups, the server kit, and what is past its time; here and in the second store."""

from __future__ import annotations

from .command import CHECK, DATABASE, Answer, Call, command, unlogged
from .parser import Argument, names


@command(
    "backup",
    "back up a database now",
    DATABASE,
    CHECK,
    Argument(
        "--tables",
        type=names,
        default=(),
        metavar="A,B",
        help="only these tables (into partial/; patterns as for pg_dump --table)",
    ),
    Argument("--schema-only", action="store_true", help="definitions without rows (into partial/)"),
    Argument(
        "--emptied",
        type=names,
        default=(),
        metavar="A,B",
        help="these tables have lost all of their rows, and are meant to (all: every one)",
    ),
    examples=["backup", "backup --tables users,public.orders", "backup --schema-only"],
)
def _backup(call: Call) -> Answer:
    from ..backup import database

    asked = call.arguments
    result = database.create_backup(call.job, asked.tables, asked.schema_only, asked.emptied)
    return Answer(result, unlogged(database.lines(result), call.check))


@command(
    "prune",
    "delete the backups that the retention no longer keeps",
    DATABASE,
    CHECK,
    Argument(
        "--allow-many", action="store_true", help="let this run delete more than half of them"
    ),
    examples=["prune --check", "prune"],
)
def _prune(call: Call) -> Answer:
    from ..backup import prune

    result = prune.prune_backups(call.job, call.arguments.allow_many)
    return Answer(result, unlogged(prune.lines(result, call.check)))


@command(
    "kit",
    "save the server kit now: the files of BACKUP_PATHS that a lost server needs beside its "
    "database",
    CHECK,
    examples=["kit --check", "kit"],
)
def _kit(call: Call) -> Answer:
    from ..backup import kit

    result = kit.create_kit(call.job)
    return Answer(result, unlogged(kit.lines(result), call.check))


@command(
    "copy",
    "copy to the second store (backup_copy_to) what is not there yet, as each night does, and "
    "delete there what its own retention no longer keeps",
    CHECK,
    examples=["copy --check", "copy"],
)
def _copy(call: Call) -> Answer:
    from ..copying import copy

    result = copy.copy_backups(call.job)
    return Answer(result, unlogged(copy.lines(result, call.check), call.check))


@command(
    "move",
    "move this server's objects into a folder of its own under the prefix that it shares with "
    "others: the store copies them, then the config names the folder; the same again removes the "
    "old ones",
    CHECK,
    examples=["move --check", "move"],
)
def _move(call: Call) -> Answer:
    from ..copying import move
    from ..machine.config_file import DEFAULT_CONFIG

    result = move.move(call.job, getattr(call.arguments, "config", DEFAULT_CONFIG))
    return Answer(result, unlogged(move.lines(result, call.check), call.check))
