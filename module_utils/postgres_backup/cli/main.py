"""The command line ``postgres-backup``: how to ask and how to answer; what is done is decided in
the use cases.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .. import __version__, settings
from ..errors import PostgresBackupError, UsageError, in_words
from ..findings import finding
from ..machine import config_file, signals
from ..machine.progress import LogProgress, Progress, TerminalProgress, say
from ..text import printable


class Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other, also where JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"Failed to understand the command: {message}",
            f"{self.prog} --help shows what there is",
        )


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"settings to use (default: {config_file.DEFAULT_CONFIG})",
    )
    common.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="the result as one JSON object on standard output",
    )
    common.add_argument(
        "--log-format",
        choices=("text", "json"),
        default=argparse.SUPPRESS,
        help="how each step is told on standard error (default: text; json for machines)",
    )
    common.add_argument(
        "--journald",
        action="store_true",
        default=argparse.SUPPRESS,
        help="tell each step to the system's journal too: journalctl -t postgres-backup",
    )
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument(
        "--database",
        default="",
        metavar="NAME",
        help="which database, where the settings name several",
    )
    dry = argparse.ArgumentParser(add_help=False)
    dry.add_argument("--check", action="store_true", help="say what would be done, and do nothing")
    key = argparse.ArgumentParser(add_help=False)
    key.add_argument(
        "--identity", metavar="FILE", default="", help="private age key, for an encrypted backup"
    )

    parser = Parser(
        prog="postgres-backup",
        parents=[common],
        description="Backups of PostgreSQL into S3-compatible object storage, and the way back.",
        epilog="Exit status: 0 done; 1 failed, nothing was lost; 2 wrong usage or settings, nothing was touched; "
        "3 another run holds the lock; 4 a check found a backup bad.",
    )
    parser.add_argument("--version", action="version", version=f"postgres-backup {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            parents=[common, *parents],
        )

    backup = command("backup", "back up a database now", one, dry)
    backup.add_argument(
        "--tables",
        default="",
        metavar="A,B",
        help="only these tables (into partial/; patterns as for pg_dump --table)",
    )
    backup.add_argument(
        "--schema-only", action="store_true", help="definitions without rows (into partial/)"
    )
    command("list", "list the backups in the bucket, newest first", one)
    restore = command(
        "restore",
        "make a database what it was in a backup; the one it replaces is kept",
        one,
        dry,
        key,
    )
    restore.add_argument("backup", metavar="FILE", help="a name as listed, or latest")
    restore.add_argument(
        "--in-place",
        action="store_true",
        help="no second copy: in one transaction inside the live database; nothing is kept to go back to",
    )
    restore.add_argument(
        "--tables",
        default="",
        metavar="A,B",
        help="only these tables, in one transaction of the live database; names as in SQL",
    )
    undo = command("undo-restore", "swap the database that a restore replaced back in", one, dry)
    undo.add_argument(
        "kept",
        nargs="?",
        default="",
        metavar="KEPT_DATABASE",
        help="which one (default: the newest)",
    )
    prune = command("prune", "delete the backups that the retention no longer keeps", one, dry)
    prune.add_argument(
        "--allow-many", action="store_true", help="let this run delete more than half of them"
    )
    command(
        "status", "say whether the newest backup is fresh, what is kept and when the next one runs"
    )
    verify = command(
        "verify", "read a backup to its end and compare it with its manifest", one, dry, key
    )
    verify.add_argument("backup", metavar="FILE", help="a name as listed, or latest")
    command(
        "adopt",
        "take over backups without a manifest (made by older scripts), so that the retention counts for them",
        one,
        dry,
    )
    command(
        "kit",
        "save the server kit now: the files of BACKUP_PATHS that a lost server needs beside its database",
        dry,
    )
    kit = command("restore-kit", "put the files of a server kit back", dry, key)
    kit.add_argument("kit", metavar="FILE", help="a name under kit/ in the bucket, or latest")
    kit.add_argument(
        "--to",
        required=True,
        metavar="DIR",
        help="the folder that stands for /; as root with --to / everything returns to its place",
    )
    history = command(
        "history", "say what happened: backups, failures, restores and prunes, newest first", one
    )
    history.add_argument(
        "--days", type=float, default=7, metavar="N", help="how far back (default: 7)"
    )
    command(
        "watch",
        "what cron calls every hour: look whether all is well, tell who should know, make up for a run that did not happen",
    )
    alert_test = command("alert-test", "send a test to everybody who is told of trouble", dry)
    alert_test.add_argument(
        "--only-new", action="store_true", help="only to addresses that no test has reached yet"
    )
    run = command("run", "what cron calls at night: back up every database, then prune")
    run.add_argument(
        "--at",
        default="",
        metavar="HH:MM",
        help="do nothing unless it is this time of day in UTC, or up to 15 minutes later, and today's run is still to be done",
    )
    return parser


def _split(names: str) -> list[str]:
    """Patterns between commas; a comma in double quotes belongs to a name, as in ``'users,"odd,
    one"'``.
    """
    return [name.strip() for name in re.findall(r'(?:"[^"]*"|[^,"]|")+', names) if name.strip()]


def _identities(path: str) -> tuple[str, ...]:
    """The private keys in an age key file (lines that begin with AGE-SECRET-KEY-).

    :raises UsageError: it cannot be read, or holds none.
    """
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8") as file:
            found = tuple(line.strip() for line in file if line.startswith("AGE-SECRET-KEY-"))
    except OSError as error:
        raise UsageError(f"Failed to read the key file {path}: {error.strerror}") from None
    if not found:
        raise UsageError(
            f"There is no private key in {path}",
            "A line of it begins with AGE-SECRET-KEY-1; age-keygen makes one",
        )
    return found


def _perform(
    arguments: argparse.Namespace,
    s: settings.Settings,
    progress: Progress,
    identities: tuple[str, ...],
) -> tuple[dict, list[str], int]:
    """:return: the result, lines for a person, the exit status."""
    from ..job import Job

    a = arguments
    job = Job(s, getattr(a, "database", ""), identities, getattr(a, "check", False), progress)
    if a.command == "backup":
        from ..backup.database import create_backup

        return create_backup(job, _split(a.tables), a.schema_only), [], 0
    if a.command == "list":
        from ..health import status

        found = status.info(s, a.database)
        return (
            found,
            status.owner_lines(found.get("owners", [])) * bool(found.get("owners"))
            + status.table(found["backups"]),
            0,
        )
    if a.command == "restore" and a.tables:
        from ..restore.steps import perform_step

        tables, in_place = _split(a.tables), a.in_place or None
        found = perform_step(job, backup=a.backup, tables=tables, in_place=in_place)
        return found, _table_lines(found), 0
    if a.command == "kit":
        from ..backup.kit import create_kit

        return create_kit(job), [], 0
    if a.command == "restore-kit":
        from ..restore.kit import restore_kit

        return restore_kit(job, a.kit, a.to), [], 0
    if a.command == "restore":
        from ..restore.database import restore_database

        found = restore_database(job, a.backup, True if a.in_place else None)
        return (
            found,
            _plan_lines(found)
            if a.check
            else ["Undo: postgres-backup undo-restore"]
            if found["kept_database"]
            else [],
            0,
        )
    if a.command == "undo-restore":
        from ..restore.database import undo_restore

        return undo_restore(job, a.kept), [], 0
    if a.command == "prune":
        from ..backup.prune import prune_backups

        found = prune_backups(job, a.allow_many)
        return (
            found,
            [
                f"{'would delete' if a.check else 'deleted'}  {d['backup']}  {d['reason']}"
                for d in found["deleted"]
            ]
            + [f"kept     {k['backup']}  {k['reason']}" for k in found["kept"]]
            + [f["message"] for f in found["findings"]],
            0,
        )
    if a.command == "status":
        from ..health import status

        found = status.status(s)
        return found, status.lines(found), 0 if found["healthy"] else 4
    if a.command == "verify":
        from ..verify.verify import verify_backup

        return verify_backup(job, a.backup), [], 0
    if a.command == "adopt":
        from ..nightly.adopt import adopt_backups

        found = adopt_backups(job)
        return (
            found,
            [f"adopted  {name}" for name in found["adopted"]]
            + [f"refused  {r['backup']}: {r['reason']}" for r in found["refused"]]
            or ["Nothing waits for adoption."],
            0,
        )
    if a.command == "history":
        from ..catalog import history

        found = history.history(s, a.days, a.database)
        return found, history.lines(found), 0
    if a.command == "watch":
        from ..nightly.watch import look_around

        found = look_around(s, progress)
        return (
            found,
            [f"{t['code']}: {t['message']} (since {t['since']})" for t in found["troubles"]],
            0 if found["healthy"] else 4,
        )
    if a.command == "alert-test":
        from ..health import alarms

        found = alarms.send_test(s, a.only_new, a.check)
        return (
            found,
            [f"{'would be told' if a.check else 'told'}: {kind}" for kind in found["addresses"]]
            or ["No address is new."],
            0,
        )
    from ..nightly.run import run_night

    found = run_night(s, progress, bool(a.at))
    return found, [], found["exit_status"]


def _table_lines(found: dict) -> list[str]:
    return [
        f"{table['table']}: {table['rows']} rows: {table['inserted']} inserted, {table['updated']} set back, {table['deleted']} later ones deleted"
        + (", the table created" if table["created"] else "")
        for table in found["tables"]
    ] + [finding["message"] for finding in found["findings"]]


def _plan_lines(plan: dict) -> list[str]:
    wanted = {
        "backup": "would restore",
        "database": "into",
        "kept_database": "keeping the live one as",
        "missing_roles": "creating roles",
        "sessions": "connections to close",
        "free_bytes": "free bytes",
        "needed_bytes": "needed bytes",
    }
    return [
        f"{text}: {plan[name]}"
        for name, text in wanted.items()
        if plan.get(name) not in (None, [], "")
    ] + [f["message"] for f in plan["findings"]]


def stays_root(command: str) -> bool:
    """Files return to their owners only by root's hand; nothing of it touches the state."""
    return command == "restore-kit"


def become_owner(config: str) -> None:
    """As root: become whoever owns the config, so that the state and the lock stay that user's and
    cron can go on with them.

    :raises UsageError: there is no such config or user.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(config).st_uid
    except OSError as error:
        raise UsageError(
            f"Failed to read the config {config}: {error.strerror}",
            "Run `ansible-playbook setup.yml`, or name another with --config FILE",
        ) from None
    if owner == 0:
        return
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        raise UsageError(
            f"The config {config} belongs to user number {owner}, whom this machine does not know",
            f"chown it to a user: chown postgres-backup {config}",
        ) from None
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(owner)
    os.environ["HOME"] = user.pw_dir
    if not os.access(os.__file__, os.R_OK):
        raise UsageError(
            f"{user.pw_name}, who owns the config, may not read the Python that runs this ({os.path.dirname(os.__file__)})",
            "Run `ansible-playbook setup.yml`, which installs one that everybody may read, or take another Python",
        )


def _progress(arguments: argparse.Namespace) -> Progress:
    """A line that renews itself for whoever sits before a terminal, else the lines of a log."""
    as_json, journal = (
        getattr(arguments, "log_format", "text") == "json",
        getattr(arguments, "journald", False),
    )
    if (
        sys.stderr.isatty()
        and not as_json
        and not journal
        and arguments.command not in ("run", "watch")
    ):
        return TerminalProgress()
    return LogProgress(as_json=as_json, journal=journal)


def main(argv: Sequence[str] | None = None) -> int:
    """:return: the exit status of the contract."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[
            name
        ]  # the settings alone say which server; libpq would listen to PGHOSTADDR, PGOPTIONS and thirty more
    sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in argv
    progress: Progress = LogProgress()
    hide = str
    try:
        arguments = _parser().parse_args(argv)
        config = getattr(arguments, "config", config_file.DEFAULT_CONFIG)
        if arguments.command == "run" and arguments.at:
            from ..machine.schedule import is_due

            if not is_due(arguments.at):
                return _answer({"changed": False, "due": False}, [], as_json, 0)
        signals.listen()
        progress = _progress(arguments)
        identities = _identities(getattr(arguments, "identity", ""))
        if not stays_root(arguments.command):
            become_owner(config)
        found = config_file.load(config, bucket_only=arguments.command in ("list", "history"))
        hide = found.hide
        if arguments.command == "run" and arguments.at:
            from ..machine.schedule import begin

            if not begin(found, arguments.at):
                return _answer({"changed": False, "due": False}, [], as_json, 0)
        result, lines, status = _perform(arguments, found, progress, identities)
    except KeyboardInterrupt as stop:
        signals.deaf()
        progress.close()
        error = PostgresBackupError(
            f"Stopped by {str(stop) or 'Ctrl-C'}",
            "Nothing was lost, and nothing half-done was left",
        )
        return _explain(error, str, as_json)
    except Exception as any_error:  # noqa: BLE001 - the last one to hear of it; never a traceback
        progress.close()
        return _explain(
            in_words(any_error),
            hide,
            as_json,
        )
    progress.close()
    return _answer(result, lines, as_json, status)


def _explain(error: PostgresBackupError, hide: Callable[[str], str], as_json: bool) -> int:
    """Say what failed, why and what to type next; every secret that found its way in is blotted
    out.
    """
    findings = [finding(f["code"], hide(f["message"])) for f in error.findings]
    if as_json:
        answer = {
            "failed": True,
            "error": hide(error.message),
            "hint": hide(error.hint),
            "findings": findings,
            "exit_status": error.exit_status,
        }
        say(json.dumps(answer) + "\n", sys.stdout)
    lines = [
        f"postgres-backup: {hide(error.message)}",
        *(f"  {f['code']}: {f['message']}" for f in findings),
    ]
    if error.hint:
        lines.append(f"  {hide(error.hint)}")
    say("".join(printable(line) + "\n" for line in lines), sys.stderr)
    return error.exit_status


def _answer(result: dict, lines: Sequence[str], as_json: bool, status: int) -> int:
    if as_json:
        say(json.dumps(result, default=str) + "\n", sys.stdout)
    elif lines:
        say("".join(printable(line) + "\n" for line in lines), sys.stdout)
    return status
