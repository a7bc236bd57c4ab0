"""An ``archive_command`` that is not ours, on a server of its own: what does not get through is an
alarm, which ends when it does.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path

import pytest

from postgres_backup.health import alarms, archive_command
from postgres_backup.health.alarm_kinds import Alarm
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.watch import look_around
from tests.conftest import Database
from tests.services.brief import BriefPostgresServer
from tests.waiting import wait_for

FAILED = "SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver"


def replace(program: Path, line: str) -> None:
    """At once, for PostgreSQL calls it at any time."""
    new = program.with_name("new")
    new.write_text(f"#!/bin/sh\n{line}\n")
    new.chmod(0o755)
    new.replace(program)


def write_a_piece(server) -> None:
    server.execute("SELECT txid_current()")
    server.execute("SELECT pg_switch_wal()")


@pytest.fixture(scope="module")
def archiving(tmp_path_factory):
    """A server that archives by a program which another may take the place of; nothing gets through
    yet.
    """
    folder = tmp_path_factory.mktemp("archive")
    folder.chmod(0o755)  # PostgreSQL may have another user
    push = folder / "push"
    replace(push, "exit 1")
    settings = {"archive_mode": "on", "archive_command": str(push)}
    with BriefPostgresServer(tmp_path_factory.mktemp("archiving"), 16, settings=settings) as server:
        server.execute("CREATE ROLE crm LOGIN PASSWORD 'not a real one'")
        server.execute("CREATE DATABASE crm OWNER crm")
        write_a_piece(server)
        wait_for("a failure", lambda: server.execute(FAILED) == [(True,)])
        yield server, push


@pytest.fixture
def settings(archiving, new_config, s3, bucket):
    database = Database(archiving[0], "crm", "crm", "not a real one", "role_crm_")
    return new_config(database, s3, bucket).settings


def open_codes(settings) -> list[str]:
    return [one["code"] for one in alarms.open_alarms(settings)]


def test_what_does_not_get_through_is_an_alarm_that_ends_with_it(archiving, settings, monkeypatch):
    server, push = archiving
    assert archive_command.settle(settings) == []
    assert open_codes(settings) == []  # it may be mended in a moment
    monkeypatch.setattr(archive_command, "PATIENCE", timedelta(0))
    look_around(settings, Progress())
    [alarm] = [one for one in alarms.open_alarms(settings) if one["code"] == archive_command.CODE]
    [(segment,)] = server.execute("SELECT last_failed_wal FROM pg_stat_archiver")
    assert f"archive_command fails for {segment}" in alarm["message"]
    replace(push, "exit 0")
    write_a_piece(server)
    wait_for("its end", lambda: server.execute(FAILED) == [(False,)], timeout=90)
    look_around(settings, Progress())
    assert archive_command.CODE not in open_codes(settings)


def test_a_program_that_is_gone_is_one_too_though_no_failure_is_counted(
    archiving, settings, monkeypatch
):
    monkeypatch.setattr(archive_command, "PATIENCE", timedelta(0))
    server, push = archiving
    replace(push, "exit 0")
    write_a_piece(server)
    wait_for("its end", lambda: server.execute(FAILED) == [(False,)], timeout=90)
    push.unlink()

    def has_told() -> bool:
        write_a_piece(server)
        assert archive_command.settle(settings) == []
        return open_codes(settings) == [archive_command.CODE]

    wait_for("pieces that wait", has_told)
    [alarm] = alarms.open_alarms(settings)
    assert re.search(r"archive_command leaves \d+ pieces", alarm["message"])
    assert server.execute(FAILED) == [(False,)]


def test_a_server_that_does_not_answer_neither_raises_nor_ends_it(settings):
    raised = Alarm(archive_command.CODE, "", "since yesterday")
    alarms.settle(settings, [raised.key], [raised])
    gone = dataclasses.replace(settings, db_port=1)
    assert archive_command.settle(gone) == []
    assert open_codes(gone) == [archive_command.CODE]
