"""The frame around a command."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from postgres_backup.cli import commands, main
from postgres_backup.cli.command import Answer
from postgres_backup.errors import LockedError, StoreError
from postgres_backup.machine import signals
from postgres_backup.machine.progress import LogProgress, TerminalProgress

PASSWORD = "correct-horse"


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch):
    """The test keeps its own, and its own user."""
    monkeypatch.setattr(signals, "listen", lambda: None)
    monkeypatch.setattr(signals, "deaf", lambda: None)
    monkeypatch.setattr(main, "become_owner", lambda _config: None)


@pytest.fixture
def status(monkeypatch, tmp_path):
    """``status(perform)``: the exit status of a command that does that."""
    config = tmp_path / "backup-config.env"
    config.write_text(
        "SERVER_NAME=db1\nDB_NAME=crm\nDB_USER=u\nS3_BUCKET_NAME=bucket\n"
        f"DB_PASSWORD={PASSWORD}\nS3_ENDPOINT_URL=http://127.0.0.1:1\n"
        "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=bbbbbb\n"
    )
    config.chmod(0o600)

    def run(perform, *typed: str) -> int:
        changed = dataclasses.replace(commands.COMMANDS["status"], perform=perform)
        monkeypatch.setitem(commands.COMMANDS, "status", changed)
        return main.main(["--config", str(config), "status", *typed])

    return run


def test_an_answer_is_shown_and_its_status_is_ours(status, capsys):
    answer = Answer({"healthy": False}, ["NOT WELL"], 4)
    assert status(lambda call: answer) == 4
    assert capsys.readouterr() == ("NOT WELL\n", "")
    assert status(lambda call: answer, "--json") == 4
    assert json.loads(capsys.readouterr().out) == {"healthy": False}


def test_a_command_is_given_its_settings_and_no_libpq_is_asked(status, monkeypatch):
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.1")

    def perform(call):
        assert (call.settings.server_name, call.settings.databases) == ("db1", ("crm",))
        assert "PGHOSTADDR" not in os.environ
        return Answer({})

    assert status(perform) == 0


def test_an_error_has_its_status_and_hides_the_secrets_of_the_settings(status, capsys):
    def perform(call):
        raise LockedError(f"{PASSWORD} is held")

    assert status(perform) == 3
    assert capsys.readouterr().err == "postgres-backup: ******** is held\n"


def test_a_mistake_is_no_traceback(status, capsys):
    assert status(lambda call: 1 / 0) == 1
    assert "Failed unexpectedly: ZeroDivisionError" in capsys.readouterr().err


def test_whoever_is_stopped_says_by_what(status, capsys):
    def perform(call):
        raise KeyboardInterrupt("SIGTERM")

    assert status(perform, "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"] == "Stopped by SIGTERM"


def test_wrong_usage_is_told_as_json_where_json_was_asked_for(capsys):
    assert main.main(["--json", "bogus"]) == 2
    assert json.loads(capsys.readouterr().out)["failed"] is True


@pytest.mark.parametrize(
    ("typed", "background", "kind"),
    [
        ([], False, TerminalProgress),
        ([], True, LogProgress),
        (["--log-format", "json"], False, LogProgress),
    ],
)
def test_a_terminal_has_a_line_that_renews_itself(
    status, monkeypatch, capsys, typed, background, kind
):
    told = []
    kept = dataclasses.replace(commands.COMMANDS["status"], in_the_background=background)
    monkeypatch.setitem(commands.COMMANDS, "status", kept)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    def perform(call):
        told.append(type(call.progress))
        return Answer({})

    assert status(perform, *typed) == 0
    assert told == [kind]


def test_only_a_restore_that_failed_says_whom_to_call(status, monkeypatch, capsys, tmp_path):
    def fail(call):
        raise StoreError("It is away")

    status(fail)
    config = tmp_path / "backup-config.env"
    config.write_text(config.read_text() + "CONTACT='Aigul, on the phone'\n")
    assert status(fail) == 1
    assert "Whom to call" not in capsys.readouterr().err
    changed = dataclasses.replace(commands.COMMANDS["restore"], perform=fail)
    monkeypatch.setitem(commands.COMMANDS, "restore", changed)
    assert main.main(["--config", str(config), "restore", "latest"]) == 1
    assert capsys.readouterr().err.endswith("\n  Whom to call: Aigul, on the phone\n")
