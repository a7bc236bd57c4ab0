"""What happened last night: from the bucket alone, and from the server's own memory where the store
is away.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from postgres_backup.catalog import history
from postgres_backup.clock import format_time, format_timestamp, utc_now
from postgres_backup.s3.store import Store
from tests.integration import engine


@pytest.fixture
def night(config, database):
    """A good night and a failed one, and their config."""
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    rights = {"DB_USER": database.server.superuser, "DB_PASSWORD": database.server.password}
    config.change(**rights)
    assert engine.run(config.path, "run").returncode == 0
    config.change(DB_PASSWORD="not-the-password")
    assert engine.run(config.path, "run").returncode == 1
    config.change(**rights)
    return config


def test_what_happened_is_told_newest_first(night, database):
    done = engine.run(night.path, "history")
    assert done.returncode == 0, done.stderr
    failed, good = done.stdout.splitlines()
    assert (
        f"  test-server  {database.name}  backup-failed  Failed to log in to PostgreSQL" in failed
    )
    assert f"  test-server  {database.name}  backup  postgres-backup-" in good
    assert "100 rows" in good
    found = engine.answer(engine.run(night.path, "history", "--json"))
    assert [event["event"] for event in found["events"]] == ["backup-failed", "backup"]
    assert found["last_run"]["exit_status"] == 1
    assert "not-the-password" not in json.dumps(found)


def test_nothing_but_the_bucket_is_enough(night, tmp_path):
    known = (
        "S3_ENDPOINT_URL",
        "S3_BUCKET_NAME",
        "S3_CA_BUNDLE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    )
    alone = tmp_path / "bucket.env"
    alone.touch(mode=0o600)
    alone.write_text("".join(f"{name}='{night.values[name]}'\n" for name in known))
    found = engine.answer(engine.run(alone, "history", "--json"))
    assert [(event["server"], event["event"]) for event in found["events"]] == [
        ("test-server", "backup-failed"),
        ("test-server", "backup"),
    ]
    assert found["last_run"] == {}


def test_the_server_remembers_where_the_store_is_away(night):
    night.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    done = engine.run(night.path, "history")
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert first.startswith("STORE_FAILS: ")
    assert last.startswith("the run of ")
    assert "FAILED" in last


def test_only_the_days_and_the_database_asked_for(night, database, s3_client, bucket):
    settings, store, now = night.settings, Store(night.settings), utc_now()
    old = {
        "at": "2020-01-01T00:00:00Z",
        "event": "backup",
        "server": "test-server",
        "database": database.name,
    }
    s3_client.put_object(
        Bucket=bucket,
        Key="postgres-backup/journal/2020-01-01_00-00-00-backup-test-server.json",
        Body=json.dumps(old),
    )
    other = old | {"at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "server": "another"}
    s3_client.put_object(
        Bucket=bucket,
        Key=f"postgres-backup/journal/{format_time(now)}-backup-another.json",
        Body=json.dumps(other),
    )
    s3_client.put_object(
        Bucket=bucket,
        Key=f"postgres-backup/journal/{format_time(now)}-backup-cut.json",
        Body=b'{"at": ',
    )
    assert len(history.events(settings, store, now - timedelta(days=1))) == 2
    assert len(history.events(settings, store, now - timedelta(days=4000))) == 3
    assert history.events(settings, store, now - timedelta(days=1), "nobody") == []


def test_nothing_happened_is_an_answer(config):
    done = engine.run(config.path, "history", "--days", "1")
    assert (done.returncode, done.stdout) == (0, "Nothing happened in this time.\n"), done.stderr


def test_lines_for_machines(night):
    done = engine.run(night.path, "backup", "--log-format", "json")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(line.keys() >= {"at", "message"} for line in lines)
    assert any("is in the bucket" in line["message"] for line in lines)


def test_an_event_that_is_none_hides_no_other(night, s3_client, bucket):
    now = utc_now()
    odd = {"at": format_timestamp(now), "event": "backup", "server": "test-server", "rows": "x"}
    key = f"postgres-backup/journal/{format_time(now)}-backup-test-server-odd.json"
    s3_client.put_object(Bucket=bucket, Key=key, Body=json.dumps(odd).encode())
    done = engine.run(night.path, "history", "--json")
    assert done.returncode == 0, done.stderr
    found = engine.answer(done)
    assert [event["event"] for event in found["events"]] == ["backup-failed", "backup"]
    [unread] = found["findings"]
    assert unread["code"] == "EVENT_UNREADABLE"
    assert f"{key} cannot be read: no sensible rows: it is no whole number" in unread["message"]
