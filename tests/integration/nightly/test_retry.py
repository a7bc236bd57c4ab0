"""A night that failed is tried again while its cause may pass; who hears of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.history import LAST_RUN
from postgres_backup.health import alarms, status
from postgres_backup.job import Job
from postgres_backup.machine import lock, state
from tests.integration.nightly.nights import backups
from tests.services.proxy import FaultProxy
from tests.services.receivers import HttpReceiver


@pytest.fixture
def night(crm, at_once):
    """An evening on which all is well; nothing was told so far."""
    crm.go_on(23, 55, watches=False)
    return crm


@pytest.fixture
def store(night, s3):
    """The store of the night, which can be away: ``store.away()``, ``store.back()``."""
    with FaultProxy(s3.endpoint_url) as between:
        fault = between.plan("status", times=0, status=503)

        def away() -> None:
            fault.times = 100_000

        def back() -> None:
            fault.times = 0

        between.away, between.back = away, back
        night.config.change(S3_ENDPOINT_URL=between.endpoint_url)
        yield between
        night.config.change(S3_ENDPOINT_URL=s3.endpoint_url)


@pytest.fixture
def ping():
    with HttpReceiver() as receiver:
        yield receiver


def test_a_store_that_is_away_for_half_an_hour_costs_no_night_and_nobody_sleep(
    night, store, s3_client, bucket, ping
):
    night.config.change(PING_URL=ping.url)
    store.away()
    night.then("00:35", store.back)
    night.go_on(0, 10)
    assert state.read(night.config.settings, LAST_RUN)["again_at"][11:16] == "00:15"
    failed = [line for line in night.log.lines if "crm: backup failed: " in line]
    assert len(failed) == 1
    assert failed[0].endswith(f"it is tried again at {night.now:%Y-%m-%d}T00:15:00Z")
    assert night.log.lines[-1].startswith("FAILED test-server: crm: backup: ")
    assert night.log.lines[-1].endswith("It is tried again at " + failed[0][-20:])
    night.go_on(1)
    assert night.told == []
    assert len(backups(s3_client, bucket)) == 2
    assert ping.paths == ["/start", "/start", "/start", "/"]
    # what the store could not take when it happened is there now
    assert night.history[1:] == [
        "00:00 backup-failed 00:15",
        "00:15 backup-failed 00:45",
        "00:45 backup",
    ]
    seen = status.status(night.config.settings)
    assert (seen["healthy"], seen["last_run"]["again_at"]) == (True, "")


def test_a_store_that_is_away_all_night_is_told_once_in_time_and_once_when_it_is_over(
    night, store, s3_client, bucket, ping
):
    night.config.change(PING_URL=ping.url)
    store.away()
    night.go_on(1, 40)
    assert night.told == []
    night.go_on(5, 40)
    assert night.told == ["the backup of crm failed"]
    assert "It is tried again at" in night.web.requests[0].json["message"]
    assert ping.paths == ["/start"] * 4 + ["/fail", "/start", "/fail"]  # at 01:45 and 03:45
    assert f"{night.now:%Y-%m-%d}T03:45" in night.web.requests[0].json["message"]
    night.then("05:50", store.back)  # the last quarter of an hour of its time
    night.go_on(7)
    assert night.told[1:] == ["over: the backup of crm failed"]
    assert ping.paths[-2:] == ["/start", "/"]
    assert len(backups(s3_client, bucket)) == 2
    assert alarms.open_alarms(night.config.settings) == []


def test_after_the_last_try_it_is_left_to_the_next_night(night, store, s3_client, bucket):
    night.config.change(RETRY_HOURS=1, FRESH_HOURS=50)
    store.away()
    night.go_on(0, 50)
    assert night.told == []
    night.go_on(1, 5)
    assert night.told == ["the backup of crm failed"]
    assert "It is tried again" not in night.web.requests[0].json["message"]
    store.back()
    night.go_on(2)
    assert len(backups(s3_client, bucket)) == 1
    night.now = night.now.replace(hour=23, minute=55)
    night.go_on(0, 5)
    assert night.told[1:] == ["over: the backup of crm failed"]
    assert len(backups(s3_client, bucket)) == 2


def test_a_wrong_key_is_told_at_once_and_not_tried_again(night, s3_client, bucket, ping):
    good = dict(night.config.values)
    night.config.change(AWS_SECRET_ACCESS_KEY="not-the-key-that-the-store-knows", PING_URL=ping.url)
    night.go_on(0, 5)
    assert night.told == ["the backup of crm failed"]
    assert ping.paths == ["/start", "/fail"]
    night.config.change(**good)
    night.go_on(1)
    assert len(ping.paths) == 2
    assert len(backups(s3_client, bucket)) == 1


def test_postgresql_that_restarts_is_waited_for(night, s3_client, bucket):
    night.database.server.stop()
    night.then("00:10", night.database.server.start)
    night.go_on(0, 20)
    assert len(backups(s3_client, bucket)) == 2
    assert night.history[1:] == ["00:00 backup-failed 00:15", "00:15 backup"]
    assert night.told == []


def test_a_lock_that_another_command_holds_is_waited_for(night, s3_client, bucket):
    with lock.hold(night.config.settings, "crm", "restore"):
        night.go_on(0, 10)
    night.go_on(0, 20)
    assert len(backups(s3_client, bucket)) == 2
    assert night.told == []
    assert night.history[1:] == ["00:00 backup-failed 00:15", "00:15 backup"]


def test_a_backup_that_somebody_takes_meanwhile_counts(night, store, s3_client, bucket):
    store.away()
    night.go_on(0, 5)
    store.back()
    create_backup(Job(night.config.settings))
    night.go_on(1)
    assert len(backups(s3_client, bucket)) == 2
    assert night.told == []
    assert any("no other is taken" in line for line in night.log.lines)
    run = state.read(night.config.settings, LAST_RUN)
    assert (run["exit_status"], run["again_at"]) == (0, "")


def test_only_what_is_missing_is_done_again(night, new_database, s3_client, bucket, tmp_path):
    """Of three databases one is locked and one is not there; and so is a folder of the kit."""
    new_database("shop")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a").write_text("a")
    night.config.change(DB_NAMES="crm shop not_there", BACKUP_PATHS=folder, KIT_PLAIN="true")
    with lock.hold(night.config.settings, "shop", "restore"):
        night.go_on(0, 10)
    assert night.told == ["the backup of not_there failed"]
    kept = sorted(s3_client.list_objects_v2(Bucket=bucket)["Contents"], key=lambda one: one["Key"])
    night.go_on(2)
    run = state.read(night.config.settings, LAST_RUN)
    # the night as a whole
    assert {name: bool(one["backup"]) for name, one in run["databases"].items()} == {
        "crm": True,
        "shop": True,
        "not_there": False,
    }
    assert run["kit"]
    assert (run["exit_status"], run["again_at"]) == (1, "")
    assert "not_there: backup" in night.log.lines[-1]
    there = s3_client.list_objects_v2(Bucket=bucket)["Contents"]
    new = {one["Key"] for one in there} - {one["Key"] for one in kept}
    assert new
    # and the journal tells of the alarm
    assert not [key for key in new if "/shop/" not in key and "/journal/" not in key]


def test_without_cron_the_watch_tries_again(night, s3_client, bucket):
    with lock.hold(night.config.settings, "crm", "restore"):
        night.go_on(0, 10)
    night.cron_runs = False
    night.go_on(1)
    assert len(backups(s3_client, bucket)) == 2
    assert night.told == []


def test_a_state_that_is_lost_costs_no_night(night, store, s3_client, bucket):
    """The watch asks the bucket."""
    store.away()
    night.go_on(0, 10)
    store.back()
    for path in Path(night.config.settings.state_dir).glob("*.json"):
        path.unlink()
    night.go_on(1)
    assert len(backups(s3_client, bucket)) == 2
