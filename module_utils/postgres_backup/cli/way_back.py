"""The way back: restores and their undoing, and whether a backup would be one."""

from __future__ import annotations

from .command import CHECK, DATABASE, FROM, IDENTITY, LOG_FILE, Answer, Call, command, unlogged
from .parser import Argument, names, whole_days

TRUST_UNSIGNED = Argument(
    "--trust-unsigned",
    action="store_true",
    help="use what is not signed, or by a key that is not trusted: whoever wrote it has the "
    "rights that it is loaded with",
)

ROLES_WITH_POWER = Argument(
    "--roles-with-power",
    action="store_true",
    help="with --trust-unsigned: its roles may be superusers and the like",
)

SMALLER = Argument(
    "--smaller",
    action="store_true",
    help="a backup with less than RESTORE_MIN_PERCENT (50) percent of the live rows is meant",
)

BACKUP = Argument("backup", metavar="FILE", help="a name as listed, or latest")

#: in what the command line differs from the playbook of the same name
ALONE = (
    "No application is stopped for the swap, and rows are not compared with those that were live "
    "until then: ansible-playbook restore.yml does both"
)
ALONE_BACK = (
    "No application is stopped for the swap: ansible-playbook playbooks/undo_restore.yml does"
)


def _tell(call: Call, difference: str) -> None:
    """Before anything is done."""
    if not call.check:
        call.progress.step(difference)


def _planned(call: Call, difference: str, told: list[str]) -> list[str]:
    """The lines of a plan, or what the log has not said."""
    return [*told, difference] if call.check else unlogged(told)


@command(
    "restore",
    "make a database what it was in a backup; the one it replaces is kept",
    DATABASE,
    CHECK,
    IDENTITY,
    BACKUP,
    Argument(
        "--in-place",
        action="store_true",
        help="no second copy: in one transaction inside the live database; "
        "nothing is kept to go back to",
    ),
    Argument(
        "--tables",
        type=names,
        default=(),
        metavar="A,B",
        help="only these tables, in one transaction of the live database; names as in SQL",
    ),
    Argument(
        "--triggers",
        choices=("off", "on"),
        default="off",
        help="with --tables: whether the application's triggers fire for what is written "
        "(default: off, as in replication)",
    ),
    Argument(
        "--as",
        dest="copy_as",
        metavar="NAME",
        default="",
        help="as a database of that name beside the live one, which stays as it is",
    ),
    Argument(
        "--keep-days",
        type=whole_days,
        metavar="N",
        help="with --as: drop it after so many days (default: KEEP_REPLACED_DAYS)",
    ),
    SMALLER,
    FROM,
    TRUST_UNSIGNED,
    ROLES_WITH_POWER,
    examples=[
        "restore latest --check",
        "restore latest",
        "restore latest --tables users",
        "restore latest --as crm_look --keep-days 3",
    ],
)
def _restore(call: Call) -> Answer:
    asked = call.arguments
    in_place = True if asked.in_place else None
    chosen = asked.tables or asked.copy_as or asked.keep_days is not None
    if chosen or asked.triggers == "on":
        from ..restore import steps

        result = steps.perform_step(
            call.job,
            backup=asked.backup,
            tables=asked.tables,
            copy_as=asked.copy_as,
            keep_days=asked.keep_days,
            in_place=in_place,
            triggers=asked.triggers,
        )
        told = steps.lines(result, check=call.check)
        # tables are loaded, and so the log tells of them, in check mode too
        return Answer(result, unlogged(told, call.check and not asked.tables))
    from ..restore import database

    _tell(call, ALONE)
    result = database.restore_database(call.job, asked.backup, in_place)
    return Answer(result, _planned(call, ALONE, database.lines(result)))


@command(
    "undo-restore",
    "take the last restore back: swap the database that it replaced back in, or set the rows back "
    "that a restore of tables has changed",
    DATABASE,
    CHECK,
    Argument(
        "kept",
        nargs="?",
        default="",
        metavar="KEPT_DATABASE",
        help="which one (default: the newest)",
    ),
    examples=["undo-restore --check", "undo-restore"],
)
def _undo_restore(call: Call) -> Answer:
    from ..restore import database

    _tell(call, ALONE_BACK)
    result = database.undo_restore(call.job, call.arguments.kept)
    return Answer(result, _planned(call, ALONE_BACK, database.undo_lines(result, call.check)))


@command(
    "restore-kit",
    "put the files of a server kit back",
    CHECK,
    IDENTITY,
    Argument("kit", metavar="FILE", help="a name under kit/ in the bucket, or latest"),
    Argument(
        "--to",
        required=True,
        metavar="DIR",
        help="the folder that stands for /; as root with --to / everything returns to its place",
    ),
    FROM,
    TRUST_UNSIGNED,
    stays_root=True,
    examples=["restore-kit latest --to /tmp/kit"],
)
def _restore_kit(call: Call) -> Answer:
    from ..restore import kit

    result = kit.restore_kit(call.job, call.arguments.kit, call.arguments.to)
    return Answer(result, kit.lines(result, call.check))


@command(
    "drill",
    "restore a backup beside the live database, see whether it is what it should be, and remove "
    "it again; the live database is not touched",
    DATABASE,
    CHECK,
    IDENTITY,
    Argument(
        "backup",
        nargs="?",
        default="latest",
        metavar="FILE",
        help="a name as listed (default: latest)",
    ),
    Argument("--fast", action="store_true", help="at the full speed of a restore"),
    Argument(
        "--junit", default="", metavar="FILE", help="write the checks there too, as JUnit has them"
    ),
    Argument(
        "--fail-on",
        choices=("failed", "warning", "note"),
        default="failed",
        help="what is found at this level or above ends with status 4 (default: failed)",
    ),
    FROM,
    LOG_FILE,
    examples=["drill", "drill latest --fast"],
)
def _drill(call: Call) -> Answer:
    from ..drill import database, result

    asked = call.arguments
    done = database.drill_database(call.job, asked.backup, asked.fast, asked.fail_on, asked.junit)
    told = result.lines(done, call.check)
    return Answer(done, unlogged(told, call.check), 0 if done["passed"] else 4)


@command(
    "verify",
    "read a backup to its end and compare it with its manifest",
    DATABASE,
    CHECK,
    IDENTITY,
    BACKUP,
    FROM,
    examples=["verify latest", "verify latest --from copy"],
)
def _verify(call: Call) -> Answer:
    from ..verify import verify

    result = verify.verify_backup(call.job, call.arguments.backup)
    return Answer(result, unlogged(verify.lines(result)))
