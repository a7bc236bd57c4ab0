"""Partitions that are not there any more."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.restore.partitions import require_partitions

EVENTS = (
    "CREATE TABLE ev (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
    "CREATE TABLE ev25 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    (
        "CREATE TABLE ev26 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
        " PARTITION BY HASH (id)"
    ),
    "CREATE TABLE ev26_0 PARTITION OF ev26 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE ev26_1 PARTITION OF ev26 FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "INSERT INTO ev SELECT n, date '2025-12-01' + n FROM generate_series(1, 60) n",
)

RECORDS = {
    f"public.{name}": {"rows": count, "bytes": 0, "sha256": ""}
    for name, count in (("ev25", 30), ("ev26_0", 14), ("ev26_1", 16))
}


def placed(both) -> list[tuple]:
    return both.ask("SELECT tableoid::regclass::text, count(*) FROM ev GROUP BY 1 ORDER BY 1")


@pytest.mark.parametrize(
    ("since", "lost"),
    [
        ("DROP TABLE ev25", 30),
        ("ALTER TABLE ev DETACH PARTITION ev25; TRUNCATE ev25", 30),
        ("DROP TABLE ev26", 30),
        ("DROP TABLE ev25; DROP TABLE ev26", 60),
    ],
)
def test_rows_without_a_partition_are_told_with_what_makes_it(pair, since, lost):
    both = pair(EVENTS)
    before = placed(both)
    both.live.execute(since)
    both.live.commit()
    for check in (True, False):
        with pytest.raises(UsageError, match=f"{lost} rows of public.ev in the backup") as refused:
            both.repair("ev", check=check)
    # the definitions tell it too, before the rows are there
    with pytest.raises(UsageError) as early:
        require_partitions(both.side, both.live, both.look("ev"), RECORDS)
    assert str(early.value) == str(refused.value)
    both.live.rollback()
    both.live.execute(refused.value.hint.partition(": ")[2])
    both.live.commit()
    require_partitions(both.side, both.live, both.look("ev"), RECORDS)
    both.live.rollback()
    assert both.repair("ev")[0] == {"public.ev": (lost, 0, 0)}
    assert placed(both) == before


def test_rows_may_lie_in_another_partition_by_now(pair):
    both = pair(EVENTS, "DROP TABLE ev25", "CREATE TABLE ev_rest PARTITION OF ev DEFAULT")
    require_partitions(both.side, both.live, both.look("ev"), RECORDS)
    both.live.rollback()
    assert both.repair("ev")[0] == {"public.ev": (30, 0, 0)}
    assert ("ev_rest", 30) in placed(both)


def test_a_table_that_is_gone_comes_back_with_partitions_that_are_named_too(pair):
    both = pair(EVENTS)
    before = placed(both)
    both.live.execute("DROP TABLE ev")
    both.live.commit()
    assert both.repair("ev26_0", "ev", "ev25")[0] == {"public.ev": (60, 0, 0)}
    assert placed(both) == before


def test_a_partition_that_is_gone_is_named_with_its_table(pair):
    both = pair(EVENTS, "DROP TABLE ev26_1")
    with pytest.raises(UsageError, match=r"was a partition of public\.ev26") as refused:
        both.repair("ev26_1")
    assert "FOR VALUES WITH (modulus 2, remainder 1);" in refused.value.hint
