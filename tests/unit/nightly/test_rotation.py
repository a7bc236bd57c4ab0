"""Which backup is read again in a night, over many nights and for each retention."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import format_timestamp
from postgres_backup.nightly.rotation import due

FIRST = datetime(2026, 3, 1, tzinfo=timezone.utc)


@dataclasses.dataclass
class Fake:
    """What ``due`` and ``plan`` ask of a backup."""

    dated_at: datetime
    checked_at: str = ""
    bytes: int = 10
    ours: bool = True
    good: bool = True
    whole: bool = True
    restored: bool = False
    ahead: bool = False
    waits_for_adoption: bool = False

    @property
    def key(self) -> str:
        return format_timestamp(self.dated_at)

    @property
    def proven(self) -> bool:
        return bool(self.checked_at)

    was_read = proven


def played(days: int, minutes: int, nights: int = 40) -> list[list[Fake]]:
    """What there is after each night: a backup, a prune, and then one is read.

    :param minutes: by how much later the even nights are.
    """
    there: list[Fake] = []
    tried: dict[str, str] = {}
    after = []
    for night in range(nights):
        now = FIRST + timedelta(days=night, minutes=minutes * (night % 2))
        there.insert(0, Fake(now))
        there = [one.backup for one in plan(there, Policy(days), now) if one.keep]
        at = now + timedelta(minutes=5)
        chosen, _ = due(there, tried, None, days, at)
        if chosen:
            chosen.checked_at = tried[chosen.key] = format_timestamp(at)
        after.append([dataclasses.replace(one) for one in there])
    return after


@pytest.mark.parametrize("minutes", [0, 7, -7])
@pytest.mark.parametrize("days", [1, 2, 3, 7, 30])
def test_the_newest_proven_one_is_hardly_older_than_the_retention(days, minutes):
    for night, there in enumerate(played(days, minutes)):
        proven = [one.dated_at for one in there if one.proven]
        now = there[0].dated_at
        assert night < days or proven
        assert all(now - at <= timedelta(days=days + 1, minutes=10) for at in proven[:1])
        assert len(there) <= days + 3


def test_what_is_kept_for_long_is_not_read_in_its_own_night():
    alone = [Fake(FIRST)]
    assert due(alone, {}, None, 7, FIRST + timedelta(minutes=5)) == (None, [])
    assert due(alone, {}, None, 1, FIRST + timedelta(minutes=5)) == (alone[0], [])
    tried = {alone[0].key: format_timestamp(FIRST)}
    assert due(alone, tried, None, 1, FIRST + timedelta(minutes=5)) == (None, [])
    assert due(alone, {}, 9, 1, FIRST + timedelta(minutes=5)) == (None, alone)
