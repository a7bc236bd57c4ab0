"""A backup that a clock has named which was ahead: everybody who asks for the newest, against a
real store, whose clock is right.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.catalog import journal
from postgres_backup.catalog.backups import LATEST, Catalog
from postgres_backup.catalog.history import LAST_RUN, LastRun
from postgres_backup.clock import utc_now
from postgres_backup.health import alarms
from postgres_backup.health.clocks import CODES
from postgres_backup.health.status import status
from postgres_backup.job import Job
from postgres_backup.machine import state
from postgres_backup.nightly import watch
from postgres_backup.restore.preflight import make_plan
from tests.integration import engine

YEAR = timedelta(days=365)


@pytest.fixture
def old(config, database, s3_client, bucket) -> str:
    """A good one of 30 hours ago, as a copy is: written just now."""
    at, empty = utc_now() - timedelta(hours=30), {"tables": {}, "rows": 0}
    return engine.forge(s3_client, bucket, at, database=database.name, change=empty)


@pytest.fixture
def ahead(config, monkeypatch) -> dict:
    """A real backup, taken while the clock was a year ahead."""
    with monkeypatch.context() as moved:
        moved.setattr(journal, "utc_now", lambda: utc_now() + YEAR)
        return create_backup(Job(config.settings))


def open_codes(config) -> set[str]:
    return {alarm["code"] for alarm in alarms.open_alarms(config.settings)} - {"DISK_SHORT"}


def test_it_hides_nothing_and_is_told_until_a_new_one_is_rightly_named(
    config, database, old, ahead
):
    assert [f["code"] for f in ahead["findings"] if f["code"] in CODES] == [
        "BACKUP_FROM_THE_FUTURE"
    ]
    job = Job(config.settings)
    assert str(Catalog(config.settings, job.store, database.name).resolve(LATEST).name) == old
    done = engine.run(config.path, "status", "--json")
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert found["databases"][database.name]["last"]["backup"] == old
    assert {"BACKUP_STALE", "BACKUP_FROM_THE_FUTURE"} <= {f["code"] for f in found["findings"]}
    # by its name it is restored
    plan = make_plan(job, ahead["backup"])
    assert plan.backup.ahead
    assert "BACKUP_FROM_THE_FUTURE" in {f["code"] for f in plan.findings}
    kept = {line["backup"]: line["reason"] for line in prune_backups(job)["kept"]}
    assert "written" in kept[ahead["backup"]]
    assert kept[old] == "not older than 7 days"

    seen = status(config.settings)
    watch._raise_and_end(config.settings, seen)
    assert open_codes(config) == {"BACKUP_STALE", "BACKUP_FROM_THE_FUTURE"}
    taken = create_backup(job)
    assert not CODES & {f["code"] for f in taken["findings"]}
    assert open_codes(config) == set()
    seen = status(config.settings)
    assert seen["healthy"]
    assert seen["databases"][database.name]["last"]["backup"] == taken["backup"]
    assert (
        str(Catalog(config.settings, job.store, database.name).resolve(LATEST).name)
        == taken["backup"]
    )


def test_where_there_is_nothing_else_it_is_the_latest_and_not_fresh(config, database, ahead):
    job = Job(config.settings)
    assert (
        str(Catalog(config.settings, job.store, database.name).resolve(LATEST).name)
        == ahead["backup"]
    )
    seen = status(config.settings)
    assert not seen["healthy"]
    assert {"NO_BACKUP", "BACKUP_FROM_THE_FUTURE"} <= {f["code"] for f in seen["findings"]}


@pytest.mark.parametrize(
    ("started", "missed"),
    [
        ("2026-01-27T00:00:07Z", False),
        ("2026-01-26T00:00:07Z", True),
        ("2027-01-27T00:00:07Z", True),
    ],
    ids=["tonight", "last night", "by a clock that was ahead"],
)
def test_a_run_that_is_still_to_come_was_none(config, database, old, monkeypatch, started, missed):
    now = datetime(2026, 1, 27, 0, 30, tzinfo=timezone.utc)
    seen = status(config.settings)
    seen["databases"][database.name]["last"] = None
    run: LastRun = {
        "changed": True,
        "started_at": started,
        "seconds": 1.0,
        "databases": {},
        "kit": None,
        "kit_error": "",
        "exit_status": 1,
        "findings": [],
    }
    state.write(config.settings, LAST_RUN, run)
    monkeypatch.setattr(watch, "utc_now", lambda: now)
    assert (watch._missed(config.settings, seen) is not None) is missed


def test_a_clock_that_is_wrong_is_seen_in_what_the_store_answers_anyway(config, old, monkeypatch):
    from postgres_backup.s3 import client

    assert "CLOCK_OFF" not in {f["code"] for f in status(config.settings)["findings"]}
    monkeypatch.setattr(client, "time", _Ahead(client.time))
    seen = status(config.settings)
    assert "CLOCK_OFF" in {f["code"] for f in seen["findings"]}
    assert not seen["healthy"]


class _Ahead:
    """The module ``time``, for whom the clock is an hour ahead."""

    def __init__(self, real) -> None:
        self._real = real

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def time(self) -> float:
        return self._real.time() + 3600
