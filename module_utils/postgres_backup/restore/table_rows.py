"""The rows of one table that is brought back alone: how they are staged, compared, written.

They go from the side database into a staging table of the live one, a temporary table that the
transaction takes with it. Both databases write values alike meanwhile (:data:`WRITTEN_ALIKE`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import value
from .table import Table

#: how both databases write values, so that they are compared and copied alike
WRITTEN_ALIKE = """
SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3;
SET bytea_output = 'hex'; SET row_security = off"""


class TableResult(TypedDict):
    """What became of a table; ``created``: it was gone."""

    table: str
    rows: int
    inserted: int
    updated: int
    deleted: int
    created: bool


@dataclasses.dataclass(frozen=True)
class Change:
    """What makes a live table equal to the backup's.

    :param rows: in the backup.
    """

    table: Table
    rows: int
    inserted: int
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted

    def describe(self) -> TableResult:
        return {
            "table": self.table.label,
            "rows": self.rows,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "created": self.table.live_oid is None,
        }


def change_of(side: psycopg.Connection, live: psycopg.Connection, table: Table) -> Change:
    """Stage a table's rows, and find out in which the live one differs; one that is gone needs no
    staging, and differs in all.
    """
    if table.live_oid is None:
        count = value(side, int, sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
        return Change(table, count, inserted=count)
    live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            table.staging, _listed(table.stored), table.identifier
        )
    )
    copy(side, live, table, table.staging)
    live.execute(sql.SQL("ANALYZE {}").format(table.staging))
    return _compared(live, table)


def copy(
    side: psycopg.Connection, live: psycopg.Connection, table: Table, target: sql.Identifier
) -> None:
    """All rows of the backup into a table of the live database."""
    columns = _listed(table.stored)
    out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, table.identifier)
    into = (
        sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns)
        if table.stored
        else sql.SQL("COPY {} FROM STDIN").format(target)
    )
    with side.cursor().copy(out) as lines, live.cursor().copy(into) as sink:
        for line in lines:
            sink.write(line)


#: by the key; without one, whole rows are counted
_INSERTED = "{staging} s WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same})"
_DELETED = "{live} l WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {same})"
_UPDATED = "{staging} s JOIN {live} l ON {same} WHERE {differ}"
_MISSING_ROWS = """(SELECT ROW({columns})::text FROM {staging}
    EXCEPT ALL SELECT ROW({columns})::text FROM {live}) x"""
_LATER_ROWS = """(SELECT ROW({columns})::text FROM {live}
    EXCEPT ALL SELECT ROW({columns})::text FROM {staging}) x"""


def _compared(live: psycopg.Connection, table: Table) -> Change:
    def count(which: str) -> int:
        query = sql.SQL("SELECT count(*) FROM " + which).format(
            staging=table.staging,
            live=table.identifier,
            columns=_listed(table.stored),
            same=table.same_key(),
            differ=_differ(table),
        )
        return value(live, int, query)

    staged = count("{staging}")
    if table.key:
        return Change(table, staged, count(_INSERTED), count(_UPDATED), count(_DELETED))
    return Change(table, staged, count(_MISSING_ROWS), deleted=count(_LATER_ROWS))


def _listed(columns: Sequence[str], alias: str = "") -> sql.Composed:
    prefix = [alias] if alias else []
    return sql.SQL(", ").join(sql.Identifier(*prefix, column) for column in columns)


def _differ(table: Table) -> sql.Composed:
    """As text: not every type (json, xml, point) knows equality."""
    others = [name for name in table.stored if name not in table.key]
    return sql.SQL("ROW({})::text IS DISTINCT FROM ROW({})::text").format(
        _listed(others, "s"), _listed(others, "l")
    )


def delete_later(live: psycopg.Connection, change: Change) -> None:
    """Delete the rows that came after the backup; of a table without a key that lacks or has any,
    all: they are inserted anew.
    """
    table = change.table
    if change.deleted and table.key:
        live.execute(
            sql.SQL("DELETE FROM {} l WHERE NOT EXISTS (SELECT FROM {} s WHERE {})").format(
                table.identifier, table.staging, table.same_key()
            )
        )
    elif not table.key and (change.deleted or change.inserted):
        live.execute(sql.SQL("DELETE FROM {}").format(table.identifier))


def merge(live: psycopg.Connection, change: Change) -> None:
    """Set rows that differ back, and insert the missing ones, from the staging table."""
    table = change.table
    always = {column.name for column in table.columns if column.always}
    others = [name for name in table.stored if name not in table.key and name not in always]
    if change.updated and others:
        pairs = sql.SQL(", ").join(
            sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in others
        )
        live.execute(
            sql.SQL("UPDATE {} l SET {} FROM {} s WHERE {} AND {}").format(
                table.identifier, pairs, table.staging, table.same_key(), _differ(table)
            )
        )
    if change.inserted or (change.deleted and not table.key):
        absent: sql.Composable = sql.SQL("")
        if table.key:
            absent = sql.SQL("WHERE NOT EXISTS (SELECT FROM {} l WHERE {})").format(
                table.identifier, table.same_key()
            )
        live.execute(
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} s {}").format(
                table.identifier,
                _listed(table.stored),
                _listed(table.stored, "s"),
                table.staging,
                absent,
            )
        )


def require_equal(live: psycopg.Connection, table: Table) -> None:
    """:raises DatabaseError: something (a rule, a generated default) made other rows of ours."""
    left = _compared(live, table).total
    if left:
        raise DatabaseError(
            f"Failed to bring back {table.label}: {left} rows are not as in the backup after all",
            "Rules on the table? Nothing was changed",
        )
