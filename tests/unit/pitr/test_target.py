"""Where a recovery is to end: what was typed is understood, or refused with what to type."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.pitr import target
from postgres_backup.pitr.repository import Backup
from postgres_backup.pitr.target import Target

NOW = datetime(2026, 1, 27, 15, tzinfo=timezone.utc)
NOTHING = {"time": "", "lsn": "", "name": ""}
MARKS = {"before-42": ("2026-01-27T14:00:00Z", "0/5000028")}


def read(latest: bool = False, **typed: str) -> Target:
    return target.read({**NOTHING, **typed}, latest, MARKS, NOW)


def backup(hour: int, lsn: str, timeline: int = 1) -> Backup:
    at = datetime(2026, 1, 27, hour, tzinfo=timezone.utc)
    segment = f"{timeline:08X}0000000000000003"
    return Backup(f"2026012{hour}", True, at, at, lsn, segment, 1, 1)


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("2026-01-27T14:03:00Z", "2026-01-27 14:03:00.000000+00"),
        ("2026-01-27 19:03:00+05:00", "2026-01-27 14:03:00.000000+00"),
        ("2026-01-27T14:03:00.250000z", "2026-01-27 14:03:00.250000+00"),
    ],
)
def test_a_time_is_taken_as_the_engine_wants_it(typed, taken):
    assert read(time=typed).value == taken


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "Recover to where"),
        ({"time": "2026-01-27T14:03:00Z", "lsn": "0/3"}, "Recover to where"),
        ({"time": "2026-01-27T14:03:00Z", "latest": True}, "Recover to where"),
        ({"time": "2026-01-27T14:03:00"}, "it has no zone"),
        ({"time": "yesterday"}, "is no time"),
        ({"time": "0001-01-01T00:00:00+23:00"}, "is no time"),
        ({"time": "2026-01-27T15:00:01Z"}, "is in the future"),
        ({"lsn": "3000028"}, "is no position"),
        ({"lsn": "0/3 --delta"}, "is no position"),
        ({"name": "before-43"}, "near it: before-42"),
    ],
)
def test_what_is_no_target_is_refused(typed, said):
    with pytest.raises(UsageError, match=said):
        read(**typed)


def test_the_newest_backup_before_the_target_is_begun_from():
    backups = [backup(10, "0/3000028"), backup(12, "0/4000028"), backup(14, "0/6000028")]
    on = {1: None}
    assert target.choose(read(time="2026-01-27T13:00:00Z"), backups, on) is backups[1]
    assert target.choose(read(name="before-42"), backups, on) is backups[1]
    assert target.choose(read(lsn="0/3000028"), backups, on) is backups[0]
    assert target.choose(read(latest=True), backups, on) is backups[2]
    # its end is known to the second: of that second it may be the later part
    with pytest.raises(UsageError, match=r"before the first backup .* 2026-01-27T10:00:00Z"):
        target.choose(read(time="2026-01-27T10:00:00.500Z"), backups, on)
    after = (backups[0].ended + timedelta(seconds=1)).isoformat()
    assert target.choose(read(time=after), backups, on) is backups[0]
    with pytest.raises(UsageError, match="no backup of the cluster"):
        target.choose(read(latest=True), [], on)


def test_a_backup_of_another_history_is_none_to_begin_from():
    """The cluster was set back to 0/5000000, and went on on timeline 3."""
    text = "1\t0/5000000\tbefore 2026-01-27 13:00:00+00\n2\t0/5500000\tno recovery target\n"
    lines = target.history(text, 3)
    assert lines == {1: 0x5000000, 2: 0x5500000, 3: None}
    backups = [backup(10, "0/4000028"), backup(12, "0/6000028"), backup(13, "0/5800028", 2)]
    assert target.choose(read(latest=True), backups, lines) is backups[0]
    backups.append(backup(14, "0/7000028", 3))
    assert target.choose(read(latest=True), backups, lines) is backups[-1]
    stranger = backup(14, "0/9000028", 7)
    assert target.choose(read(latest=True), [*backups, stranger], lines) is backups[-1]


def test_a_moment_is_said_with_no_more_than_it_has():
    assert target.moment(NOW) == "2026-01-27T15:00:00Z"
    assert target.moment(NOW.replace(microsecond=250_000)) == "2026-01-27T15:00:00.25Z"
