"""The foreign keys around tables that are brought back: which there are, from which table to which,
and in which order tables come.

A key may be declared on a partitioned table while a partition is brought back, or the other way
round; so a key's end is seen as a set of rows, some of which belong to chosen tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..postgresql.connection import rows
from .table import Table, only


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """A table (the child) refers to another (the parent); both by their object ids.

    :param on_delete: ``a`` (no action), ``r`` (restrict), ``c`` (cascade), ``n`` (set null) or
        ``d`` (set default).
    :param operators: how a parent's column is compared with the child's.
    :param definition: what follows ``ADD CONSTRAINT <name>``.
    :param ours: we may lock and read the child; ``removable``: and take the key off, and put it
        back as it was.
    """

    oid: int
    child: int
    parent: int
    child_name: str
    parent_name: str
    child_kind: str
    parent_kind: str
    name: str
    on_delete: str
    child_columns: list[str]
    parent_columns: list[str]
    operators: list[str]
    definition: str
    validated: bool
    ours: bool
    parent_readable: bool
    removable: bool

    @property
    def acts(self) -> bool:
        """A delete of a parent's row changes or deletes the child's."""
        return self.on_delete not in ("a", "r")

    def match(self, alias: str) -> sql.Composed:
        """That a row ``c`` of the child refers to a row of the parent, called ``alias``."""
        pairs = zip(self.parent_columns, self.operators, self.child_columns, strict=True)
        return sql.SQL(" AND ").join(
            sql.SQL("{} {} c.{}").format(
                sql.Identifier(alias, parent), sql.SQL(operator), sql.Identifier(child)
            )
            for parent, operator, child in pairs
        )

    def child_rows(self) -> sql.Composed:
        """What to read the child from."""
        return only(sql.SQL(self.child_name), self.child_kind == "p")

    def parent_rows(self) -> sql.Composed:
        return only(sql.SQL(self.parent_name), self.parent_kind == "p")


# Left out: what PostgreSQL 18 calls NOT ENFORCED, since it does nothing, and its keys over a
# PERIOD, which know no action and are not compared by equality: PostgreSQL itself keeps them.
_FOREIGN_KEYS = """
SELECT k.oid, conrelid AS child, confrelid AS parent, conrelid::regclass::text AS child_name,
       confrelid::regclass::text AS parent_name, child.relkind AS child_kind,
       parent.relkind AS parent_kind, conname AS name, confdeltype AS on_delete,
       (SELECT array_agg(attname::text ORDER BY n) FROM unnest(conkey) WITH ORDINALITY AS c(num, n)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = num) AS child_columns,
       (SELECT array_agg(attname::text ORDER BY n) FROM unnest(confkey) WITH ORDINALITY AS c(num, n)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = num) AS parent_columns,
       (SELECT array_agg(format('OPERATOR(%%I.%%s)', nspname, oprname) ORDER BY n)
        FROM unnest(conpfeqop) WITH ORDINALITY AS c(num, n) JOIN pg_operator o ON o.oid = num
        JOIN pg_namespace s ON s.oid = oprnamespace) AS operators,
       pg_get_constraintdef(k.oid) AS definition, convalidated AS validated,
       has_table_privilege(conrelid, 'UPDATE, DELETE, TRUNCATE')
           AND has_table_privilege(conrelid, 'SELECT') AS ours,
       has_table_privilege(confrelid, 'SELECT') AS parent_readable,
       pg_has_role(child.relowner, 'USAGE') AND has_table_privilege(confrelid, 'REFERENCES')
           AND NOT EXISTS (
               WITH RECURSIVE family AS (
                   SELECT k.oid UNION ALL
                   SELECT below.oid FROM pg_constraint below JOIN family
                   ON below.conparentid = family.oid)
               SELECT FROM pg_trigger JOIN family ON tgconstraint = family.oid
               WHERE tgenabled <> 'O') AS removable
FROM pg_constraint k JOIN pg_class child ON child.oid = conrelid
JOIN pg_class parent ON parent.oid = confrelid
WHERE contype = 'f' AND conparentid = 0 AND (confrelid = ANY(%(oids)s) OR conrelid = ANY(%(oids)s))
  AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
  AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::bool, false)
ORDER BY k.oid"""


def keys_of(connection: psycopg.Connection, relations: Sequence[int]) -> list[ForeignKey]:
    """The keys from and to these relations."""
    return rows(connection, ForeignKey, _FOREIGN_KEYS, {"oids": list(relations)})


def keys_around(live: psycopg.Connection, tables: Sequence[Table]) -> list[ForeignKey]:
    """The keys in the live database that rows of these tables are bound by."""
    return keys_of(live, [oid for table in tables for oid in (*table.relations, *table.ancestors)])


def holds(table: Table, relation: int) -> bool:
    """Whether rows of a live relation are rows of this table, all or some of them."""
    return relation in table.relations or relation in table.ancestors


def in_order(tables: Sequence[Table], keys: Sequence[ForeignKey]) -> list[Table]:
    """Parents before the children that refer to them; a circle stays in the order in which it was
    named. What was named twice, or is a partition of another, comes once.
    """
    waiting = list({table.side_oid: table for table in tables}.values())
    waiting = [
        table
        for table in waiting
        if not any(other.live_oid in table.ancestors for other in waiting if other.live_oid)
    ]
    parents = {
        table.side_oid: {
            other.side_oid
            for key in keys
            for other in waiting
            if holds(table, key.child) and holds(other, key.parent) and other != table
        }
        for table in waiting
    }
    ordered: list[Table] = []
    while waiting:
        done = {table.side_oid for table in ordered}
        free = [table for table in waiting if parents[table.side_oid] <= done] or waiting[:1]
        ordered += free
        waiting = [table for table in waiting if table not in free]
    return ordered
