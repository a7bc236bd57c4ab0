"""When a drill is overdue."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.clock import format_timestamp
from postgres_backup.drill.overdue import overdue
from postgres_backup.drill.record import LAST_DRILLS
from postgres_backup.machine import state
from postgres_backup.settings import Settings

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def settings(tmp_path) -> Settings:
    made = Settings("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret")
    return dataclasses.replace(made, state_dir=str(tmp_path))


def days_on(settings: Settings, days: int) -> str:
    alarm = overdue(settings, "crm", NOW + timedelta(days=days))
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


def test_who_does_not_want_it_is_not_told(settings):
    never = dataclasses.replace(settings, drill_max_days=0)
    assert not days_on(never, 0)
    assert not days_on(never, 1000)
