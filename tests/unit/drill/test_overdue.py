"""When a drill is overdue."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.clock import format_timestamp
from postgres_backup.drill.overdue import overdue
from postgres_backup.health.drills import LAST_DRILLS
from postgres_backup.machine import state
from postgres_backup.settings import Settings

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def settings(tmp_path) -> Settings:
    made = Settings("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret")
    return dataclasses.replace(made, state_dir=str(tmp_path))


def days_on(settings: Settings, days: int, restored: int | None = None) -> str:
    at = None if restored is None else format_timestamp(NOW + timedelta(days=restored))
    alarm = overdue(settings, "crm", NOW + timedelta(days=days), at)
    return alarm.message if alarm else ""


def test_a_new_server_has_as_long_for_its_first(settings):
    assert [bool(days_on(settings, days)) for days in (0, 34, 35, 36)] == [False] * 3 + [True]
    assert "not drilled in the 36 days" in days_on(settings, 36)


def test_it_is_counted_from_the_last_one_whatever_came_of_it(settings):
    days_on(settings, 0)
    at = format_timestamp(NOW + timedelta(days=30))
    with state.changing(settings, LAST_DRILLS) as last:
        last["crm"] = {"at": at, "backup": "x", "passed": False, "seconds": 1.0, "codes": []}
    assert not days_on(settings, 65)
    assert "was 36 days ago; 35 are allowed" in days_on(settings, 66)


def test_a_clock_that_was_ahead_silences_nobody(settings):
    days_on(settings, 1000)
    at = format_timestamp(NOW + timedelta(days=1000))
    with state.changing(settings, LAST_DRILLS) as last:
        last["crm"] = {"at": at, "backup": "x", "passed": True, "seconds": 1.0, "codes": []}
    assert not days_on(settings, 0)
    assert "not drilled in the 36 days" in days_on(settings, 36)


def test_a_restore_that_the_bucket_knows_of_counts_as_one(settings):
    """A drill from the controller, which this server does not remember; or one of before its state
    was lost.
    """
    assert not days_on(settings, 100, restored=65)
    assert "was 36 days ago" in days_on(settings, 101, restored=65)
    assert not days_on(settings, 0), "nobody has looked before"
    days_on(settings, 0)
    assert not days_on(settings, 40, restored=39), "although nobody remembers one"
    assert days_on(settings, 40, restored=41), "a clock that was ahead proves nothing"


def test_who_does_not_want_it_is_not_told(settings):
    never = dataclasses.replace(settings, drill_max_days=0)
    assert not days_on(never, 0)
    assert not days_on(never, 1000)
