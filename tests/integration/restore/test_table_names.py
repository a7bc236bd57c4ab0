"""Which table is meant by a name."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.restore.table_names import named

SHOP = (
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.orders (id int PRIMARY KEY)",
    'CREATE TABLE shop."Odd.one" (id int)',
    "INSERT INTO shop.orders VALUES (1), (2)",
    "CREATE TABLE shop.users (id int)",
    "CREATE SCHEMA old",
    "CREATE TABLE old.users (id int)",
    "CREATE TABLE users (id int)",
    "CREATE TABLE shop.item (id int)",
    "CREATE TABLE old.item (id int)",
)


def test_the_only_one_of_that_name_is_meant_whatever_its_schema(pair):
    both = pair(SHOP, "DELETE FROM shop.orders WHERE id = 1")
    for check in (True, False):
        assert both.repair("orders", check=check)[0] == {"shop.orders": (1, 0, 0)}
    assert named(both.side, '"Odd.one"', "b").name == "Odd.one"
    assert named(both.side, "users", "b").schema == "public"  # as the search path says
    both.side.execute("SET search_path TO old")
    assert named(both.side, "users", "b").schema == "old"


def test_of_several_none_is_taken_and_the_nearest_is_named(pair):
    both = pair(SHOP)
    with pytest.raises(UsageError, match=r'item in b: "old"\."item", "shop"\."item"'):
        named(both.side, "item", "b")
    with pytest.raises(UsageError, match=r"no table public\.orders in b") as refused:
        named(both.side, "public.orders", "b")
    assert "shop.orders" in refused.value.hint
    with pytest.raises(UsageError, match="is not the name of a table"):
        named(both.side, "orders; DROP TABLE users", "b")
