"""What is known of a server and of its databases, held against what the server says itself."""

from __future__ import annotations

import os

import pytest

from postgres_backup.postgresql import facts
from postgres_backup.postgresql.connection import connect, connect_maintenance
from tests.integration.restoring import as_superuser, run_sql


@pytest.mark.every_major
def test_what_a_server_is_and_what_we_may_there(database, config):
    server = database.server
    ours = facts.server_facts(config.settings)
    assert (ours.major, ours.version_number // 10000) == (server.major, server.major)
    assert ours.version.startswith(f"{server.major}.")
    assert (ours.superuser, ours.createdb, ours.createrole) == (False, True, False)
    theirs = facts.server_facts(as_superuser(config, server))
    assert (theirs.superuser, theirs.createdb, theirs.createrole) == (True, True, True)
    [(directory, identifier)] = server.execute(
        "SELECT current_setting('data_directory'), system_identifier::text FROM pg_control_system()"
    )
    assert (ours.data_directory, theirs.data_directory) == ("", directory)
    assert ours.system_identifier == theirs.system_identifier == identifier


@pytest.mark.every_major
def test_what_a_database_is_beside_its_content(database, config):
    server, name, owner = database.server, database.name, database.owner
    with connect_maintenance(config.settings, name) as connection:
        plain = facts.database_facts(connection, name)
        assert facts.database_facts(connection, "no_such_database") is None
    assert plain is not None
    assert (plain.owner, plain.grants, plain.settings, plain.comment) == (owner, None, (), None)
    assert (plain.encoding, plain.tablespace, plain.roles) == ("UTF8", "pg_default", (owner,))
    assert (plain.database_bytes or 0) > 1_000_000
    run_sql(
        server,
        name,
        "ALTER DATABASE {name} SET work_mem TO '7MB'",
        "ALTER ROLE {owner} IN DATABASE {name} SET search_path TO a, b",
        "ALTER DATABASE {name} CONNECTION LIMIT 5",
        "COMMENT ON DATABASE {name} IS 'ours'",
        "GRANT CREATE ON DATABASE {name} TO pg_monitor WITH GRANT OPTION",
        name=name,
        owner=owner,
    )
    with connect_maintenance(config.settings, name) as connection:
        dressed = facts.database_facts(connection, name)
    assert dressed is not None
    assert dressed.settings == (
        facts.DatabaseSetting("", "work_mem=7MB"),
        facts.DatabaseSetting(owner, "search_path=a, b"),
    )
    assert (dressed.connection_limit, dressed.comment) == (5, "ours")
    assert facts.Grant("pg_monitor", "CREATE", True, owner) in (dressed.grants or ())


def test_tables_and_extensions_are_counted(database, config):
    run_sql(
        database.server,
        database.name,
        "CREATE TABLE t (id int)",
        "CREATE TABLE p (id int) PARTITION BY RANGE (id)",
        "CREATE VIEW v AS SELECT 1",
    )
    both = config.change(DB_NAME=None, DB_NAMES=f"{database.name} no_such_database")
    assert facts.table_counts(both) == {database.name: 2, "no_such_database": None}
    with connect(config.settings, database.name) as connection:
        assert [(e.name, e.schema) for e in facts.extensions(connection)] == [
            ("plpgsql", "pg_catalog")
        ]


def test_how_much_room_there_is(database, config):
    """The file system says it, or else a superuser may ask; an ordinary user cannot."""
    server = database.server
    settings = as_superuser(config, server)
    theirs = facts.server_facts(settings)
    disk = os.statvfs(theirs.data_directory)
    room = disk.f_bavail * disk.f_frsize
    with connect_maintenance(settings, database.name) as connection:
        near = facts.free_bytes(settings, connection, theirs)
        elsewhere = config.change(DB_HOST="ip6-localhost")
        far = facts.free_bytes(elsewhere, connection, theirs)
    assert near == pytest.approx(room, rel=0.05)
    assert far == pytest.approx(room, rel=0.05)
    with connect_maintenance(settings, database.name) as connection:
        clerk = facts.ServerFacts("16.1", 160001, 16, False, True, False, "", "")
        assert facts.free_bytes(settings, connection, clerk) is None
