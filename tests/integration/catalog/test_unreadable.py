"""A manifest that the store does not hand out is one finding at that backup: everything else goes
on, the latest is the newest that can be read, and nothing is deleted because of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.job import Job
from postgres_backup.s3 import seen
from tests.integration import engine

#: how it cannot be read
ANSWERS = ("manifest denied", "manifest gone", "web page", "garbage")


@pytest.fixture
def three(config, database, s3_client, bucket):
    """Names of backups, newest first: two of this database, whose rows are the same, and one that
    is past its time.
    """
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 5) i")
    config.change(RETENTION_DAYS="3")
    older, newest = (create_backup(Job(config.settings))["backup"] for _ in range(2))
    past = datetime.now(timezone.utc) - timedelta(days=9)
    return [newest, older, engine.forge(s3_client, bucket, past, database=database.name)]


def asked(config, *typed: str):
    """A command of a server that has read nothing before."""
    (Path(config.settings.state_dir) / seen.NAME).unlink(missing_ok=True)
    return engine.run(config.path, *typed)


def manifest_of(name: str) -> str:
    parsed = BackupName.parse(name)
    assert parsed
    return Layout("postgres-backup").manifest(parsed)


@pytest.mark.parametrize("played", ANSWERS)
def test_one_spoils_nothing_else(three, config, hostile, s3_client, bucket, played):
    newest, older, past = three
    config.change(S3_ENDPOINT_URL=hostile.endpoint_url)
    hostile.play(played, "GET", contains=manifest_of(newest))
    code = "MANIFEST_DAMAGED" if played == "garbage" else "MANIFEST_UNREADABLE"
    lines = {
        line["backup"]: line for line in engine.answer(asked(config, "list", "--json"))["backups"]
    }
    assert [lines[name]["state"] for name in three] == ["bad", "good", "good"]
    assert "manifest" in lines[newest]["problem"]
    status = asked(config, "status", "--json")
    assert status.returncode == 4
    found = [one for one in engine.answer(status)["findings"] if one["code"] == code]
    assert [newest in one["message"] for one in found] == [True]
    for typed in (("restore", newest, "--check"), ("verify", newest)):
        if typed[0] == "restore" or played != "garbage":
            engine.failed_well(asked(config, *typed), 4, newest)
    latest = asked(config, "restore", "latest", "--check", "--json")
    if played == "garbage":  # its signature is that of other bytes: somebody has been there
        engine.failed_well(latest, 4, newest, "forged")
    else:
        told = engine.answer(latest)
        assert told["backup"] == older
        assert [newest in one["message"] for one in told["findings"] if one["code"] == code] == [
            True
        ]
        assert f"{code}: {newest} is newer than {older}" in latest.stderr
    pruned = engine.answer(asked(config, "prune", "--json"))
    assert [one["backup"] for one in pruned["deleted"]] == [past], pruned
    assert {f"postgres-backup/{newest}", manifest_of(newest)} <= set(engine.keys(s3_client, bucket))


def test_where_none_can_be_read_nothing_is_done(three, config, hostile, s3_client, bucket):
    config.change(S3_ENDPOINT_URL=hostile.endpoint_url)
    before = engine.keys(s3_client, bucket)
    hostile.play("manifest denied")
    assert asked(config, "list").returncode == 0
    engine.failed_well(asked(config, "restore", "latest", "--check"), 4, three[0])
    pruned = asked(config, "prune", "--json")
    assert engine.answer(pruned)["deleted"] == []
    assert set(before) <= set(engine.keys(s3_client, bucket))
