"""Was anything written to a database since it was stamped?"""

from __future__ import annotations

import psycopg
import pytest

from postgres_backup.postgresql import mark
from postgres_backup.postgresql.connection import connect
from postgres_backup.postgresql.written import count, is_counted, is_stamped, stamp, written_since

#: statement -> what is said of it
WRITING = {
    "INSERT INTO day VALUES ('only here')": "public.day was written to since it was replaced",
    "UPDATE day SET said = 'only here'": "public.day was written to since it was replaced",
    "DELETE FROM day WHERE said = 'only here'": "rows were deleted in it since it was replaced",
    "TRUNCATE day": "pg_catalog.pg_class was written to since it was replaced",
    "ALTER TABLE day ADD more text": "pg_catalog.pg_attribute was written to since it was replaced",
    "CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'": "made or dropped",
    "SELECT lo_from_bytea(4711, 'only here')": "made or dropped",
    "SELECT lo_unlink(4711)": "made or dropped",
    "CREATE TABLE secret.later (id int)": "made or dropped",
    "DROP TABLE day": "made or dropped",
}
READING = ("SELECT * FROM day", "CREATE TEMP TABLE mine AS SELECT 1 AS id", "ANALYZE")


@pytest.mark.every_major
def test_whatever_is_written_shows_and_reading_and_vacuum_are_no_writing(database, config):
    settings, name = config.settings, database.name
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE day (said text)")
        connection.execute("INSERT INTO day VALUES ('first'), ('second')")
        connection.execute("CREATE SCHEMA secret")

    def stamped() -> mark.Mark:
        with connect(settings, "postgres") as connection:
            made = mark.make(mark.KEPT, name, None, **stamp(connection), **count(settings, name))
        assert is_stamped(made)
        assert is_counted(made)
        return made

    def said_of(*statements: str, dsn: str = "") -> str:
        before = stamped()
        with psycopg.connect(dsn or database.dsn(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
        return written_since(settings, name, before)

    assert said_of(*READING) == ""
    superuser = database.server.dsn(name)
    assert said_of("ANALYZE", "VACUUM (FREEZE)", dsn=superuser) == ""
    for statement, expected in WRITING.items():
        assert expected in said_of(statement), statement
        assert written_since(settings, name, stamped()) == ""


def test_what_nobody_can_know_counts_as_written(database, config):
    settings, name = config.settings, database.name
    assert "nobody has noted" in written_since(settings, name, mark.make(mark.KEPT, name, None))
    database.execute("CREATE TABLE theirs (id int)")
    with connect(settings, "postgres") as connection:
        now = stamp(connection)
    asked = mark.make(mark.KEPT, name, None, **now)
    assert f"{database.owner} may not read public.theirs" in written_since(settings, name, asked)
    for number in (now["next_transaction"] + 10**6, now["next_transaction"] - 2**31):
        asked = mark.make(mark.KEPT, name, None, next_transaction=number)
        assert "so many transactions ago" in written_since(settings, name, asked)
