"""Nights played through with a moved clock: ordinary ones raise no alarm, and each fault raises one
within the hour that follows, and one when it is over.

The backups, the server, the store and the web server that is told are real; moved is what the
program takes for the time.
"""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.catalog import history
from postgres_backup.catalog.history import LAST_RUN
from postgres_backup.drill.database import drill_database
from postgres_backup.errors import LockedError, PostgresBackupError, UsageError
from postgres_backup.health import alarms, status
from postgres_backup.health.outcome import LAST_RESTORES
from postgres_backup.job import Job
from postgres_backup.machine import lock, schedule, state
from postgres_backup.machine.counters import COUNTERS
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.run import _LOCK, run_night
from postgres_backup.nightly.watch import Store, look_around
from postgres_backup.restore.database import restore_database
from tests.integration import engine
from tests.integration.nightly.nights import MIDNIGHT, backups
from tests.integration.restoring import run_sql
from tests.properties import examples
from tests.services.proxy import FaultProxy

#: ordinary nights in every run, and all hundred by ``make fuzz``
NIGHTS = min(100, examples(30))


# --- ordinary ---


@pytest.mark.hypothesis  # part of make fuzz
@pytest.mark.timeout(900)
def test_ordinary_nights_raise_no_alarm(crm):
    """They grow, some are quiet, the application deploys a table now and then, a restart falls into
    some, and each month has its drill.
    """
    rng = random.Random(7)
    for night in range(NIGHTS):
        added, gone = rng.randint(0, 150), rng.randint(0, 60)
        crm.database.execute(
            f"INSERT INTO orders SELECT n, repeat('x', {rng.randint(1, 60)}) "
            f"FROM generate_series(1, {added}) AS n"
        )
        crm.database.execute(
            f"DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders LIMIT {gone})"
        )
        if night % 20 == 10:
            crm.database.execute(
                f"CREATE TABLE feature_{night} AS SELECT generate_series(1, {night * 20}) AS x"
            )
        if night % 30 == 15:
            crm.up_since = crm.now
        crm.at(0, 0)
        crm.at(0, 25)
        if night % 10 == 5:
            crm.day()
        if (NIGHTS - night) % 30 == 5:  # the last proven backup is one of the last week
            assert drill_database(Job(crm.config.settings, progress=crm.log), "latest")["passed"]
    assert crm.told == []
    found = status.status(crm.config.settings)
    assert found["healthy"]
    assert found["databases"]["crm"]["kept"] == 8
    assert alarms.open_alarms(crm.config.settings) == []


def test_a_first_day_raises_no_alarm_and_no_run(crm):
    """Set up at three in the afternoon, with a first backup: nothing is late."""
    before = crm.told
    crm.now = crm.now.replace(hour=15)
    assert look_around(crm.config.settings, Progress())["made_up"] is None
    assert crm.told == before == []


# --- faults ---


def broken_pg_dump(crm, tmp_path, monkeypatch, request):
    """Killed as the memory killer does it."""
    real = Path(crm.config.values["PG_BIN_DIR"])
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in real.iterdir():
        (folder / program.name).symlink_to(program)
    (folder / "pg_dump").unlink()
    (folder / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_dump --version\nkill -9 $$\n'
    )
    (folder / "pg_dump").chmod(0o755)
    return {"PG_BIN_DIR": folder}


def refused_key(crm, tmp_path, monkeypatch, request):
    return {"AWS_SECRET_ACCESS_KEY": "not-the-key-that-the-store-knows"}


def unreachable_store(crm, tmp_path, monkeypatch, request):
    return {"S3_ENDPOINT_URL": "http://127.0.0.1:1"}


def database_gone(crm, tmp_path, monkeypatch, request):
    return {"DB_PORT": 1}


NIGHTLY_FAULTS = {
    broken_pg_dump: ("the backup of crm failed", "killed by signal 9"),
    refused_key: ("the backup of crm failed", "key"),
    unreachable_store: ("the backup of crm failed", "127.0.0.1:1"),
    database_gone: ("the backup of crm failed", "PostgreSQL"),
}


@pytest.mark.parametrize("fault", NIGHTLY_FAULTS, ids=lambda fault: fault.__name__)
def test_a_night_that_fails_is_told_once_and_once_when_it_is_over(
    crm, at_once, tmp_path, monkeypatch, request, fault
):
    headline, why = NIGHTLY_FAULTS[fault]
    crm.config.change(RETRY_HOURS=0)  # what is tried again is told later: test_retry
    crm.day()
    good = dict(crm.config.values)
    crm.config.change(**fault(crm, tmp_path, monkeypatch, request))
    crm.hour_after_midnight()
    assert crm.told == [headline]
    text = crm.web.requests[0].json["message"]
    assert why in text
    assert "Last good backup of crm: postgres-backup-" in text
    assert ", 24.0 h old" in text
    for _ in range(2):  # three days of it, and the backup becomes stale meanwhile
        crm.day()
        crm.hour_after_midnight()
    assert crm.told == [headline]
    crm.config.change(**good)
    crm.day()
    assert crm.told == [headline]
    crm.hour_after_midnight()
    assert crm.told == [headline, f"over: {headline}"]
    crm.day()
    assert len(crm.told) == 2
    failures = state.read(crm.config.settings, COUNTERS)["failures"]["crm"]
    assert sum(failures.values()) == 3


def test_a_store_that_is_away_by_day_is_told_within_the_hour(crm, at_once):
    crm.config.change(RETRY_HOURS=0)
    good = dict(crm.config.values)
    crm.config.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    crm.at(14, 55)
    assert crm.told == ["the object storage cannot be used"]
    crm.hour_after_midnight()  # the backup fails for the same reason
    assert len(crm.told) == 1
    crm.config.change(**good)
    crm.at(1, 55)
    assert crm.told[1:] == ["over: the object storage cannot be used", "the backup of crm failed"]
    crm.at(2, 25)
    crm.hour_after_midnight()
    assert crm.told[3:] == ["over: the backup of crm failed"]


def test_a_night_that_cron_skipped_is_told_within_the_hour_and_made_up_for_once(
    crm, s3_client, bucket
):
    crm.day()
    crm.cron_runs = False  # its entry is gone, or it has stopped: the timer still looks
    before = len(backups(s3_client, bucket))
    crm.hour_after_midnight()
    assert crm.told == ["the nightly run did not happen"]
    assert "cron is stopped, or its entry is gone" in crm.web.requests[0].json["message"]
    assert len(backups(s3_client, bucket)) == before + 1
    crm.day()
    crm.hour_after_midnight()
    assert len(crm.told) == 1
    assert len(backups(s3_client, bucket)) == before + 2
    crm.cron_runs = True
    crm.day()
    crm.hour_after_midnight()
    assert crm.told[1:] == ["over: the nightly run did not happen"]


def test_a_server_that_was_off_at_midnight_makes_up_for_it_after_its_start_once_and_says_nothing(
    crm, s3_client, bucket
):
    crm.at(23, 55)
    before = len(backups(s3_client, bucket))
    crm.now += timedelta(hours=8)  # off
    crm.up_since = crm.now
    crm.at(8, 0)
    for _ in range(3):
        crm.at((crm.now.hour + 1) % 24, 25)
    assert len(backups(s3_client, bucket)) == before + 1
    assert crm.told == []


def test_a_server_that_was_off_for_days_and_cannot_make_up_for_it_says_so(crm, s3_client, bucket):
    crm.now += timedelta(days=3)
    crm.up_since = crm.now
    crm.config.change(DB_PORT=1)
    crm.at(8, 25)
    crm.at(9, 25)
    assert crm.told == ["the backup of crm failed"]


def test_a_run_that_was_killed_is_told_and_made_up_for(crm, s3_client, bucket):
    crm.day()
    crm.at(0, 0)
    run = state.read(crm.config.settings, LAST_RUN)
    crm.day()
    crm.now = crm.now.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    assert schedule.begin(crm.config.settings, MIDNIGHT)  # it began, and nothing came of it
    before = len(backups(s3_client, bucket))
    crm.at(0, 25)
    assert crm.told == ["the nightly run did not happen"]
    assert "began and never ended" in crm.web.requests[0].json["message"]
    assert len(backups(s3_client, bucket)) == before + 1
    assert state.read(crm.config.settings, LAST_RUN)["started_at"] > run["started_at"]


def test_a_run_that_is_still_at_work_is_not_made_up_for(crm, s3_client, bucket):
    crm.day()
    crm.now = crm.now.replace(hour=0, minute=25) + timedelta(days=1)
    with lock.hold(crm.config.settings, _LOCK, "nightly run"):
        assert look_around(crm.config.settings, Progress())["made_up"] is None
        with pytest.raises(LockedError):
            run_night(crm.config.settings, Progress())
    assert crm.told == []


def test_rows_that_are_gone_are_told_by_the_next_backup(crm):
    for _ in range(3):
        crm.at(0, 0)
    crm.database.execute("DELETE FROM orders WHERE id > 1000")
    crm.at(0, 0)
    assert crm.told == ["tables of crm have lost many rows"]
    assert "public.orders 3,000 -> 1,000" in crm.web.requests[0].json["message"]
    # the size has dropped too, for the same reason
    assert [one["code"] for one in alarms.open_alarms(crm.config.settings)] == [
        "ROWS_DROPPED",
        "SIZE_DROPPED",
    ]
    for _ in range(7):  # by now it is what is usual
        crm.at(0, 0)
    assert crm.told[1:] == ["over: tables of crm have lost many rows"]
    assert alarms.open_alarms(crm.config.settings) == []


def test_an_empty_bucket_and_an_old_backup_are_told(crm, s3_client, bucket):
    for key in engine.keys(s3_client, bucket):
        s3_client.delete_object(Bucket=bucket, Key=key)
    crm.at(0, 55)
    assert crm.told == ["the newest signed backup of crm is gone from the bucket"]
    # which explains that
    assert {"SIGNED_BACKUP_GONE", "BACKUP_STALE"} == {
        one["code"] for one in alarms.open_alarms(crm.config.settings)
    }


def test_a_newest_backup_that_was_cut_is_told(crm, s3_client, bucket):
    (name,) = backups(s3_client, bucket)
    s3_client.put_object(Bucket=bucket, Key=name, Body=b"cut")
    crm.at(0, 55)
    assert crm.told == ["the newest backup of crm is bad"]
    crm.at(0, 0)
    crm.at(0, 55)
    # it stays where it is and stays bad; the newest is good again
    assert crm.told[1:] == ["over: the newest backup of crm is bad"]


def test_a_disk_without_room_for_a_restore_is_told(crm, small_disk):
    run_sql(
        crm.database.server,
        "postgres",
        "ALTER DATABASE {name} SET TABLESPACE {disk}",
        name="crm",
        disk=small_disk,
    )
    crm.at(0, 55)
    assert crm.told == []
    crm.database.execute(
        "CREATE TABLE big AS SELECT repeat(md5(n::text), 30) AS x "
        "FROM generate_series(1, 27000) AS n"
    )
    crm.at(1, 55)
    assert crm.told == ["the disk has no room to restore crm"]
    crm.database.execute("DROP TABLE big")
    crm.database.execute("CHECKPOINT")
    crm.at(2, 55)
    assert crm.told[1:] == ["over: the disk has no room to restore crm"]


def test_a_database_whose_size_we_may_not_know_is_no_trouble_of_the_watch(crm):
    crm.at(0, 55)
    run_sql(
        crm.database.server,
        "postgres",
        "REVOKE ALL ON DATABASE {name} FROM PUBLIC, {owner}",
        name="crm",
        owner=crm.database.owner,
    )
    crm.config.change(DB_USER=crm.database.owner, DB_PASSWORD=crm.database.password)
    crm.at(1, 55)
    assert crm.told == []


def test_a_clock_that_is_off_is_told(crm, monkeypatch):
    monkeypatch.setattr(
        Store, "clock_difference", lambda self: 3600.0
    )  # no server here lies about the time
    crm.at(0, 55)
    assert crm.told == ["the clock is wrong"]
    assert "60 minutes ahead of the store's" in crm.web.requests[0].json["message"]
    monkeypatch.undo()


def test_a_store_that_refuses_because_of_the_clock_is_no_store_that_fails(crm, s3):
    with FaultProxy(s3.endpoint_url) as between:
        crm.config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", times=1000, status=403, code="RequestTimeTooSkewed")
        crm.at(0, 55)
        assert crm.told == ["the clock is wrong"]
    crm.config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    crm.at(1, 55)
    assert crm.told[1:] == ["over: the clock is wrong"]


def test_a_store_that_does_not_tell_the_time_is_no_store_that_fails(crm, s3):
    with FaultProxy(s3.endpoint_url) as between:
        crm.config.change(S3_ENDPOINT_URL=between.endpoint_url)
        untold = between.plan("no_date", times=1000)
        crm.at(0, 55)
        assert untold.done
    assert crm.told == []


def test_failed_restores_are_told_and_a_good_one_ends_it(crm, s3):
    with FaultProxy(s3.endpoint_url) as between:
        between.plan(
            "status",
            "GET",
            "/postgres-backup/postgres-backup-",
            times=1000,
            status=403,
            code="AccessDenied",
        )
        for _ in range(2):
            with pytest.raises(PostgresBackupError):
                restore_database(
                    Job(crm.config.change(S3_ENDPOINT_URL=between.endpoint_url)), "latest"
                )
    settings = crm.config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    assert crm.told == ["the restore of crm failed"]
    with pytest.raises(UsageError):
        restore_database(Job(settings), "no-such-backup")  # a slip of the hand is nobody's alarm
    crm.now += timedelta(seconds=5)
    restore_database(Job(settings), "latest")
    assert crm.told[1:] == ["over: the restore of crm failed"]
    events = history.events(settings, Store(settings), crm.now - timedelta(days=2))
    assert [event["event"] for event in events if "alarm" not in event["event"]] == [
        "restore",
        "restore-failed",
        "restore-failed",
        "backup",
    ], "two of one second too"
    assert state.read(settings, LAST_RESTORES)["crm"]["backup"] == events[0]["backup"]


# --- the command, and what it leaves for others ---


def test_the_command_says_what_is_wrong_and_leaves_numbers(crm, s3_client, bucket):
    done = engine.run(crm.config.path, "watch")
    assert (done.returncode, done.stdout) in ((0, ""), (4, done.stdout)), done.stderr
    text = Path(crm.config.settings.state_dir, "postgres-backup.prom").read_text()
    assert 'postgres_backup_kept_backups{database="crm",server="test-server"} 1.0' in text
    assert "postgres_backup_last_watch_timestamp_seconds" in text


def test_the_last_start_of_this_machine_is_known():
    since = schedule.up_since()
    assert datetime(2020, 1, 1, tzinfo=timezone.utc) < since <= datetime.now(timezone.utc)
    assert shutil.which("cron") is None or since.tzinfo is timezone.utc
