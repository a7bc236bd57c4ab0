"""What a drill asks of the live database: its indexes, which no backup holds."""

from __future__ import annotations

import psycopg
import pytest

from postgres_backup.drill.live import look_at_live
from postgres_backup.job import Job
from tests.integration.restoring import as_superuser, state_of

# PostgreSQL 15 is Debian's, with amcheck; the wheels have none
pytestmark = pytest.mark.parametrize("postgres", [15], indirect=True)


def outcome(settings) -> tuple[dict[str, str], list[str]]:
    """The message of each code, and the checks that were made."""
    found, made = look_at_live(Job(settings))
    return {one["code"]: one["message"] for one in found}, made


def test_indexes_that_are_not_valid(database, config):
    database.execute("CREATE TABLE users AS SELECT 1 AS id FROM generate_series(1, 2)")
    assert outcome(config.settings) == ({}, ["collations", "indexes"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("CREATE UNIQUE INDEX CONCURRENTLY one ON users (id)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute('CREATE UNIQUE INDEX CONCURRENTLY "the_ccnew" ON users (id)')
    database.execute("CREATE TABLE parts (id int) PARTITION BY RANGE (id)")
    database.execute("CREATE TABLE part PARTITION OF parts DEFAULT")
    database.execute("CREATE INDEX whole ON ONLY parts (id)")
    told, _ = outcome(config.settings)
    assert set(told) == {"INDEX_INVALID"}
    for mend in (
        "REINDEX INDEX CONCURRENTLY public.one;",
        "DROP INDEX CONCURRENTLY public.the_ccnew;",
        "ALTER INDEX public.whole ATTACH PARTITION",
    ):
        assert mend in told["INDEX_INVALID"]


def test_indexes_that_are_damaged(database, config):
    """The order of an index changes under it, as a new libc changes that of letters."""
    database.execute("""
        CREATE TABLE words AS SELECT 'word ' || n AS word FROM generate_series(1, 2000) n;
        CREATE FUNCTION sorts(text, text) RETURNS int LANGUAGE sql IMMUTABLE
            AS 'SELECT bttextcmp($1, $2)';
        CREATE OPERATOR CLASS sorted FOR TYPE text USING btree AS
            OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
            FUNCTION 1 sorts(text, text);
        CREATE INDEX by_word ON words (word sorted);
        CREATE INDEX sound ON words (word)""")
    settings = as_superuser(config, database.server)
    # it is asked only where it is installed, and never made
    assert outcome(settings) == ({}, ["collations", "indexes"])
    database.execute("CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools")
    before = state_of(database.server, database.name)
    assert outcome(settings) == ({}, ["collations", "indexes", "amcheck"])
    database.execute(
        "CREATE OR REPLACE FUNCTION sorts(text, text) RETURNS int LANGUAGE sql IMMUTABLE"
        " AS 'SELECT bttextcmp($2, $1)'"
    )
    told, _ = outcome(settings)
    assert set(told) == {"INDEX_CORRUPT"}
    assert "REINDEX INDEX CONCURRENTLY public.by_word;" in told["INDEX_CORRUPT"]
    assert "sound" not in told["INDEX_CORRUPT"]
    assert state_of(database.server, database.name) == before


def test_an_amcheck_that_may_not_be_asked_or_takes_too_long(database, config, monkeypatch):
    """Not known, and by name; whoever holds a table waits for nobody, nor is waited for."""
    database.execute("CREATE TABLE users (id int PRIMARY KEY); CREATE EXTENSION amcheck")
    told, made = outcome(config.change(DB_USER=database.owner, DB_PASSWORD=database.password))
    assert "amcheck" in made
    assert "GRANT EXECUTE ON FUNCTION" in told["NOT_CHECKED"]
    settings = as_superuser(config, database.server)
    with database.server.connect(database.name) as hand, hand.transaction():
        hand.execute("LOCK TABLE users")
        told, _ = outcome(settings)
    assert "public.users_pkey: canceling statement due to lock timeout" in told["NOT_CHECKED"]
    monkeypatch.setattr("postgres_backup.drill.live.ALL_INDEXES", 0.0)
    told, _ = outcome(settings)
    assert "public.users_pkey: no time was left" in told["NOT_CHECKED"]


def test_a_live_database_that_is_not_there_is_not_known(config):
    told, made = outcome(config.change(DB_NAME="nobody_has_it"))
    assert set(told) == {"NOT_CHECKED"}
    assert made == ["collations", "indexes", "amcheck"]
