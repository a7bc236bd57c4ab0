"""The names of a database's tables, as pg_dump writes them."""

from __future__ import annotations

import psycopg

from .connection import values

#: those whose letters Python or PostgreSQL cannot convert: a name would read otherwise than in a
#: dump
_UNCONVERTED = ("SQL_ASCII", "EUC_TW", "MULE_INTERNAL")
_NAMES = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"""


def all_tables(connection: psycopg.Connection) -> list[str] | None:
    """All of them, partitioned ones and those of extensions too; None where their letters do not
    convert.
    """
    if connection.info.parameter_status("server_encoding") in _UNCONVERTED:
        return None
    return values(connection, str, _NAMES)
