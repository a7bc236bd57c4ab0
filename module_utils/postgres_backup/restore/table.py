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
    :param key: the columns that tell its rows apart; empty where none do.
    :param staging: the name of its staging table.
    """

    schema: str
    name: str
    side_oid: int
    live_oid: int | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    staging: sql.Identifier

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> list[str]:
        """The columns that hold data of their own."""
        return [column.name for column in self.columns if not column.generated]

    def same_key(self) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("s.{0} = l.{0}").format(sql.Identifier(column)) for column in self.key
        )


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
# a primary key, or else a unique index that can stand for one
_KEY = """
SELECT array_agg(a.attname ORDER BY k.n) AS key
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1"""


def look(
    side: psycopg.Connection, live: psycopg.Connection, backup: Backup, number: int, wanted: str
) -> Table:
    """The table of that name.

    :param number: which of the chosen ones it is; its staging table is called after it.
    :raises UsageError: not a table of the backup, or of other columns now.
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
    if now is not None:
        differ = _described(columns) ^ _described(rows(live, Column, _COLUMNS, (now.oid,)))
        if differ:
            names = ", ".join(sorted({name for name, *_ in differ}))
            raise UsageError(
                f"{wanted} has other columns now than in {backup.name}: {names}",
                "Restore the whole database, look at the rows in the database it is kept beside, "
                "and copy what you need by hand",
            )
        key = next(iter(values(live, list, _KEY, (now.oid,))), [])
    return Table(
        before.schema,
        before.name,
        before.oid,
        now.oid if now else None,
        tuple(columns),
        tuple(key),
        sql.Identifier(f"postgres_backup_stage_{number}"),
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
