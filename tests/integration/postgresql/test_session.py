"""Whatever a database, a role or a server says by default: the same questions and answers."""

from __future__ import annotations

import subprocess

import pytest

from postgres_backup.job import Job
from postgres_backup.postgresql import programs, session
from postgres_backup.postgresql.connection import connect, own_search_path, value
from postgres_backup.restore.tables import restore_tables
from tests.integration.restoring import as_superuser, run_sql
from tests.integration.round_trip import run_psql, there_and_back

#: what makes another answer of the same question, or none
ODD = {
    "statement_timeout": "300ms",
    "lock_timeout": "200ms",
    "idle_in_transaction_session_timeout": "500ms",
    "idle_session_timeout": "500ms",
    "exit_on_error": "on",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "xmlbinary": "hex",
    "xmloption": "document",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
    "backslash_quote": "off",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "transform_null_equals": "on",
    "timezone": "Asia/Almaty",
    "search_path": "decoy, pg_catalog",
    "client_encoding": "LATIN1",
    "client_min_messages": "error",
    "role": "pg_monitor",
}
#: catalogs and functions that lie, where somebody looks for them before pg_catalog
DECOYS = """
SET ROLE {owner};
CREATE SCHEMA decoy;
CREATE VIEW decoy.pg_class AS SELECT 1 AS nothing;
CREATE VIEW decoy.pg_settings AS SELECT 'x'::text AS name, 'y'::text AS setting;
CREATE FUNCTION decoy.set_config(text, text, boolean) RETURNS text LANGUAGE sql
    AS 'SELECT NULL::text'"""
FILL = r"""
CREATE TABLE t (i int PRIMARY KEY, d date, iv interval, f float8, b bytea, a text[], w text);
INSERT INTO t VALUES
    (1, '2026-02-01', '1 mon -2 days', 0.1::float8 + 0.2, '\x00ff', '{{a,NULL}}',
     E'\u0416\\'),
    (2, 'infinity', '1h', 'NaN', '\x5c2e', '{{}}', '\')"""
DAMAGE = "SET default_transaction_read_only TO off; UPDATE public.t SET f = 1"


@pytest.fixture
def odd(database, config):
    """A database whose owner, and which itself, have everything set otherwise."""
    names = {"name": database.name, "owner": database.owner}
    run_sql(database.server, database.name, DECOYS, FILL, **names)
    run_sql(database.server, "postgres", "GRANT pg_monitor TO {owner}", **names)
    newer = {"transaction_timeout": "700ms"} if database.server.major >= 17 else {}
    for setting, text in (ODD | newer).items():
        words = text if setting == "search_path" else f"'{text}'"
        of_both = [f"ALTER ROLE {{owner}} SET {setting} TO {words}"]
        of_both += (
            [f"ALTER DATABASE {{name}} SET {setting} TO {words}"] if setting != "role" else []
        )
        run_sql(database.server, "postgres", *of_both, **names)
    return database


def test_no_setting_makes_a_difference(odd, config):
    there_and_back(
        config.settings,
        odd.server,
        "SET default_transaction_read_only TO off; UPDATE public.t SET f = 1",
    )


def test_no_setting_makes_a_difference_in_place_or_to_single_tables(odd, config):
    settings = as_superuser(config, odd.server)
    replica = "ALTER DATABASE {name} SET session_replication_role TO replica"
    run_sql(odd.server, "postgres", replica, name=odd.name)
    with connect(settings, odd.name) as connection:
        assert value(connection, str, "SHOW session_replication_role") == "origin"
    there_and_back(settings, odd.server, DAMAGE, in_place=True)
    run_psql(odd.server, odd.name, DAMAGE)
    [table] = restore_tables(Job(settings), "latest", ["t"])["tables"]
    assert (table["updated"], table["inserted"], table["deleted"]) == (2, 0, 0)


@pytest.mark.every_major
def test_every_session_is_alike(odd, config):
    """Ours and those of PostgreSQL's programs; what is not said here stands in ``ODD`` in vain."""
    expected = {
        name.lower(): text.replace("ISO, MDY", "ISO, MDY") for name, text in session.COMMON.items()
    } | {"idle_session_timeout": "0", "escape_string_warning": "off"}
    if odd.server.major >= 17:
        expected["transaction_timeout"] = "0"
    names = sorted(expected)
    with connect(config.settings, odd.name) as connection:
        ours = {n: value(connection, str, "SELECT current_setting(%s)", (n,)) for n in names}
        assert ours == expected
        assert value(connection, str, "SELECT current_user::text") == odd.owner
        assert value(connection, str, "SHOW client_encoding") == "UTF8"
        assert value(connection, str, "SHOW search_path") == "public"
        own_search_path(connection)
        assert value(connection, str, "SHOW search_path") == "pg_catalog, decoy, pg_catalog, public"
    tools = programs.find(config.settings, odd.server.major)
    query = ", ".join(f"pg_catalog.current_setting('{n}')" for n in names)
    with tools.start(
        "psql", odd.name, "-XAtF;", "-c", f"SELECT {query}", stdout=subprocess.PIPE
    ) as process:
        theirs = process.stdout.read().decode().strip().split(";")
        process.check()
    assert dict(zip(names, theirs, strict=True)) == expected
