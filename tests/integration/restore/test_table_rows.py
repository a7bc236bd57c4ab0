"""The rows of one table: staged, compared, and made what they were."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.postgresql.connection import value, values
from postgres_backup.restore import table_rows
from postgres_backup.restore.table_rows import Change

TABLES = (
    "CREATE TABLE users (id int PRIMARY KEY, name text, note json)",
    "INSERT INTO users SELECT n, 'user ' || n, '{{\"a\": 1}}' FROM generate_series(1, 20) n",
    "CREATE TABLE log (line text)",
    "INSERT INTO log SELECT 'line ' || n % 3 FROM generate_series(1, 9) n",
)
DAMAGE = (
    "DELETE FROM users WHERE id <= 2",
    "UPDATE users SET name = 'wrong' WHERE id IN (3, 4, 5)",
    "INSERT INTO users VALUES (99, 'later')",
    "DELETE FROM log WHERE line = 'line 1'",
    "INSERT INTO log VALUES ('later'), ('later')",
)


def content(connection, table) -> list[str]:
    return values(connection, str, f"SELECT t::text FROM {table.name} t ORDER BY 1")


@pytest.mark.parametrize(
    ("name", "counts"), [("users", (20, 2, 3, 1)), ("log", (9, 3, 0, 2))], ids=["key", "no key"]
)
def test_what_differs_is_counted_and_nothing_else_is_written(pair, name, counts):
    both = pair(TABLES, *DAMAGE)
    table = both.look(name)
    change = table_rows.change_of(both.side, both.live, table)
    assert change == Change(table, *counts)
    assert change.total == sum(counts[1:])
    with pytest.raises(DatabaseError, match=f"{change.total} rows are not as in the backup"):
        table_rows.require_equal(both.live, table)
    table_rows.note_before(both.live, table)
    table_rows.delete_doomed(both.live, change)
    table_rows.merge(both.live, change)
    table_rows.require_equal(both.live, table)
    assert content(both.live, table) == content(both.side, table)


def test_rows_that_are_right_are_left_alone(pair):
    both = pair(TABLES, *DAMAGE)
    table = both.look("users")
    before = value(both.live, str, "SELECT ctid::text FROM users WHERE id = 10")
    change = table_rows.change_of(both.side, both.live, table)
    table_rows.note_before(both.live, table)
    table_rows.delete_doomed(both.live, change)
    table_rows.merge(both.live, change)
    assert value(both.live, str, "SELECT ctid::text FROM users WHERE id = 10") == before


def test_a_table_that_is_gone_lacks_all(pair):
    both = pair(TABLES, "DROP TABLE log")
    change = table_rows.change_of(both.side, both.live, both.look("log"))
    assert change.describe() == {
        "table": "public.log",
        "rows": 9,
        "inserted": 9,
        "updated": 0,
        "deleted": 0,
        "created": True,
    }
