"""The commands: each with its name, its help, its arguments and the function that does it.

A use case is imported inside the function of its command: what cron calls every quarter of an hour
must not wait for libraries that it does not need.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..machine.progress import Progress
from ..settings import Settings
from .parser import Argument, days, names, private_keys, whole_days

if TYPE_CHECKING:
    from ..job import Job


@dataclasses.dataclass(frozen=True)
class Call:
    """A command as it was typed, and for whom."""

    arguments: argparse.Namespace
    settings: Settings
    progress: Progress

    @property
    def check(self) -> bool:
        """Say what would be done, and do nothing."""
        return getattr(self.arguments, "check", False)

    @property
    def job(self) -> Job:
        """The work that is asked for."""
        from ..job import Job

        asked = self.arguments
        return Job(
            self.settings,
            getattr(asked, "database", ""),
            getattr(asked, "identity", ()),
            self.check,
            self.progress,
            getattr(asked, "trust_unsigned", False),
            getattr(asked, "roles_with_power", False),
            smaller=getattr(asked, "smaller", False),
        )


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of it: the result, what it says to a person, and the exit status."""

    result: Mapping[str, object]
    lines: Sequence[str] = ()
    exit_status: int = 0


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    :param stays_root: files return to their owners only by root's hand; nothing of it touches the
        state.
    :param bucket_only: settings that name no more than a bucket are enough.
    :param in_the_background: nobody sits before it: it tells its steps as a log, on a terminal too.
    :param examples: as they are typed, without the name of the program.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...]
    perform: Callable[[Call], Answer]
    stays_root: bool = False
    bucket_only: bool = False
    in_the_background: bool = False
    examples: tuple[str, ...] = ()


#: by name, in the order of ``--help``
COMMANDS: dict[str, Command] = {}


def command(
    name: str,
    help: str,
    *arguments: Argument,
    stays_root: bool = False,
    bucket_only: bool = False,
    in_the_background: bool = False,
    examples: Sequence[str],
) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Register the function below as the command of that name."""

    def register(perform: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        COMMANDS[name] = Command(
            name,
            help,
            arguments,
            perform,
            stays_root,
            bucket_only,
            in_the_background,
            tuple(examples),
        )
        return perform

    return register


def _unlogged(lines: list[str], check: bool = False) -> list[str]:
    """What standard output has to say when the log has ended with the first line: the rest.

    :param check: the log does not end so.
    """
    return lines if check else lines[1:]


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
    return [*told, difference] if call.check else _unlogged(told)


DATABASE = Argument(
    "--database",
    default="",
    metavar="NAME",
    help="which database, where the settings name several",
)
CHECK = Argument("--check", action="store_true", help="say what would be done, and do nothing")
IDENTITY = Argument(
    "--identity",
    metavar="FILE",
    type=private_keys,
    default=(),
    help="private age key, for an encrypted backup",
)
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
LOG_FILE = Argument(
    "--log-file",
    metavar="FILE",
    default="",
    help="write to the end of this file; where it cannot be written, the work is done all the "
    "same, and that is an alarm",
)
FROM = Argument(
    "--from",
    dest="source",
    choices=("copy",),
    default="",
    help="copy: from the second store (backup_copy_to) instead of the first",
)
BACKUP = Argument("backup", metavar="FILE", help="a name as listed, or latest")


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
    return Answer(result, _unlogged(database.lines(result), call.check))


@command(
    "list",
    "list the backups in the bucket, newest first",
    DATABASE,
    Argument("--partial", action="store_true", help="the parts of backups instead"),
    FROM,
    bucket_only=True,
    examples=["list", "list --partial", "list --from copy"],
)
def _list(call: Call) -> Answer:
    from ..health import listing
    from ..machine.progress import columns

    asked = call.arguments
    result = listing.look(call.settings, asked.database, partial=asked.partial)
    return Answer(result, listing.lines(result, columns(sys.stdout)))


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
        return Answer(result, _unlogged(told, call.check and not asked.tables))
    from ..restore import database

    _tell(call, ALONE)
    result = database.restore_database(call.job, asked.backup, in_place)
    return Answer(result, _planned(call, ALONE, database.lines(result)))


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
    examples=["drill", "drill latest --fast"],
)
def _drill(call: Call) -> Answer:
    from ..drill import database, result

    asked = call.arguments
    done = database.drill_database(call.job, asked.backup, asked.fast, asked.fail_on, asked.junit)
    told = result.lines(done, call.check)
    return Answer(done, _unlogged(told, call.check), 0 if done["passed"] else 4)


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
    return Answer(result, _unlogged(prune.lines(result, call.check)))


@command(
    "status",
    "say whether the newest backup is fresh, what is kept and when the next one runs",
    examples=["status", "status --json"],
)
def _status(call: Call) -> Answer:
    from ..health import status

    result = status.status(call.settings, counting=True)
    return Answer(result, status.lines(result), 0 if result["healthy"] else 4)


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
    return Answer(result, _unlogged(verify.lines(result)))


@command(
    "adopt",
    "vouch for backups that nobody has signed (of older scripts, or of this server before it had a "
    "key), so that they are restored and the retention counts for them",
    DATABASE,
    CHECK,
    IDENTITY,
    Argument("--yes", action="store_true", help="these are to be believed; else they are listed"),
    Argument(
        "--server",
        default="",
        metavar="ID",
        help="take over what another server of the same name has taken until now: its system "
        "identifier, as `status` names it",
    ),
    Argument(
        "backups",
        nargs="*",
        metavar="FILE",
        help="only these, also where they have other tables than the live database",
    ),
    examples=["adopt", "adopt --yes"],
)
def _adopt(call: Call) -> Answer:
    from ..nightly import adopt

    asked = call.arguments
    result = adopt.adopt_backups(call.job, asked.backups, asked.server, asked.yes)
    return Answer(result, adopt.lines(result, call.check), 2 if result["offered"] else 0)


@command(
    "key",
    "say by which key this server signs, made where it is missing, and how others believe it",
    CHECK,
    Argument(
        "--rotate",
        action="store_true",
        help="a new one in its place; what the old one signed stays good",
    ),
    examples=["key", "key --rotate --check"],
)
def _key(call: Call) -> Answer:
    from ..signing import own_key

    result = own_key.own_key(call.settings, call.arguments.rotate, call.check)
    return Answer(result, own_key.lines(result, call.check))


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
    return Answer(result, _unlogged(kit.lines(result), call.check))


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
    return Answer(result, _unlogged(copy.lines(result, call.check), call.check))


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
    return Answer(result, _unlogged(move.lines(result, call.check), call.check))


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
    "history",
    "say what happened: backups, failures, restores and prunes, newest first",
    DATABASE,
    Argument("--days", type=days, default=7, metavar="N", help="how far back (default: 7)"),
    bucket_only=True,
    examples=["history", "history --days 30"],
)
def _history(call: Call) -> Answer:
    from ..catalog import history

    result = history.history(call.settings, call.arguments.days, call.arguments.database)
    return Answer(result, history.lines(result))


@command(
    "store-check",
    "say what the store can do, by trying it on canaries under store-check/; status 4 where it is "
    "not fit for backups",
    CHECK,
    FROM,
    bucket_only=True,
    examples=["store-check", "store-check --json"],
)
def _store_check(call: Call) -> Answer:
    from ..health import store_check

    result = store_check.check_store(call.settings, call.progress, check=call.check)
    return Answer(result, store_check.lines(result), 4 if result["fit"] is False else 0)


@command(
    "watch",
    "what cron calls every hour: look whether all is well, tell who should know, "
    "make up for a run that did not happen",
    LOG_FILE,
    in_the_background=True,
    examples=["watch"],
)
def _watch(call: Call) -> Answer:
    from ..machine import signals
    from ..nightly import watch

    signals.heed()
    result = watch.look_around(call.settings, call.progress)
    return Answer(result, watch.lines(result), 0 if result["healthy"] else 4)


@command(
    "pitr-backup",
    "what cron calls each day where every second is kept: back up the cluster, in full once a week",
    Argument("--full", action="store_true", help="in full, however old the last full one is"),
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-backup --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_backup(call: Call) -> Answer:
    from ..machine import signals
    from ..pitr import take

    signals.heed()
    result = take.take(call.settings, call.progress, call.arguments.full)
    told = take.lines(result)
    for line in told:
        call.progress.step(line)
    return Answer(result, told)


@command(
    "pitr-drill",
    "what cron calls each month where every second is kept: write two rows, recover beside the "
    "live cluster to between them, and see that the first is there and the second is not",
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-drill --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_drill(call: Call) -> Answer:
    from ..machine import signals
    from ..pitr import drill

    signals.heed()
    result = drill.drill(call.settings, call.progress)
    told = drill.lines(result)
    for line in told:
        call.progress.step(line)
    return Answer(result, told, 0 if result["passed"] else 4)


@command(
    "pitr-look",
    "what cron calls every two minutes where every second is kept: see that all that is written "
    "is archived, as PostgreSQL's user, and leave it to be read",
    in_the_background=True,
    examples=["pitr-look --config /etc/postgres-backup-pitr/config.env"],
)
def _pitr_look(call: Call) -> Answer:
    from ..pitr import drill, look

    drill.tidy(call.settings)  # of one that was broken off, as where the power went
    seen, lost = look.look(call.settings)
    return Answer({**seen, "changed": False, "findings": lost}, look.lines(seen))


@command(
    "pitr-watch",
    "what cron calls behind it: tell who should know where not every second is kept",
    LOG_FILE,
    in_the_background=True,
    examples=["pitr-watch"],
)
def _pitr_watch(call: Call) -> Answer:
    from ..health import archiving, archiving_drills, archiving_metrics

    found, seen = archiving.settle(call.settings), archiving.known(call.settings)
    found += archiving_metrics.renew(call.settings, seen)
    found += archiving_drills.note(call.settings, seen)
    told = [f"{one['code']}: {one['message']}" for one in found]
    for line in told:
        call.progress.step(call.settings.hide(f"watch: {line}"))
    wrong = any(one["code"] in archiving.CODES for one in found)
    return Answer({"changed": False, "healthy": not wrong, "findings": found}, told, 4 * wrong)


@command(
    "alert-test",
    "send a test to everybody who is told of trouble",
    CHECK,
    Argument(
        "--only-new", action="store_true", help="only to addresses that no test has reached yet"
    ),
    examples=["alert-test", "alert-test --only-new"],
)
def _alert_test(call: Call) -> Answer:
    from ..health import alarms

    result = alarms.send_test(call.settings, call.arguments.only_new, call.check)
    return Answer(result, alarms.lines(result))


#: of a run that is not due
NOT_DUE = Answer({"changed": False, "due": False})


@command(
    "run",
    "what cron calls at night: back up every database, then prune",
    Argument(
        "--at",
        default="",
        metavar="HH:MM",
        help="do nothing unless it is this time of day in UTC, or up to 15 minutes later, "
        "and today's run is still to be done, or it failed and is to be tried again by now",
    ),
    LOG_FILE,
    in_the_background=True,
    examples=["run", "run --at 02:30 --log-file /var/log/postgres-backup.log"],
)
def _run(call: Call) -> Answer:
    from ..machine import signals

    signals.defer()  # a night that was begun tells how it ended
    if call.arguments.at:
        from ..machine.schedule import begin

        if not begin(call.settings, call.arguments.at):
            return NOT_DUE
    from ..nightly.run import run_night

    result = run_night(call.settings, call.progress, bool(call.arguments.at))
    if result is None:
        return NOT_DUE
    return Answer(result, exit_status=result["exit_status"])


def worth_beginning(arguments: argparse.Namespace) -> bool:
    """Whether there may be something to do: from what was typed alone, or from what is remembered
    of a night that failed; before anything else is loaded.
    """
    if arguments.command != "run" or not arguments.at:
        return True
    from ..machine import config_file, schedule

    config = getattr(arguments, "config", config_file.DEFAULT_CONFIG)
    return schedule.is_due(arguments.at) or schedule.may_be_due(arguments.at, config)
