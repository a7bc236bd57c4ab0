"""One table that is brought back alone: where it is in the backup and in the live database, its
columns, and the key that tells its rows apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..catalog.backups import Backup
from ..errors import UsageError
from ..postgresql.connection import row, rows, values
from ..text import nearest


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    :param generated: it holds no data of its own.
    :param always: an identity that only an INSERT may override.
    """

    name: str
    type: str
    generated: bool
    always: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A chosen table, as it is in the backup and, where it still exists, in the live database.

    :param live_oid: None where it is gone.
    :param partitioned: in the backup; ``live_partitioned``: in the live database.
    :param key: the columns that tell its rows apart; empty where none do.
    :param fixed: the columns that are never updated, because a unique index, and so a foreign key,
        may refer to them: a row in which one differs is deleted and inserted anew.
    :param relations: in the live database, itself and the partitions below it.
    :param ancestors: the partitioned tables that it is a partition of.
    :param staging: the name of its staging table; ``doomed``: of the one with the rows that go.
    """

    schema: str
    name: str
    side_oid: int
    live_oid: int | None
    partitioned: bool
    live_partitioned: bool
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    fixed: tuple[str, ...]
    relations: tuple[int, ...]
    ancestors: tuple[int, ...]
    staging: sql.Identifier
    doomed: sql.Identifier

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def side(self) -> sql.Composed:
        """What to read it from in the side database, without tables that inherit from it."""
        return only(self.identifier, self.partitioned)

    @property
    def live(self) -> sql.Composed:
        """The same in the live database, to be read, updated, or deleted from."""
        return only(self.identifier, self.live_partitioned)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> list[str]:
        """The columns that hold data of their own."""
        return [column.name for column in self.columns if not column.generated]

    @property
    def changeable(self) -> list[str]:
        """The columns that an update may set."""
        return [name for name in self.stored if name not in self.fixed]

    def same_key(self) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("s.{0} = l.{0}").format(sql.Identifier(column)) for column in self.key
        )


def only(name: sql.Composable, partitioned: bool) -> sql.Composed:
    """A table without those that inherit from it (partitions are the table itself)."""
    return sql.SQL("{}" if partitioned else "ONLY {}").format(name)


@dataclasses.dataclass(frozen=True)
class _Found:
    oid: int
    schema: str
    name: str
    kind: str


_TABLE = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"""
_COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
       attgenerated <> '' AS generated, attidentity = 'a' AS always
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_BELOW = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_partition_tree(%s) t JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY t.level, c.oid"""
_ABOVE = "SELECT relid::oid FROM pg_partition_ancestors(%s) WHERE relid <> %s"
# a primary key, or else a unique index that can stand for one
_KEY = """
SELECT array_agg(a.attname ORDER BY k.n) AS key
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1"""


# by an expression or a condition, any column may count
_UNIQUE = """
SELECT DISTINCT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
WHERE i.indrelid = ANY(%s) AND (i.indisunique OR i.indisexclusion) AND a.attnum > 0
  AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR a.attnum = ANY(i.indkey::int2[]))"""
_BOUND = """
SELECT format('CREATE TABLE %%s PARTITION OF %%s %%s;', c.oid::regclass, inhparent::regclass,
              pg_get_expr(relpartbound, c.oid))
FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid WHERE c.oid = %s AND relispartition"""
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "c": "a type",
    "i": "an index",
    "I": "an index",
}


def look(
    side: psycopg.Connection, live: psycopg.Connection, backup: Backup, number: int, wanted: str
) -> Table:
    """The table of that name.

    :param number: which of the chosen ones it is; its staging table is called after it.
    :raises UsageError: not a table of the backup, no table any more, or of other columns now.
    """
    before = _find(side, wanted)
    if before is None or before.kind not in ("r", "p"):
        manifest = backup.manifest
        near = nearest(wanted, list(manifest["tables"]) if manifest else [])
        raise UsageError(
            f"There is no table {wanted} in {backup.name}",
            f"The nearest: {', '.join(near)}" if near else "",
        )
    columns = rows(side, Column, _COLUMNS, (before.oid,))
    now = _find(live, sql.Identifier(before.schema, before.name).as_string(live))
    key: list[str] = []
    unique: set[str] = set()
    relations: list[int] = []
    ancestors: list[int] = []
    if now is None:
        _require_whole(side, wanted, before)
    else:
        _require_same(live, backup, wanted, now, columns)
        partitions = rows(live, _Found, _BELOW, (now.oid,))
        _require_local(wanted, partitions)
        relations = [now.oid, *(found.oid for found in partitions if found.oid != now.oid)]
        ancestors = values(live, int, _ABOVE, (now.oid, now.oid))
        key = next(iter(values(live, list, _KEY, (now.oid,))), [])
        unique = set(values(live, str, _UNIQUE, (relations,)))
    return Table(
        before.schema,
        before.name,
        before.oid,
        now.oid if now else None,
        before.kind == "p",
        now is not None and now.kind == "p",
        tuple(columns),
        tuple(key),
        tuple(
            column.name
            for column in columns
            if not column.generated
            and (column.name in unique or column.name in key or column.always)
        ),
        tuple(relations),
        tuple(ancestors),
        sql.Identifier(f"postgres_backup_stage_{number}"),
        sql.Identifier(f"postgres_backup_doomed_{number}"),
    )


def _require_same(
    live: psycopg.Connection, backup: Backup, wanted: str, now: _Found, columns: Sequence[Column]
) -> None:
    """:raises UsageError: it is no table any more, or has other columns."""
    if now.kind not in ("r", "p"):
        raise UsageError(
            f"{wanted} is {_KINDS.get(now.kind, 'no table')} now, in {backup.name} it was a table",
            "Only tables are brought back, and rows are not written through anything else: "
            "rename it, and the table is made anew beside it; or restore the whole database",
        )
    differ = _described(columns) ^ _described(rows(live, Column, _COLUMNS, (now.oid,)))
    if differ:
        names = ", ".join(sorted({name for name, *_ in differ}))
        raise UsageError(
            f"{wanted} has other columns now than in {backup.name}: {names}",
            "Restore the whole database, look at the rows in the database it is kept beside, "
            "and copy what you need by hand",
        )


def _require_whole(side: psycopg.Connection, wanted: str, before: _Found) -> None:
    """:raises UsageError: it is gone, and was a partition: only with its table it is made anew."""
    for statement in values(side, str, _BOUND, (before.oid,)):
        raise UsageError(
            f"{wanted} is gone, and was a partition",
            f"Make it again, then type the same: {statement} "
            "(Is the table that it belongs to gone too? Then name that one)",
        )


def _require_local(wanted: str, partitions: Sequence[_Found]) -> None:
    """:raises UsageError: some of its rows lie elsewhere."""
    foreign = [found.name for found in partitions if found.kind not in ("r", "p")]
    if foreign:
        raise UsageError(
            f"{wanted} has partitions that are foreign tables: {', '.join(foreign)}",
            "Name the other partitions one by one: what lies elsewhere is not brought back",
        )


def _described(columns: Sequence[Column]) -> set[tuple[str, str, bool]]:
    return {(column.name, column.type, column.generated) for column in columns}


def _find(connection: psycopg.Connection, wanted: str) -> _Found | None:
    try:
        with connection.transaction():
            return row(connection, _Found, _TABLE, (wanted,))
    except (psycopg.errors.SyntaxError, psycopg.errors.InvalidName):
        raise UsageError(
            f"{wanted} is not the name of a table",
            'Write it as in SQL: users, public.orders, "My table"',
        ) from None
