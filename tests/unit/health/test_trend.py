"""What is out of the ordinary in a backup: told when it is, and never when it is not."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.catalog.backup import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.health import trend

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)


def manifest(
    dump_bytes: int = 5_000_000, name: str = "new", format: str = "plain", **tables: int
) -> Backup:
    """A backup with a manifest that says so."""
    records = {table: {"rows": rows, "sha256": "0" * 64} for table, rows in tables.items()}
    facts = {"name": name, "format": format, "dump_bytes": dump_bytes, "tables": records}
    return Backup(BackupName(NOW), Layout("p"), 1, facts)


def codes(newest: Backup, earlier: list[Backup], drop: int = 30, jump: int = 200) -> list[str]:
    return [finding["code"] for finding in trend.findings(newest, earlier, drop, jump)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (3_600_000, []),
        (3_400_000, ["SIZE_DROPPED"]),
        (0, ["SIZE_DROPPED"]),
        (14_900_000, []),
        (15_100_000, ["SIZE_JUMPED"]),
    ],
)
def test_a_size_beyond_the_percentages(now, expected):
    assert codes(manifest(now), [manifest()] * 5) == expected


def test_zero_percent_is_never():
    assert codes(manifest(10), [manifest()] * 5, drop=0) == []
    assert codes(manifest(10**10), [manifest()] * 5, jump=0) == []


def test_two_predecessors_make_no_trend():
    assert codes(manifest(10), [manifest()] * 2) == []
    assert codes(manifest(10), [manifest()] * 3) == ["SIZE_DROPPED"]


def test_another_format_is_another_trend():
    assert codes(manifest(10, format="custom"), [manifest()] * 5) == []


def test_small_changes_of_small_things_are_no_news():
    assert codes(manifest(20_000, few=3), [manifest(80_000, few=9)] * 5) == []


def test_a_table_that_lost_rows_says_how_many_and_a_lost_table_that_it_is_gone():
    earlier = [manifest(users=300, orders=10_000, teachers=12)] * 4
    (found,) = trend.findings(manifest(users=300, orders=6000), earlier, 30, 200)
    assert found["code"] == "ROWS_DROPPED"
    assert "orders 10,000 -> 6,000; teachers 12 -> 0 (the table is gone)" in found["message"]
    (found,) = trend.findings(manifest(users=0, orders=10_000, teachers=12), earlier, 30, 200)
    assert "users 300 -> 0" in found["message"]


def test_a_table_that_jumped():
    (found,) = trend.findings(
        manifest(users=300, log=40_000), [manifest(users=300, log=1500)] * 4, 30, 200
    )
    assert (found["code"], "log 1,500 -> 40,000" in found["message"]) == ("ROWS_JUMPED", True)


def test_the_worst_are_named_and_the_rest_is_counted():
    tables = {f"t{number}": 1000 * (number + 1) for number in range(6)}
    (found,) = trend.findings(manifest(), [manifest(**tables)] * 3, 30, 200)
    assert "t5 6,000 -> 0 (the table is gone); t4" in found["message"]
    assert found["message"].endswith("and 3 more tables")


def test_a_queue_that_fills_and_empties_is_ordinary():
    fills = [0, 5000, 20, 9000, 100, 7000, 0]
    for now in (0, 30, 9500, 20_000):
        assert codes(manifest(queue=now), [manifest(queue=rows) for rows in fills]) == []


def test_a_drop_is_told_of_until_it_is_what_is_usual():
    nights = [manifest(3_000_000, orders=10_000)] * 7
    told = []
    for _ in range(8):
        newest = manifest(1_000_000, orders=3000)
        told.append(codes(newest, nights))
        nights = [newest, *nights]
    assert told == [*[["SIZE_DROPPED", "ROWS_DROPPED"]] * 4, ["ROWS_DROPPED"], [], [], []]


@given(st.integers(0, 2**32), st.floats(0.995, 1.03))
def test_a_database_that_grows_as_databases_do_is_ordinary(seed, growth):
    rng = random.Random(seed)
    rows, nights = {name: rng.randint(0, 100_000) for name in ("users", "orders", "log")}, []
    for _ in range(60):
        rows = {
            name: int(count * growth * rng.uniform(0.97, 1.05)) + rng.randint(0, 5)
            for name, count in rows.items()
        }
        newest = manifest(sum(rows.values()) * 80, **rows)
        assert codes(newest, nights) == []
        nights.insert(0, newest)


@given(st.integers(0, 2**32), st.integers(3, 30))
def test_losing_half_of_a_table_is_always_told(seed, nights):
    rng = random.Random(seed)
    count = rng.randint(200, 10**6)
    earlier = [manifest(orders=int(count * rng.uniform(0.95, 1.0))) for _ in range(nights)]
    assert "ROWS_DROPPED" in codes(manifest(orders=count // 2), earlier)
