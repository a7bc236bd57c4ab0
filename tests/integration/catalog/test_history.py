"""What happened last night: from the bucket alone, and from the server's own memory where the store
is away.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import timedelta

import pytest

from postgres_backup.backup import old_events
from postgres_backup.catalog import history
from postgres_backup.catalog.names import Layout
from postgres_backup.clock import format_time, format_timestamp, utc_now
from postgres_backup.health import outcome
from postgres_backup.machine import tries
from postgres_backup.nightly import retry
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy


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
    waits, *told = done.stdout.splitlines()
    [changed] = [line for line in told if "  settings  " in line]
    assert changed.endswith("  DB_PASSWORD: changed"), "of a secret nothing else"
    failed, good = [line for line in told if line != changed]
    assert waits.endswith(f"{database.name}  alarm  not in the bucket yet"), "the watch writes it"
    assert (
        f"  test-server  {database.name}  backup-failed  Failed to log in to PostgreSQL" in failed
    )
    assert f"  test-server  {database.name}  backup  postgres-backup-" in good
    assert "100 rows" in good
    found = engine.answer(engine.run(night.path, "history", "--json"))
    events = [event["event"] for event in found["events"] if event["event"] != "settings"]
    assert events == ["backup-failed", "backup"]
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
    assert sorted((event["server"], event["event"]) for event in found["events"]) == [
        ("test-server", "backup"),
        ("test-server", "backup-failed"),
        ("test-server", "settings"),
    ]
    assert found["last_run"] == {}


def test_the_server_remembers_where_the_store_is_away(night):
    night.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    done = engine.run(night.path, "history")
    assert done.returncode == 0
    first, waits, last = done.stdout.splitlines()
    assert waits.endswith("alarm  not in the bucket yet")
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

    def since(days: int) -> int:
        told = history.events(settings, store, now - timedelta(days=days))
        return len([event for event in told if event["event"] != "settings"])

    assert (since(1), since(4000)) == (2, 3)
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
    key = f"postgres-backup/journal/{format_time(now)}-backup-test-server.json"
    s3_client.put_object(Bucket=bucket, Key=key, Body=json.dumps(odd).encode())
    done = engine.run(night.path, "history", "--json")
    assert done.returncode == 0, done.stderr
    found = engine.answer(done)
    events = [event["event"] for event in found["events"] if event["event"] != "settings"]
    assert events == ["backup-failed", "backup"]
    [unread] = found["findings"]
    assert unread["code"] == "EVENT_UNREADABLE"
    assert f"{key} cannot be read: no sensible rows: it is no whole number" in unread["message"]


# --- the numbers of events ---


@pytest.fixture
def server(new_config, s3, bucket):
    """A server whose database is not there; what is told needs none."""
    return new_config(engine.NO_SERVER, s3, bucket)


def tell(settings, *events: str) -> None:
    for event in events:
        assert outcome.told(settings, "crm", event, {"database": "crm"}) == []


def codes(settings) -> list[str]:
    return [found["code"] for found in history.history(settings)["findings"]]


def names(s3_client, bucket) -> list[str]:
    listed = engine.keys(s3_client, bucket, "postgres-backup/journal/")
    return sorted((key for key in listed if key.endswith(".json")), key=lambda key: key[44:50])


def test_events_are_numbered_and_what_is_done_to_one_shows(server, s3_client, bucket):
    settings = server.settings
    tell(settings, "restore", "undo", "adopt", "restore")
    done = engine.run(server.path, "history")
    assert [line.split("  ")[1] for line in done.stdout.splitlines()] == [
        "#4",
        "#3",
        "#2",
        "#1",
    ] or {line.split("  ")[1] for line in done.stdout.splitlines()} == {"#1", "#2", "#3", "#4"}
    assert codes(settings) == []
    keys = names(s3_client, bucket)
    assert [key[44:50] for key in keys] == ["000001", "000002", "000003", "000004"]

    def body(key: str) -> bytes:
        return s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()

    whole, signature = body(keys[1]), body(f"{keys[1]}.sig")
    s3_client.put_object(Bucket=bucket, Key=keys[1], Body=whole.replace(b"undo", b"rest"))
    assert codes(settings) == ["SIGNATURE_WRONG"], "altered"
    s3_client.delete_object(Bucket=bucket, Key=keys[1])
    assert codes(settings) == ["EVENT_MISSING"], "deleted"
    elsewhere = keys[1].replace("-000002-", "-000009-")
    for key, data in ((elsewhere, whole), (f"{elsewhere}.sig", signature)):
        s3_client.put_object(Bucket=bucket, Key=key, Body=data)
    assert sorted(codes(settings)) == ["EVENT_FOREIGN", "EVENT_MISSING"], "moved"
    s3_client.delete_object(Bucket=bucket, Key=elsewhere)
    for key, data in ((keys[1], whole), (f"{keys[1]}.sig", signature)):
        s3_client.put_object(Bucket=bucket, Key=key, Body=data)
    assert codes(settings) == []
    s3_client.delete_object(Bucket=bucket, Key=f"{keys[1]}.sig")
    assert codes(settings) == ["EVENT_FOREIGN"], "of nobody"
    s3_client.delete_object(Bucket=bucket, Key=keys[3])
    assert sorted(codes(settings)) == ["EVENT_FOREIGN", "EVENT_MISSING"], "the newest"


def test_a_night_without_a_store_is_told_from_tampering(server, s3):
    settings = server.settings
    tell(settings, "restore")
    with FaultProxy(s3.endpoint_url) as between:
        # as the state has it, it is one store; the bucket and its name are the same
        fault = between.plan("status", times=0, status=503)
        settings = server.change(S3_ENDPOINT_URL=between.endpoint_url)
        tell(settings, "undo")
        fault.times = 100
        refused = outcome.told(settings, "crm", "restore", {"database": "crm"})
        assert [found["code"] for found in refused] == ["JOURNAL_NOT_WRITTEN"]
        fault.times = 0
        found = history.history(settings)
        assert [event["event"] for event in found["waiting"]] == ["restore"]
        assert "not in the bucket yet" in "\n".join(history.lines(found))
        assert retry.catch_up(settings) == []
        assert codes(settings) == ["EVENT_NOT_WRITTEN"]
        assert [e["event"] for e in history.history(settings)["events"]].count("restore") == 2


def test_a_server_that_has_lost_its_state_goes_on_from_the_bucket(server, s3_client, bucket):
    settings = server.settings
    tell(settings, "restore", "undo")
    shutil.rmtree(settings.state_dir)
    tell(settings, "restore")
    assert codes(settings) == []
    assert [key[44:50] for key in names(s3_client, bucket)] == ["000001", "000002", "000003"]
    shutil.rmtree(settings.state_dir)
    forged = names(s3_client, bucket)[-1].replace("-000003-", "-000777-")
    s3_client.put_object(Bucket=bucket, Key=forged, Body=b'{"number": 777}')
    tell(settings, "undo")
    assert [key[44:50] for key in names(s3_client, bucket)] == [
        *("000001", "000002", "000003", "000004"),
        "000777",
    ]


def test_an_undo_does_not_wait_for_the_journal(server):
    settings = server.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    began = time.monotonic()
    refused = outcome.told(settings, "crm", "undo", {"database": "crm"})
    assert {found["code"] for found in refused} == {"JOURNAL_NOT_WRITTEN"}
    assert time.monotonic() - began < 2
    assert [event["event"] for event in tries.unwritten(settings)] == ["undo"]


def test_old_events_go_and_where_they_begin_is_said(server, s3_client, bucket, monkeypatch):
    settings, real = server.settings, utc_now
    monkeypatch.setattr(outcome, "utc_now", lambda: real() - timedelta(days=500))
    tell(settings, "restore", "undo")
    old = names(s3_client, bucket)
    monkeypatch.setattr(outcome, "utc_now", real)
    tell(settings, "restore")
    before = "postgres-backup/journal/2020-01-01_00-00-00-"
    theirs, ours = f"{before}backup-x-test-server.json", f"{before}backup-test-server.json"
    for key in (theirs, ours):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"{}")
    store = Store(settings)
    found = old_events.find(store, Layout("postgres-backup"), 400, utc_now())
    assert (sorted(found.keys), found.begins) == (sorted([*old, ours]), 3)
    assert old_events.find(store, Layout("postgres-backup"), 0, utc_now()).keys == ()
    with monkeypatch.context() as fewer:  # an old journal takes several nights
        fewer.setattr(old_events, "MOST", 2)
        found = old_events.find(store, Layout("postgres-backup"), 400, utc_now())
    assert (len(found.keys), found.begins) == (2, 2), "the signature of the last one counts too"
    s3_client.delete_object(Bucket=bucket, Key=old[0])
    found = old_events.find(store, Layout("postgres-backup"), 400, utc_now())
    assert (sorted(found.keys), found.begins) == (sorted([*old, ours]), 3), "its signature is left"
    # whoever may write there says that numbers were pruned which were not
    s3_client.put_object(
        Bucket=bucket, Key=f"{before}000900-backup.test-server.json", Body=b'{"number": 900}'
    )
    assert old_events.find(store, Layout("postgres-backup"), 400, utc_now()).begins == 3
