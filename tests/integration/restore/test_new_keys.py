"""Foreign keys of tables that are gone, and to them."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY)",
    "CREATE TABLE orders (id int PRIMARY KEY, buyer int REFERENCES users)",
    "INSERT INTO users VALUES (1), (2), (3)",
    "INSERT INTO orders VALUES (1, 1), (2, 2), (3, 2), (4, NULL)",
)


def test_rows_that_would_refer_to_nothing_are_told_before(pair):
    both = pair(SHOP, "DROP TABLE orders", "DELETE FROM users WHERE id = 2")
    for check in (True, False):
        with pytest.raises(DatabaseError, match=r"2 rows of orders .* rows of users") as refused:
            both.repair("orders", check=check)
        assert "tables=...,users" in refused.value.hint
        if check:
            told = both.repair("orders", "users", check=True)[0]
    assert (
        both.repair("orders", "users")[0]
        == told
        == {
            "public.users": (1, 0, 0),
            "public.orders": (4, 0, 0),
        }
    )


def test_a_key_comes_back_where_both_its_tables_were_named(pair):
    both = pair(SHOP, "DROP TABLE users CASCADE", "DELETE FROM orders WHERE id = 1")
    assert both.repair("orders", "users")[1] == []
    assert both.ask("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'") == [
        ("FOREIGN KEY (buyer) REFERENCES users(id)",)
    ]
