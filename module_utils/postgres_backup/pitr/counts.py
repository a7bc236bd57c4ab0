"""How many rows the tables of a recovered cluster have, beside the live ones."""

from __future__ import annotations

import dataclasses
import time
from typing import TypedDict

import psycopg
from psycopg import sql

from ..postgresql.connection import connect, values
from ..settings import Settings

#: seconds for all counting on one side: large tables are left out, and told
_PATIENCE = 60.0
#: tables that a person is shown
_SHOWN = 20
_TABLES = """
SELECT n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t(oast|emp)'
ORDER BY c.relpages, n.nspname, c.relname
"""


class TableRows(TypedDict):
    """Of one table; None: it is not there, or was not ``counted`` for want of time."""

    database: str
    table: str
    rows: int | None
    live_rows: int | None
    counted: bool


@dataclasses.dataclass
class _Counted:
    rows: dict[tuple[str, str], int]
    uncounted: set[tuple[str, str]]


def beside(side: Settings, live: Settings | None, only: str = "") -> list[TableRows]:
    """Every table of both, in the order of their names.

    :param side: how the recovered cluster is asked.
    :param live: how the live one is; None: it does not run.
    :param only: this database alone.
    :raises DatabaseError: the recovered one does not answer.
    """
    there = _count(side, only)
    here = _Counted({}, set())
    if live:
        here = _count(live, only)
    names = there.rows.keys() | there.uncounted | here.rows.keys() | here.uncounted
    return [
        {
            "database": database,
            "table": table,
            "rows": there.rows.get((database, table)),
            "live_rows": here.rows.get((database, table)),
            "counted": (database, table) not in there.uncounted | here.uncounted,
        }
        for database, table in sorted(names)
    ]


def _count(settings: Settings, only: str) -> _Counted:
    found = _Counted({}, set())
    ends = time.monotonic() + _PATIENCE
    with connect(settings, "postgres") as connection:
        databases = values(
            connection,
            str,
            "SELECT datname::text FROM pg_catalog.pg_database"
            " WHERE datallowconn AND NOT datistemplate ORDER BY 1",
        )
    for database in databases:
        if only and database != only:
            continue
        with connect(settings, database) as connection:
            for schema, name in connection.execute(_TABLES).fetchall():
                _count_one(connection, (database, f"{schema}.{name}"), schema, name, ends, found)
    return found


def _count_one(
    connection: psycopg.Connection,
    key: tuple[str, str],
    schema: str,
    name: str,
    ends: float,
    found: _Counted,
) -> None:
    left = int((ends - time.monotonic()) * 1000)
    if left <= 0:
        found.uncounted.add(key)
        return
    connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(left),))
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
    try:
        row = connection.execute(query).fetchone()
    except (psycopg.errors.QueryCanceled, psycopg.errors.UndefinedTable):  # too large; or gone
        found.uncounted.add(key)
        return
    found.rows[key] = row[0] if row else 0


def lines(
    rows: list[TableRows], live: bool, aside: str = "the live cluster does not run"
) -> list[str]:
    """What differs, and how much does not.

    :param live: whether the live cluster was asked; ``aside``: why not.
    """
    counted = [one for one in rows if one["counted"]]
    large = len(rows) - len(counted)
    told = []
    if not live:
        total = sum(one["rows"] or 0 for one in counted)
        told.append(f"{len(counted)} tables, {total} rows; {aside}")
    else:
        different = [one for one in counted if one["rows"] != one["live_rows"]]
        told += [
            f"{one['database']}: {one['table']}: {_said(one['rows'])}, live "
            f"{_said(one['live_rows'])}"
            for one in different[:_SHOWN]
        ]
        if len(different) > _SHOWN:
            told.append(f"and {len(different) - _SHOWN} more tables with other numbers of rows")
        told.append(f"{len(counted) - len(different)} tables have as many rows as the live ones")
    if large:
        told.append(f"{large} tables are too large to be counted in a minute")
    return told


def _said(rows: int | None) -> str:
    return "no such table" if rows is None else f"{rows} rows"
