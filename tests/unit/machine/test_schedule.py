"""The schedule against every zone that this machine knows, over both changes of the clocks."""

import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.machine import schedule

UTC = timezone.utc


def calls_of_cron(minutes: set[int], zone: zoneinfo.ZoneInfo, first: datetime, hours: int):
    """The moments at which cron, reading the local clock, calls: every real minute whose local
    minute is listed.
    """
    for minute in range(hours * 60):
        moment = first + timedelta(minutes=minute)
        if moment.astimezone(zone).minute in minutes:
            yield moment


@pytest.mark.parametrize("at", ["00:00", "02:37", "23:59"])
@pytest.mark.parametrize(
    "name",
    [
        "Asia/Almaty",
        "Asia/Kathmandu",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "Pacific/Chatham",
        "UTC",
        "America/New_York",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        datetime(2026, 3, 28, tzinfo=UTC),
        datetime(2026, 10, 24, tzinfo=UTC),
        datetime(2026, 4, 4, tzinfo=UTC),
        datetime(2026, 10, 31, tzinfo=UTC),
    ],
)
def test_one_run_a_day_at_the_minute_in_every_zone(at, name, around):
    hour, minute = map(int, at.split(":"))
    minutes = {(minute + quarter) % 60 for quarter in (0, 15, 30, 45)}
    due = [
        moment
        for moment in calls_of_cron(minutes, zoneinfo.ZoneInfo(name), around, 72)
        if schedule.slot(at, moment)
    ]
    assert due == [
        around.replace(hour=hour, minute=minute) + timedelta(days=day) for day in range(3)
    ]


@pytest.mark.parametrize(
    ("late", "due"), [(0, True), (14 * 60 + 59, True), (15 * 60, False), (-1, False)]
)
def test_a_call_that_comes_late_still_counts_until_the_next(late, due):
    planned = datetime(2026, 1, 27, tzinfo=UTC)
    assert (schedule.slot("00:00", planned + timedelta(seconds=late)) == planned) is due


@pytest.mark.parametrize("at", ["24:00", "0:00", "noon", "12:60", ""])
def test_what_is_no_time_of_day_is_refused(at):
    with pytest.raises(UsageError, match="HH:MM"):
        schedule.slot(at, datetime(2026, 1, 27, tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-01-27T02:29:59", "2026-01-27T02:30:00"),
        ("2026-01-27T02:30:00", "2026-01-28T02:30:00"),
        ("2026-12-31T23:59:59", "2027-01-01T02:30:00"),
    ],
)
def test_the_next_run_is_the_first_one_after_now(now, expected):
    found = schedule.next_run("02:30", datetime.fromisoformat(f"{now}+00:00"))
    assert found == datetime.fromisoformat(f"{expected}+00:00")
