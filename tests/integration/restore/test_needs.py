"""What a table that is gone cannot come back without."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError

SHOP = (
    "CREATE SCHEMA shop",
    "CREATE TYPE shop.size AS ENUM ('small', 'it''s large')",
    "CREATE SEQUENCE numbers",
    ("CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'"),
    (
        "CREATE TABLE shop.item (id int PRIMARY KEY DEFAULT nextval('numbers'), size shop.size,"
        " n int CHECK (twice(n) > 0))"
    ),
    "INSERT INTO shop.item (size, n) VALUES ('small', 1), ('it''s large', 2)",
    "CREATE TABLE animal (id serial PRIMARY KEY)",
    "CREATE TABLE dog (name text) INHERITS (animal)",
)


def test_it_is_told_with_the_statements_before_anything_is_made(pair):
    both = pair(
        SHOP,
        "DROP SCHEMA shop CASCADE",
        "DROP SEQUENCE numbers",
        "DROP FUNCTION twice",
    )
    for check in (True, False):
        with pytest.raises(UsageError) as refused:
            both.repair("shop.item", check=check)
    assert refused.value.message.partition("needs: ")[2].split(", ", 1)[0] == "schema shop"
    for lost in ("type shop.size", "sequence public.numbers", "function public.twice(integer)"):
        assert lost in refused.value.message
    typed = refused.value.hint.partition(": ")[2].rpartition(" Or restore")[0]
    both.live.execute(typed)
    both.live.commit()
    assert both.repair("shop.item")[0] == {"shop.item": (2, 0, 0)}


def test_a_table_that_is_gone_too_is_named(pair):
    both = pair(SHOP, "DROP TABLE animal CASCADE")
    for check in (True, False):
        with pytest.raises(UsageError, match=r"needs: .*table public\.animal") as refused:
            both.repair("dog", check=check)
    assert "Name also: public.animal" in refused.value.hint
    assert both.repair("dog", "animal")[0] == {"public.dog": (0, 0, 0), "public.animal": (0, 0, 0)}


def test_names_that_others_have_by_now(pair):
    both = pair(SHOP, "ALTER TABLE animal RENAME TO beast")
    for check in (True, False):
        with pytest.raises(UsageError, match="taken by others") as refused:
            both.repair("animal", check=check)
    both.live.execute(refused.value.hint.partition(": ")[2])
    both.live.commit()
    assert both.repair("animal")[0] == {"public.animal": (0, 0, 0)}


def test_a_partition_of_what_its_key_points_to_is_not_needed(pair):
    both = pair(
        (
            "CREATE TABLE day (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE day_low PARTITION OF day FOR VALUES FROM (0) TO (3)",
            "CREATE TABLE day_rest PARTITION OF day DEFAULT",
            "CREATE TABLE mark (day int REFERENCES day)",
            "INSERT INTO day VALUES (1), (5)",
            "INSERT INTO mark VALUES (5)",
        ),
        "DROP TABLE mark",
        "DROP TABLE day_low",
    )
    assert (
        both.repair("mark", check=True)
        == both.repair("mark")
        == (
            {"public.mark": (1, 0, 0)},
            [],
        )
    )
