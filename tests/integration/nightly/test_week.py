"""Weeks of nights, with a moved clock: a store that is away for an hour a day, at random, and a
PostgreSQL that restarts. No night is lost, nobody is woken for what passes, and each outage stands
in the log and in the history.
"""

from __future__ import annotations

import json
import random
import re
from datetime import datetime, timedelta

import pytest

from postgres_backup.health import alarms, status
from tests.services.proxy import FaultProxy

AWAY = "the object storage cannot be used"
#: minutes from noon to midnight
MIDNIGHT = 12 * 60


@pytest.fixture
def days(crm, at_once, s3):
    """``days(dice, [minutes, ...], every)``: from noon to noon, a day for each; so many minutes
    after its noon the store goes away for an hour. What came of it, in numbers.
    """
    with FaultProxy(s3.endpoint_url) as between:
        fault = between.plan("status", times=0, status=503)
        crm.config.change(S3_ENDPOINT_URL=between.endpoint_url)

        def play(dice: random.Random, outages: list[int], every: int) -> dict[str, object]:
            crm.go_on(12, watches=False)
            first = crm.now
            for minutes in outages:
                away = crm.now + timedelta(minutes=minutes)
                back = away + timedelta(hours=1)
                crm.then(f"{away:%H:%M}", lambda: setattr(fault, "times", 1_000_000))
                crm.then(f"{back:%H:%M}", lambda: setattr(fault, "times", 0))
                down = crm.now + timedelta(minutes=MIDNIGHT + 5 * dice.randint(-2, 2))
                up = down + timedelta(minutes=10)
                server = crm.database.server
                crm.then(f"{down:%H:%M}", server.stop)
                crm.then(f"{up:%H:%M}", server.start)
                crm.go_on(12, every=every)
            return check(crm, first, outages)

        yield play
        crm.config.change(S3_ENDPOINT_URL=s3.endpoint_url)


def check(crm, first: datetime, outages: list[int]) -> dict[str, object]:
    """Nothing was lost, nobody was told without need, and all of it can be read."""
    seen, there = status.look(crm.config.settings)
    late = []
    for night in range(len(outages)):
        planned = first + timedelta(hours=12, days=night)
        mine = [
            backup.taken_at - planned
            for backup in there["crm"]
            if backup.good and timedelta(0) <= backup.taken_at - planned < timedelta(days=1)
        ]
        assert len(mine) == 1, f"the night of {planned}"
        late += mine
    assert max(late) <= timedelta(hours=2)
    assert seen["healthy"]
    assert alarms.open_alarms(crm.config.settings) == []
    # a store that is away by day is told, for it is away; nothing else is
    assert set(crm.told) <= {AWAY, f"over: {AWAY}"}
    assert crm.told.count(AWAY) == crm.told.count(f"over: {AWAY}") <= len(outages)
    # by the log and by the history alike, with what comes next
    logged = [line for line in crm.log.lines if "crm: backup failed" in line]
    assert all("it is tried again at" in line for line in logged)
    told = [event for event in crm.history if "backup-failed" in event]
    assert len(told) == len(logged)
    assert all(re.fullmatch(r"\d\d:\d\d backup-failed \d\d:\d\d", event) for event in told)
    assert len([e for e in crm.history if "store-failed" in e]) == crm.told.count(AWAY)
    return {
        "nights": len(outages),
        "tries that failed": len(logged),
        "latest backup, minutes": max(late).total_seconds() / 60,
        "outages told by day": crm.told.count(AWAY),
    }


def test_two_nights_with_an_hour_without_a_store(days):
    """One that begins before midnight, and one in the middle of the night."""
    found = days(random.Random(3), [MIDNIGHT - 5, MIDNIGHT + 10], every=6)
    assert found["tries that failed"] >= 3


@pytest.mark.gameday
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_week_of_an_hour_a_day_at_any_time(days, seed):
    dice = random.Random(seed)
    print(json.dumps({"seed": seed, **days(dice, _minutes(dice, 0, 24 * 60 - 65), every=1)}))


@pytest.mark.gameday
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_week_of_an_hour_a_day_around_midnight(days, seed):
    dice = random.Random(seed)
    outages = _minutes(dice, MIDNIGHT - 60, MIDNIGHT + 30)
    found = days(dice, outages, every=1)
    print(json.dumps({"seed": seed, **found}))
    assert found["tries that failed"] >= 5


def _minutes(dice: random.Random, first: int, last: int) -> list[int]:
    return [5 * dice.randint(first // 5, last // 5) for _ in range(7)]
