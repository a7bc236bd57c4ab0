"""What bringing tables back does to the foreign keys around them."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.restore import table_rows
from postgres_backup.restore.foreign_keys import keys_around
from postgres_backup.restore.key_effects import effects, refuse

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY)",
    (
        "CREATE TABLE orders (id int PRIMARY KEY, buyer int"
        " CONSTRAINT bought_by REFERENCES users ON DELETE CASCADE)"
    ),
    "INSERT INTO users VALUES (1), (2)",
    "INSERT INTO orders VALUES (1, 1), (2, 2)",
)


def effect_on(both, *names):
    tables = [both.look(name, number) for number, name in enumerate(names)]
    changes = [table_rows.change_of(both.side, both.live, table) for table in tables]
    [effect] = effects(both.live, changes, keys_around(both.live, tables))
    return effect


def test_rows_that_nobody_named_do_not_go_with_others(pair):
    both = pair(SHOP, "INSERT INTO users VALUES (3)", "INSERT INTO orders VALUES (7, 3), (8, 3)")
    effect = effect_on(both, "users")
    assert (effect.orphans, effect.chosen) == (2, False)
    with pytest.raises(DatabaseError, match="2 rows of orders belong to rows of users"):
        refuse([effect])
    both.live.rollback()
    effect = effect_on(both, "users", "orders")
    assert (effect.orphans, effect.in_the_way) == (0, True)
    refuse([effect])


def test_rows_of_the_backup_that_would_belong_to_nothing_are_told(pair):
    both = pair(SHOP, "DELETE FROM users WHERE id = 2")
    effect = effect_on(both, "orders")
    assert (effect.orphans, effect.chosen) == (1, True)
    with pytest.raises(DatabaseError) as refused:
        refuse([effect])
    assert "1 rows of orders in the backup belong to rows of users" in refused.value.message
    assert "tables=...,users" in refused.value.hint


def test_a_key_is_left_alone_where_nothing_goes(pair):
    both = pair(SHOP, "DELETE FROM users WHERE id = 2")
    effect = effect_on(both, "users", "orders")
    assert (effect.orphans, effect.in_the_way) == (0, False)


def test_a_partition_that_is_the_only_one_and_takes_every_row(pair):
    both = pair(
        (
            "CREATE TABLE day (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE day_low PARTITION OF day FOR VALUES FROM (0) TO (3)",
            "CREATE TABLE day_rest PARTITION OF day DEFAULT",
            "CREATE TABLE mark (day int REFERENCES day_rest)",
            "INSERT INTO day VALUES (1), (5)",
            "INSERT INTO mark VALUES (5)",
        ),
        "DROP TABLE day_low",
        "INSERT INTO day VALUES (7)",
    )
    assert both.repair("day", "mark")[0] == {"public.day": (1, 0, 1), "public.mark": (0, 0, 0)}
