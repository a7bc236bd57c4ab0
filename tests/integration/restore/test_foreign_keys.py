"""Foreign keys between tables that are brought back and those that are not."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.restore import table_rows
from postgres_backup.restore.foreign_keys import in_order, lost_with, refuse_cascades

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY)",
    (
        "CREATE TABLE orders (id int PRIMARY KEY, buyer int"
        " CONSTRAINT bought_by REFERENCES users ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE items (id int PRIMARY KEY, part_of int REFERENCES orders,"
        " beside int REFERENCES items)"
    ),
    "INSERT INTO users VALUES (1), (2)",
    "INSERT INTO orders VALUES (1, 1)",
)


def test_parents_come_before_their_children(pair):
    both = pair(SHOP)
    named = [both.look(name) for name in ("items", "orders", "users", "public.items")]
    assert [table.name for table in in_order(both.side, named)] == ["users", "orders", "items"]


def test_rows_that_nobody_named_do_not_go_with_others(pair):
    both = pair(SHOP, "INSERT INTO users VALUES (3)", "INSERT INTO orders VALUES (7, 3), (8, 3)")
    users = table_rows.change_of(both.side, both.live, both.look("users", 0))
    with pytest.raises(DatabaseError, match=r"2 rows of orders belong to rows of public\.users"):
        refuse_cascades(both.live, [users])
    orders = table_rows.change_of(both.side, both.live, both.look("orders", 1))
    refuse_cascades(both.live, [users, orders])


def test_a_key_that_was_lost_with_a_table_is_a_finding(pair):
    both = pair(SHOP, "DROP TABLE users CASCADE")
    users = both.look("users")
    [finding] = lost_with(both.side, both.live, [users])
    assert finding["code"] == "FOREIGN_KEY_MISSING"
    statement = finding["message"].partition(": ")[2]
    assert statement.startswith('ALTER TABLE orders ADD CONSTRAINT "bought_by" FOREIGN KEY (buyer)')
    both.live.execute("CREATE TABLE users AS SELECT * FROM (VALUES (1), (2)) AS v(id)")
    both.live.execute("ALTER TABLE users ADD PRIMARY KEY (id)")
    both.live.execute(statement)
    assert lost_with(both.side, both.live, [users]) == []
