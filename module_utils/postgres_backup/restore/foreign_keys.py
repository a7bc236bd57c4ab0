"""The foreign keys between tables that are brought back and those that are not: in which order
tables come, what would go with deleted rows, and which keys were lost with a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import Finding, finding
from ..postgresql.connection import rows, value, values
from .table import Table
from .table_rows import Change


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """A table (the child) refers to another (the parent); both by their object ids.

    :param on_delete: ``a`` (no action), ``r`` (restrict), ``c`` (cascade), ``n`` (set null) or
        ``d`` (set default).
    :param definition: what follows ``ADD CONSTRAINT <name>``.
    """

    child: int
    parent: int
    child_name: str
    name: str
    on_delete: str
    child_columns: list[str]
    parent_columns: list[str]
    definition: str


_FOREIGN_KEYS = """
SELECT conrelid AS child, confrelid AS parent, conrelid::regclass::text AS child_name,
       conname AS name, confdeltype AS on_delete,
       (SELECT array_agg(attname ORDER BY n) FROM unnest(conkey) WITH ORDINALITY AS k(num, n)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = num) AS child_columns,
       (SELECT array_agg(attname ORDER BY n) FROM unnest(confkey) WITH ORDINALITY AS k(num, n)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = num) AS parent_columns,
       pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY(%s) AND conparentid = 0"""


def _to(connection: psycopg.Connection, parents: Sequence[int]) -> list[ForeignKey]:
    return rows(connection, ForeignKey, _FOREIGN_KEYS, (list(parents),))


def in_order(side: psycopg.Connection, tables: Sequence[Table]) -> list[Table]:
    """Parents before the children that refer to them; a circle stays in the order in which it was
    named. A table that was named twice comes once.
    """
    parents: dict[int, set[int]] = {table.side_oid: set() for table in tables}
    for key in _to(side, list(parents)):
        if key.child in parents and key.child != key.parent:
            parents[key.child].add(key.parent)
    ordered: list[Table] = []
    waiting = list({table.side_oid: table for table in tables}.values())
    while waiting:
        done = {table.side_oid for table in ordered}
        free = [table for table in waiting if parents[table.side_oid] <= done] or waiting[:1]
        ordered += free
        waiting = [table for table in waiting if table not in free]
    return ordered


_GOES_WITH = """
SELECT count(*) FROM {child} c JOIN {live} l ON {match}
WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {same})"""


def refuse_cascades(live: psycopg.Connection, changes: Sequence[Change]) -> None:
    """:raises DatabaseError: deleting rows that came after the backup would take or change rows of
    tables that nobody named.
    """
    by_oid = {
        change.table.live_oid: change for change in changes if change.table.live_oid is not None
    }
    for key in _to(live, list(by_oid)):
        change = by_oid[key.parent]
        table = change.table
        harmless = key.child in by_oid or key.on_delete in ("a", "r")
        if harmless or not change.deleted or not table.key:
            continue
        match = sql.SQL(" AND ").join(
            sql.SQL("c.{} = l.{}").format(sql.Identifier(child), sql.Identifier(parent))
            for child, parent in zip(key.child_columns, key.parent_columns, strict=True)
        )
        hit = value(
            live,
            int,
            sql.SQL(_GOES_WITH).format(
                child=sql.SQL(key.child_name),
                live=table.identifier,
                match=match,
                staging=table.staging,
                same=table.same_key(),
            ),
        )
        if hit:
            raise DatabaseError(
                f"{hit} rows of {key.child_name} belong to rows of {table.label} "
                "that came after the backup, and would go with them (ON DELETE)",
                f"Name that table too: tables=...,{key.child_name}; "
                "or restore the whole database. Nothing was changed",
            )


def lost_with(
    side: psycopg.Connection, live: psycopg.Connection, tables: Sequence[Table]
) -> list[Finding]:
    """Foreign keys that pointed at a table which was gone: they went with it, and belong to tables
    that nobody named.
    """
    gone = {table.side_oid: table for table in tables if table.live_oid is None}
    findings = []
    for key in _to(side, list(gone)):
        there = values(
            live,
            int,
            "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)",
            (key.name, key.child_name),
        )
        if not there:
            name = sql.Identifier(key.name).as_string(live)
            findings.append(
                finding(
                    "FOREIGN_KEY_MISSING",
                    f"{gone[key.parent].label} was gone and its foreign key with it: "
                    f"ALTER TABLE {key.child_name} ADD CONSTRAINT {name} {key.definition};",
                )
            )
    return findings
