"""What backups cost: every number here is worked out by hand, or by playing the nights through the
retention itself.
"""

from __future__ import annotations

import dataclasses
import random
import time
from datetime import date, datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.health import costs
from postgres_backup.settings import Settings
from tests.unit.catalog.stand_in import Night

GB = 10**9
BASE = Settings("db1", ("crm",), "crm", "https://s3.example.org", "bucket", "key", "secret")
PRICED = dataclasses.replace(
    BASE, price_gb_month=0.02, price_requests_1000=0.005, price_currency="EUR"
)


def line(age: int, size: int, **more) -> dict:
    taken = datetime(2026, 3, 30, tzinfo=timezone.utc) - timedelta(days=age)
    return {
        "taken_at": taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "bytes": size,
        "dump_bytes": 4 * size,
        "state": "good",
    } | more


def test_by_hand():
    """Seven backups of 10 GB and a price of 0.02 a GB: 1.40 a month, now and in the long run."""
    found = costs.estimate(PRICED, [line(age, 10 * GB) for age in range(7)])
    assert found["storage_bytes"] == found["steady_bytes"] == 70 * GB
    assert found["storage_month"] == pytest.approx(1.40)
    assert found["steady_month"] == pytest.approx(1.40)
    assert found["upload_bytes_month"] == pytest.approx(10 * GB * 30.4375)
    # 10 GB are 1193 parts of 8 MiB, and four requests around them
    backup, prune = 1 + 1 + 4 + (1193 + 4) + 9, 2 + 1 + 3 + 4 + 3
    look_back, again, look = 1 + 3 + 1, 5, 2 + 3 + 1
    night = backup + prune + look_back + again
    assert found["requests_month"] == round((night + 48 * look) * 30.4375)
    assert found["read_bytes_month"] == 100 * GB, "that is the bound; 304 GB would be read"
    unbound = dataclasses.replace(PRICED, verify_gb_per_month=0.0)
    found_unbound = costs.estimate(unbound, [line(age, 10 * GB) for age in range(7)])
    assert found_unbound["read_bytes_month"] == found["upload_bytes_month"]
    assert found["requests_cost_month"] == pytest.approx(found["requests_month"] * 0.005 / 1000)
    assert found["currency"] == "EUR"


def test_a_small_backup_goes_in_one_piece():
    assert costs.night_requests(BASE, 1_000_000, 4_000_000, 7) == 15 + 3 + 13 + 10
    assert costs.night_requests(BASE, 8 * 1024 * 1024, 1, 7) == 15 + 3 + 13 + 10
    assert costs.night_requests(BASE, 8 * 1024 * 1024 + 1, 1, 7) == 15 + (2 + 4) + 13 + 10


def test_a_store_that_takes_few_parts_gets_large_ones():
    """1,000 parts for 40 GB: at least 60 MB each (half as much again for growth), in whole MiB 58,
    so the 10 GB that are sent take 165.
    """
    scaleway = dataclasses.replace(BASE, s3_max_parts=1000)
    assert costs.night_requests(scaleway, 10 * GB, 40 * GB, 7) == 15 + (165 + 4) + 13 + 10
    assert (
        costs.night_requests(dataclasses.replace(BASE, s3_max_parts=1), 10 * GB, 40 * GB, 7) > 0
    ), "a setting that no longer fits is no obstacle"


def test_what_others_keep_under_the_same_prefix_is_listed_too():
    """30 servers with 90 backups each: pages of 2,700 backups, 5,400 manifests and signatures, and
    as many proofs and theirs.
    """
    ninety = dataclasses.replace(BASE, retention_days=90)
    assert costs.look_requests(ninety, 90) == 2 + 3 + 1
    assert costs.look_requests(ninety, 30 * 90) == 2 + (3 + 6 + 6) + 1
    alone = costs.estimate(ninety, [line(0, GB)])["requests_month"]
    among = costs.estimate(ninety, [line(0, GB)], others=29 * 90)["requests_month"]
    assert among - alone == pytest.approx((48 + 2) * 12 * 30.4375, rel=0.02)


def test_the_kit_is_shared_by_the_databases():
    two = dataclasses.replace(BASE, databases=("a", "b"))
    without = costs.night_requests(two, 1, 1, 7)
    assert (
        costs.night_requests(dataclasses.replace(two, paths=("/srv",)), 1, 1, 7) - without
        == (14 + 3) / 2
    )


def test_only_the_last_seven_good_ones_say_how_large_the_next_will_be():
    kept = [line(age, 2 * GB) for age in range(7)] + [line(40, 100 * GB), line(-1, 0, state="bad")]
    found = costs.estimate(PRICED, kept)
    assert found["storage_bytes"] == 114 * GB
    assert found["steady_bytes"] == 14 * GB


def test_weeks_and_months_take_a_place_only_when_they_are_not_among_the_days():
    """Seven days and four weeks: this week's newest is today's, last week's is among the days but
    on Sundays, the two before never are.
    """
    assert costs.steady_backups(Policy(7)) == 7
    assert costs.steady_backups(Policy(7, weekly=1)) == 7
    assert costs.steady_backups(Policy(7, weekly=4)) == pytest.approx(9 + 1 / 7, abs=0.01)
    assert costs.steady_backups(Policy(1, weekly=1, monthly=1)) == 1
    assert costs.steady_backups(Policy(31, monthly=3)) == pytest.approx(31 + 1, abs=0.05)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(7),
        Policy(3, 4),
        Policy(7, 4, 6),
        Policy(30, 8, 12),
        Policy(1, 0, 3),
        Policy(2, 60, 1),
    ],
)
def test_it_is_what_the_retention_really_keeps(policy):
    """Three years of nights, each pruned: the mean of what stands in the last of them."""
    standing, counts = [], []
    first = datetime(2024, 1, 1, 0, 0, 2, tzinfo=timezone.utc)
    for day in range(3 * 365):
        now = first + timedelta(days=day)
        standing.append(Night(now))
        standing = [d.backup for d in plan(standing, policy, now + timedelta(seconds=30)) if d.keep]
        counts.append(len(standing))
    assert costs.steady_backups(policy) == pytest.approx(sum(counts[-365:]) / 365, rel=0.01)


def one_by_one(today: date, policy: Policy) -> int:
    """Of how many nights before the latest days backups stand: each week and month looked at."""
    sunday, day = today + timedelta(6 - today.weekday()), today
    days = {min(sunday - timedelta(weeks=n), today) for n in range(policy.weekly)}
    for _ in range(policy.monthly):
        days.add(day)
        day = day.replace(day=1) - timedelta(1)
    return sum((today - day).days >= policy.days for day in days)


def test_it_is_counted_as_it_would_be_one_by_one():
    chance = random.Random(21)
    for _ in range(500):
        policy = Policy(
            chance.choice([1, 2, 7, 31, 100]),
            chance.choice([0, 1, 2, 8, 200]),
            chance.choice([0, 1, 3, 60]),
        )
        today = date(2026, 1, 1) + timedelta(chance.randrange(-3000, 3000))
        assert costs._older(today, policy) == one_by_one(today, policy), (today, policy)


def test_a_century_takes_no_time():
    """Each day of a year has its 36,500 weeks and months."""
    began = time.process_time()
    assert costs.steady_backups(Policy(36_500)) == 36_500
    assert 102_000 < costs.steady_backups(Policy(36_500, 36_500, 36_500)) < 102_200
    assert time.process_time() - began < 0.5


def test_without_prices_there_are_numbers_and_no_amounts():
    found = costs.estimate(BASE, [line(0, GB)])
    assert found["storage_bytes"] == GB
    assert (found["storage_month"], found["steady_month"], found["requests_cost_month"]) == (
        None,
        None,
        None,
    )
    assert costs.lines(found) == []


def test_before_the_first_backup():
    found = costs.estimate(PRICED, [])
    assert (
        found["storage_bytes"],
        found["steady_bytes"],
        found["storage_month"],
        found["upload_bytes_month"],
    ) == (0, 0, 0, 0)
    assert found["requests_month"] > 0
    assert "0 B now for 0.00 EUR a month" in costs.lines(found)[0]


def test_a_sentence_for_a_person():
    found = costs.estimate(PRICED, [line(age, 10 * GB) for age in range(7)])
    requests = f"{found['requests_month']:,}"
    room = "70.0 GB now for 1.40 EUR a month, about 70.0 GB for 1.40 EUR in the long run"
    assert costs.lines(found) == [
        (
            f"costs: {room}; about {requests} requests a month for 0.23 EUR; "
            "304.4 GB a month are uploaded; 100.0 GB read again; at 0.02 EUR for a GB a month "
            "(backup_price_gb_month) and 0.005 EUR for 1,000 requests (backup_price_requests_1000)"
        )
    ]
    only_room = costs.estimate(
        dataclasses.replace(PRICED, price_requests_1000=0.0, price_currency=""), [line(0, 1000)]
    )
    assert costs.lines(only_room) == [
        (
            "costs: 1.0 kB now for under 0.01 a month, about 7.0 kB for under 0.01 in the long "
            "run; 30.4 kB a month are uploaded; 30.4 kB read again; at 0.02 for a GB a month "
            "(backup_price_gb_month)"
        )
    ]


def test_several_together():
    one, other = costs.estimate(PRICED, [line(0, GB)]), costs.estimate(PRICED, [line(0, 3 * GB)])
    both = costs.total([one, other])
    assert both.keys() == one.keys()
    assert both["storage_month"] == pytest.approx(0.08)
    assert both["requests_month"] == one["requests_month"] + other["requests_month"]
    assert costs.total([one, costs.estimate(BASE, [line(0, GB)])])["storage_month"] is None
    assert costs.total([])["storage_bytes"] == 0
