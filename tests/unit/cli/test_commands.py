"""The commands: what each takes, and what it hands on to its use case."""

from __future__ import annotations

import subprocess
import sys

import pytest

from postgres_backup.backup import database as backup
from postgres_backup.backup import kit, prune
from postgres_backup.catalog import history
from postgres_backup.cli import by_itself, commands, way_back
from postgres_backup.cli.command import Call
from postgres_backup.health import alarms, listing, status
from postgres_backup.machine import schedule
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly import adopt, run, watch
from postgres_backup.restore import database, steps
from postgres_backup.restore import kit as restore_kit
from postgres_backup.settings import Settings
from postgres_backup.signing import own_key
from postgres_backup.verify import verify
from tests.unit.cli.whole import command_line

SETTINGS = Settings(
    server_name="db1",
    databases=("crm",),
    db_user="u",
    s3_endpoint_url="http://127.0.0.1:1",
    s3_bucket="bucket",
    s3_access_key="a",
    s3_secret_key="b",
)


@pytest.fixture
def ask(monkeypatch):
    """``ask("prune --check", room, "prune_backups", {...})``: what the use case was given, and the
    answer; what its result says is ``first`` and ``second``.
    """

    def asked(typed: str, room, name: str, result: dict | None = None):
        given: list = []

        def use_case(*arguments, **more):
            given.extend([*arguments, *more.values()])
            return result or {"offered": []}

        monkeypatch.setattr(room, name, use_case)
        for says in ("lines", "undo_lines"):
            monkeypatch.setattr(room, says, lambda *_, **__: ["first", "second"], raising=False)
        arguments = command_line().understand(typed.split())
        call = Call(arguments, SETTINGS, Progress())
        return given, commands.COMMANDS[arguments.command].perform(call)

    return asked


@pytest.mark.parametrize(
    ("typed", "room", "name", "given", "said"),
    [
        ("backup", backup, "create_backup", [(), False, ()], ["second"]),
        ("backup --check", backup, "create_backup", [(), False, ()], ["first", "second"]),
        ("backup --tables a,b", backup, "create_backup", [["a", "b"], False, ()], ["second"]),
        ("backup --schema-only", backup, "create_backup", [(), True, ()], ["second"]),
        ("backup --emptied a,b", backup, "create_backup", [(), False, ["a", "b"]], ["second"]),
        ("restore latest", database, "restore_database", ["latest", None], ["second"]),
        ("restore x --in-place", database, "restore_database", ["x", True], ["second"]),
        (
            "restore x --check",
            database,
            "restore_database",
            ["x", None],
            ["first", "second", way_back.ALONE],
        ),
        (
            "restore x --tables a",
            steps,
            "perform_step",
            ["x", ["a"], "", None, None, "off"],
            ["second"],
        ),
        (
            "restore x --as look --keep-days 3",
            steps,
            "perform_step",
            ["x", (), "look", 3, None, "off"],
            ["second"],
        ),
        (
            "restore x --as look --check",
            steps,
            "perform_step",
            ["x", (), "look", None, None, "off"],
            ["first", "second"],
        ),
        ("undo-restore", database, "undo_restore", [""], ["second"]),
        (
            "undo-restore old --check",
            database,
            "undo_restore",
            ["old"],
            ["first", "second", way_back.ALONE_BACK],
        ),
        ("prune --check", prune, "prune_backups", [False], ["second"]),
        ("prune --allow-many", prune, "prune_backups", [True], ["second"]),
        ("verify latest", verify, "verify_backup", ["latest"], ["second"]),
        ("adopt", adopt, "adopt_backups", [[], "", False], ["first", "second"]),
        (
            "adopt x --server 7 --yes",
            adopt,
            "adopt_backups",
            [["x"], "7", True],
            ["first", "second"],
        ),
        ("kit", kit, "create_kit", [], ["second"]),
        ("restore-kit k --to /x", restore_kit, "restore_kit", ["k", "/x"], ["first", "second"]),
    ],
)
def test_a_command_hands_on_its_job_and_says_what_the_log_has_not(
    ask, typed, room, name, given, said
):
    (job, *rest), answer = ask(typed, room, name)
    assert (job.settings, job.check) == (SETTINGS, "--check" in typed)
    assert rest == given
    assert list(answer.lines) == said
    assert answer.exit_status == 0


@pytest.mark.parametrize(
    ("typed", "room", "name", "result", "given", "exit_status"),
    [
        ("list --database crm", listing, "look", {}, [SETTINGS, "crm", False], 0),
        ("list --partial", listing, "look", {}, [SETTINGS, "", True], 0),
        ("status", status, "status", {"healthy": True}, [SETTINGS, True], 0),
        ("status", status, "status", {"healthy": False}, [SETTINGS, True], 4),
        ("history --days 2", history, "history", {}, [SETTINGS, 2.0, ""], 0),
        ("key", own_key, "own_key", {}, [SETTINGS, False, False], 0),
        ("key --rotate --check", own_key, "own_key", {}, [SETTINGS, True, True], 0),
        ("alert-test --only-new", alarms, "send_test", {}, [SETTINGS, True, False], 0),
    ],
)
def test_a_question_is_answered_in_full(ask, typed, room, name, result, given, exit_status):
    found, answer = ask(typed, room, name, result)
    assert found == given
    assert list(answer.lines) == ["first", "second"]
    assert answer.exit_status == exit_status


@pytest.mark.parametrize(("healthy", "exit_status"), [(True, 0), (False, 4)])
def test_the_watch_fails_where_something_is_wrong(ask, healthy, exit_status):
    _, answer = ask("watch", watch, "look_around", {"healthy": healthy})
    assert answer.exit_status == exit_status


def test_the_run_of_the_night_ends_as_its_parts_did(ask):
    (settings, _, scheduled), answer = ask("run", run, "run_night", {"exit_status": 3})
    assert (settings, scheduled) == (SETTINGS, False)
    assert (list(answer.lines), answer.exit_status) == ([], 3)


def test_the_run_at_a_time_begins_only_once(ask, monkeypatch):
    monkeypatch.setattr(schedule, "begin", lambda *_: False)
    given, answer = ask("run --at 03:00", run, "run_night", {"exit_status": 0})
    assert (given, answer) == ([], by_itself.NOT_DUE)
    monkeypatch.setattr(schedule, "begin", lambda *_: True)
    (_, _, scheduled), _ = ask("run --at 03:00", run, "run_night", {"exit_status": 0})
    assert scheduled


def test_only_a_run_at_another_time_is_not_worth_beginning(monkeypatch):
    build = command_line()
    monkeypatch.setattr(schedule, "is_due", lambda at: at == "03:00")
    for typed, worth in (("run --at 03:00", True), ("run --at 04:00", False), ("run", True)):
        assert by_itself.worth_beginning(build.understand(typed.split())) == worth
    assert by_itself.worth_beginning(build.understand(["status"]))


def test_who_stays_root_and_who_needs_a_bucket_only():
    by = commands.COMMANDS.items()
    assert [name for name, one in by if one.stays_root] == ["restore-kit"]
    assert [name for name, one in by if one.bucket_only] == ["list", "history", "store-check"]
    assert [name for name, one in by if one.in_the_background] == [
        "watch",
        "pitr-backup",
        "pitr-drill",
        "pitr-look",
        "pitr-watch",
        "run",
    ]


def test_the_call_of_every_quarter_of_an_hour_loads_no_library():
    heavy = ("boto3", "botocore", "psycopg", "apprise", "jinja2", "prometheus_client")
    code = (
        "import sys; from postgres_backup.cli import main; from postgres_backup.machine import "
        "schedule; schedule.is_due = lambda at: False; status = main.main(['run', '--at', '03:00'])"
        f"; print(status, [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0 []\n"
