"""Databases in every encoding that a server may store; servers whose own databases have none."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from postgres_backup.backup.database import create_backup
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.postgresql import programs
from postgres_backup.postgresql.connection import connect, value, values
from postgres_backup.postgresql.facts import database_facts
from postgres_backup.postgresql.pg_dump import Dump
from postgres_backup.postgresql.rewritten import rewritten_since
from postgres_backup.restore.tables import restore_tables
from tests.conftest import Database
from tests.integration.restoring import run_sql
from tests.integration.round_trip import run_psql, there_and_back
from tests.services.brief import BriefPostgresServer

RAW = "TEMPLATE template0 ENCODING '{}' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc"
#: rows and, where there are any, names with letters of that encoding
FILL = {
    "SQL_ASCII": b'CREATE TABLE "caf\xe9 \xd0\x96" (i int);'
    b"INSERT INTO \"caf\xe9 \xd0\x96\" VALUES (1); INSERT INTO t VALUES (2, '\xe9 \xd0\x96 \xff')",
    "EUC_TW": b'CREATE TABLE "\xa4\xa4\xa4\xe5" (i int); INSERT INTO "\xa4\xa4\xa4\xe5" VALUES (1);'
    b"INSERT INTO t VALUES (2, '\xa4\xa4\xa4\xe5')",
    "LATIN1": b"INSERT INTO t VALUES (2, '\xe9')",
    "MULE_INTERNAL": b"CREATE TABLE \"caf\x81\xe9\" (i int); INSERT INTO t VALUES (2, '\x81\xe9')",
}
EMPTY_ALL = """
DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r'
        AND relnamespace = 'public'::regnamespace
    LOOP EXECUTE format('TRUNCATE %I', t.relname); END LOOP;
END $$"""


@pytest.mark.parametrize("encoding", sorted(FILL))
def test_a_database_in_any_encoding_comes_back(encoding, new_database, new_config, s3, bucket):
    made = new_database(f"caf\u00e9_{encoding}", options=RAW.format(encoding))
    server, name = made.server, made.name
    # what is said of it in another database is in that one's letters, and no text in its own
    comment, setting = (
        "COMMENT ON DATABASE {name} IS '\u0416'",
        "ALTER DATABASE {name} SET search_path TO public, '\u0416'",
    )
    run_sql(server, "postgres", comment, setting, name=name)
    table = "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'abc')"
    run_psql(
        server, name, f'SET ROLE "{made.owner}"; {table};\n'.encode() + FILL[encoding], encoding
    )
    settings = new_config(made, s3, bucket).settings
    there_and_back(settings, server, "INSERT INTO t VALUES (3)", in_place=True)
    there_and_back(settings, server, "UPDATE t SET a = 'lost'")
    with connect(settings, "postgres") as connection:
        facts = database_facts(connection, name)
        assert (facts.comment, facts.settings[0].setting) == (
            "\u0416",
            'search_path=public, "\u0416"',
        )
    dump = Dump(programs.find(settings, server.major), name, encoding=encoding)
    for _ in dump.chunks():
        continue
    with connect(settings, name, "REPEATABLE_READ") as snapshot:
        assert value(snapshot, int, "SELECT count(*) FROM pg_class") > 0
        run_psql(server, name, EMPTY_ALL)
        assert rewritten_since(snapshot, settings, name) == dump.report.tables.keys()


def test_bytes_that_are_no_letters_go_there_and_back(new_database, new_config, s3, bucket):
    made = new_database(options=RAW.format("SQL_ASCII"))
    odd = "caf\udce9 \u0416\udcff"
    with connect(new_config(made, s3, bucket).settings, made.name) as connection:
        name = sql.Identifier(odd)
        connection.execute(sql.SQL("CREATE TABLE {0} (i int, {0} text)").format(name))
        connection.execute(sql.SQL("INSERT INTO {} VALUES (1, %s)").format(name), (odd,))
        assert values(connection, str, sql.SQL("SELECT {0} FROM {0}").format(name)) == [odd]
        named = "SELECT relname FROM pg_class WHERE relname = %s"
        assert value(connection, str, named, (odd,)) == odd
        assert value(connection, list, "SELECT ARRAY[%s::text]", (odd,)) == [odd]
        with pytest.raises(psycopg.errors.UndefinedTable) as caught:
            connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(odd + "x")))
        assert caught.value.diag.message_primary == (
            'relation "caf\\xe9 \u0416\\xffx" does not exist'
        )


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory):
    """Set up without a locale: its own databases are in SQL_ASCII."""
    server = BriefPostgresServer(
        tmp_path_factory.mktemp("bare"),
        16,
        encoding="SQL_ASCII",
        locale="C",
    )
    server.start()
    yield server
    server.remove()


def test_a_server_without_a_locale_serves_all_the_same(bare_server, new_config, s3, bucket):
    bare_server.execute("CREATE DATABASE crm TEMPLATE template0 ENCODING 'UTF8'")
    bare_server.execute("COMMENT ON DATABASE crm IS 'caf\u00e9'", "crm")
    run_sql(bare_server, "crm", "CREATE TABLE t (i int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    made = Database(bare_server, "crm", bare_server.superuser, bare_server.password, "")
    settings = new_config(made, s3, bucket).settings
    there_and_back(settings, bare_server, "DELETE FROM t")
    bare_server.execute("DELETE FROM t", "crm")
    assert restore_tables(Job(settings), "latest", ["t"])["tables"][0]["inserted"] == 1
    create_backup(Job(settings))
    assert status.status(settings)["findings"] == []
    with connect(settings, "postgres") as connection:
        assert database_facts(connection, "crm").comment == "caf\u00e9"
