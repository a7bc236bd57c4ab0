"""What may fail in a load of a script's dump, and nothing else."""

import pytest

from postgres_backup.postgresql.in_vain import InVain

MISSING = ("42P01", "3F000", "42883", "42703", "42704")


@pytest.mark.parametrize(
    ("statement", "states"),
    [
        (b"CREATE SCHEMA public;", "42P06"),
        (b'CREATE SCHEMA "public" AUTHORIZATION postgres;', "42P06"),
        (b"COMMENT ON SCHEMA public IS 'standard public schema';", "42501"),
        (b"CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;", "42710"),
        (b"COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';", "42501"),
        (b"CREATE PROCEDURAL LANGUAGE plpgsql;", "42710"),
        (b"CREATE OR REPLACE PROCEDURAL LANGUAGE plpgsql;", "42501"),
        (b"ALTER PROCEDURAL LANGUAGE plpgsql OWNER TO postgres;", "42501"),
        (b"CREATE SCHEMA public_2;", ""),
        (b"CREATE SCHEMA crm;", ""),
        (b"COMMENT ON SCHEMA crm IS 'public';", ""),
        (b"CREATE EXTENSION postgis;", ""),
        (b"CREATE EXTENSION plpgsql_check;", ""),
        (b"CREATE TABLE public.t (id int);", ""),
        (b"ALTER SCHEMA public OWNER TO postgres;", ""),
        (b"DROP TABLE public.t;", ""),
    ],
)
def test_after_the_beginning_only_what_every_database_has(statement, states):
    in_vain = InVain(cleaning=True)
    in_vain.begins_to_make()
    found = in_vain.states(statement)
    assert (states in found) if states else found == ()
    assert InVain(cleaning=False).states(statement) == ()


def test_at_the_beginning_what_is_dropped():
    in_vain = InVain(cleaning=True)
    assert in_vain.states(b"SET statement_timeout = 0;") == MISSING
    assert in_vain.states(b"SELECT pg_catalog.lo_unlink('7');") == MISSING
    assert in_vain.states(b"DROP EXTENSION plpgsql;") == (*MISSING, "42501")
    assert "42P06" in in_vain.states(b"CREATE SCHEMA public;")
    assert in_vain.states(b"DROP TABLE public.t;") == ()
