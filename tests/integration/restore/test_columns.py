"""Columns that came, went, or became others since the backup."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError

SHOP = (
    "CREATE TABLE item (id int PRIMARY KEY, place int UNIQUE, name text)",
    "INSERT INTO item VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')",
)


def test_columns_that_came_keep_what_they_hold(pair):
    both = pair(
        SHOP,
        "ALTER TABLE item ADD colour text NOT NULL DEFAULT 'red', ADD note text",
        "UPDATE item SET colour = 'blue', note = 'mine'",
        "DELETE FROM item WHERE id = 1",
        "UPDATE item SET name = 'wrong' WHERE id = 2",
        "UPDATE item SET place = 99 WHERE id = 3",  # set back by a delete and an insert
    )
    for check in (True, False):
        assert both.repair("item", check=check)[0] == {"public.item": (1, 2, 0)}
    assert both.ask("SELECT * FROM item ORDER BY id") == [
        (1, 10, "one", "red", None),
        (2, 20, "two", "blue", "mine"),
        (3, 30, "three", "blue", "mine"),
    ]


def test_a_key_of_columns_that_came_tells_no_rows_apart(pair):
    both = pair(
        SHOP,
        "ALTER TABLE item DROP CONSTRAINT item_pkey, ADD uid serial PRIMARY KEY",
        "DELETE FROM item WHERE id = 1",
    )
    assert both.look("item").key == ()
    assert both.repair("item")[0] == {"public.item": (1, 0, 0)}
    assert both.ask("SELECT id, place, name FROM item ORDER BY id")[0] == (1, 10, "one")


@pytest.mark.parametrize(
    ("since", "said", "typed"),
    [
        ("DROP name", "name is gone", 'ADD COLUMN "name" text;'),
        ("RENAME name TO title", "name is gone", 'RENAME COLUMN "title" TO "name";'),
        (
            "ALTER place TYPE bigint",
            "place was integer and is bigint",
            'ALTER COLUMN "place" TYPE integer;',
        ),
    ],
)
def test_what_has_no_place_is_refused_with_the_way_out(pair, since, said, typed):
    both = pair(SHOP, f"ALTER TABLE item {since}", "DELETE FROM item WHERE id = 1")
    for check in (True, False):
        with pytest.raises(UsageError, match=said) as refused:
            both.repair("item", check=check)
    assert typed in refused.value.hint
    both.live.execute(f'ALTER TABLE "public"."item" {typed}')
    both.live.commit()
    assert both.repair("item")[0]["public.item"][0] == 1
