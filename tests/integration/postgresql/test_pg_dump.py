"""pg_dump as a stream: plain and custom, whole and in part, and what is said where it fails."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.postgresql import programs
from postgres_backup.postgresql.connection import connect, value
from postgres_backup.postgresql.pg_dump import ArchiveReader, Dump, dump_globals
from postgres_backup.stream.inspector import Inspector
from tests.integration.restoring import as_superuser, run_sql


@pytest.fixture
def filled(database):
    run_sql(
        database.server,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n",
        "CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 10) n",
        owner=database.owner,
    )
    return database


@pytest.fixture
def tools(database, config):
    return programs.find(config.settings, database.server.major)


@pytest.mark.every_major
def test_a_plain_dump_is_inspected_as_it_passes(filled, tools):
    dump = Dump(tools, filled.name)
    text = b"".join(dump.chunks())
    assert text.startswith(b"--\n-- PostgreSQL database dump\n")
    assert {name: facts.rows for name, facts in dump.report.tables.items()} == {
        "public.users": 1000,
        "public.orders": 10,
    }
    assert (dump.report.bytes, dump.report.findings) == (len(text), [])


def test_an_archive_is_the_same_dump(filled, tools):
    plain, custom = Dump(tools, filled.name), Dump(tools, filled.name, "custom")
    for _ in plain.chunks():
        continue
    archive = b"".join(custom.chunks())
    assert archive.startswith(b"PGDMP")
    assert custom.report.tables == plain.report.tables
    inspector = Inspector()
    with ArchiveReader(tools, inspector.feed) as reader:
        for start in range(0, len(archive), 500):
            reader.write(archive[start : start + 500])
        reader.finish()
    assert inspector.finish().tables == plain.report.tables
    with ArchiveReader(tools, Inspector().feed) as reader:
        reader.write(archive[: len(archive) // 2])
        with pytest.raises(DatabaseError, match="pg_restore failed"):
            reader.finish()


def test_a_part_of_it_and_as_of_a_snapshot(filled, config, tools):
    with connect(config.settings, filled.name, "REPEATABLE_READ") as connection:
        snapshot = value(connection, str, "SELECT pg_export_snapshot()")
        run_sql(filled.server, filled.name, "DELETE FROM users")
        part = Dump(tools, filled.name, snapshot=snapshot, tables=["public.users"])
        for _ in part.chunks():
            continue
    assert {name: facts.rows for name, facts in part.report.tables.items()} == {
        "public.users": 1000
    }
    schema = Dump(tools, filled.name, schema_only=True)
    assert b"CREATE TABLE public.orders" in b"".join(schema.chunks())
    assert schema.report.tables == {}
    with pytest.raises(UsageError, match="no matching tables") as caught:
        list(Dump(tools, filled.name, tables=["no_such_table"]).chunks())
    assert "pg_dump --table" in caught.value.hint


def test_roles_are_dumped_with_passwords_only_where_we_may_read_them(filled, config, tools):
    role = f"CREATE ROLE {filled.owner}".encode()
    ours = dump_globals(tools, filled.name, passwords=False)
    assert role in ours
    assert b"SCRAM-SHA-256" not in ours
    theirs = programs.find(as_superuser(config, filled.server), filled.server.major)
    assert b"SCRAM-SHA-256" in dump_globals(theirs, filled.name, passwords=True)
    with pytest.raises(DatabaseError, match="permission denied"):
        dump_globals(tools, filled.name, passwords=True)
