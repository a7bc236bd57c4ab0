"""Side databases and kept databases: their names, and the comments that say whose they are."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.postgresql import copies, replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.postgresql.databases import create_database
from postgres_backup.postgresql.facts import DatabaseFacts
from tests.integration.restoring import run_sql

NOON = datetime(2026, 1, 27, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture
def connection(database, config):
    with connect_maintenance(config.settings, database.name) as connection:
        yield connection


def make(connection, database, name: str, comment) -> None:
    create_database(connection, name, DatabaseFacts(database.owner), comment)


def keep(connection, database, name: str, reason: str, comment: str | None) -> None:
    """A kept database as a swap leaves it."""
    make(
        connection,
        database,
        name,
        lambda: replaced.kept_comment(connection, database.name, name, reason, comment),
    )


def test_a_kept_database_says_what_it_is(connection, database, config):
    first = replaced.kept_name(connection, database.name, NOON)
    assert first == f"{database.name}_before_2026-01-27_12-00-00"
    keep(connection, database, first, "restore of X", "its own")
    # never earlier than what is kept already, whatever the clock says
    second = replaced.kept_name(connection, database.name, NOON - timedelta(hours=1))
    assert second == f"{database.name}_before_2026-01-27_12-00-01"
    keep(connection, database, second, "undo", None)
    newest, oldest = replaced.kept(connection, database.name)
    assert (newest.name, newest.replaced_at, newest.comment) == (
        second,
        NOON + timedelta(seconds=1),
        None,
    )
    assert (oldest.name, oldest.by, oldest.comment) == (first, "restore of X", "its own")
    assert (oldest.bytes or 0) > 1_000_000
    assert replaced.choose(connection, config.settings, database.name) == newest
    assert replaced.choose(connection, config.settings, database.name, first) == oldest
    with pytest.raises(UsageError) as caught:
        replaced.choose(connection, config.settings, database.name, first + "x")
    assert first in caught.value.hint
    assert replaced.kept(connection, "another") == []
    assert replaced.leftovers(connection, database.name) == []


def test_only_its_own_are_sized(connection, database, monkeypatch):
    """A server looks at each file of a database to size it, and here each database asks."""
    name = replaced.kept_name(connection, database.name, NOON)
    keep(connection, database, name, "restore of X", None)
    sized, rows = list[object](), replaced.rows

    def counting(connection, kind, query, parameters=None):
        assert ("pg_database_size" in query) == (query is replaced._SIZES)
        sized.extend(parameters[0] if query is replaced._SIZES else ())
        return rows(connection, kind, query, parameters)

    monkeypatch.setattr(replaced, "rows", counting)
    for other in ("crm", "shop"):
        assert replaced.kept(connection, other) == copies.copies(connection, other) == []
    assert sized == []
    [there] = replaced.kept(connection, database.name)
    assert sized == [there.oid]


def test_a_side_database_is_found_again(connection, database):
    name = replaced.side_name(connection, database.name, NOON)
    assert name == f"{database.name}_restore_2026-01-27_12-00-00"
    with pytest.raises(UsageError, match="There is no side database"):
        replaced.side(connection, database.name, name)
    make(
        connection,
        database,
        name,
        lambda: replaced.side_comment(connection, name, database.name, "X", "its own"),
    )
    assert replaced.side(connection, database.name, name) == replaced.SideDatabase(
        name, "X", "its own"
    )
    assert replaced.side_name(connection, database.name, NOON).endswith("12-00-01")
    # and one that was never more than begun: closed, and without a comment
    begun = f"{database.name}_restore_2026-01-28_00-00-00"
    run_sql(
        database.server,
        "postgres",
        "CREATE DATABASE {begun} OWNER {owner} ALLOW_CONNECTIONS false",
        begun=begun,
        owner=database.owner,
    )
    assert sorted(replaced.leftovers(connection, database.name)) == [name, begun]
    assert replaced.kept(connection, database.name) == []
