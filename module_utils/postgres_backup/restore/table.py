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
from ..postgresql.connection import rows, values
from .columns import Column, added_since, columns_of
from .table_names import KINDS, TABLES, Relation, find, named


@dataclasses.dataclass(frozen=True)
class Table:
    """A chosen table, as it is in the backup and, where it still exists, in the live database.

    :param live_oid: None where it is gone.
    :param partitioned: in the backup; ``live_partitioned``: in the live database.
    :param key: the columns that tell its rows apart; empty where none do.
    :param live_columns: as they are now; ``columns``: in the backup.
    :param added: live columns that the backup does not know.
    :param fixed: the columns that are never updated, because a unique index, and so a foreign key,
        may refer to them: a row in which one differs is deleted and inserted anew.
    :param relations: in the live database, itself and the partitions below it.
    :param ancestors: the partitioned tables that it is a partition of.
    :param staging: the name of its staging table; ``doomed``: of the one with the rows that go,
        ``carried``: of the one with what those of them that come again have in added columns;
        ``before`` and ``after``: of those with what was changed.
    """

    schema: str
    name: str
    side_oid: int
    live_oid: int | None
    partitioned: bool
    live_partitioned: bool
    columns: tuple[Column, ...]
    live_columns: tuple[Column, ...]
    added: tuple[str, ...]
    key: tuple[str, ...]
    fixed: tuple[str, ...]
    relations: tuple[int, ...]
    ancestors: tuple[int, ...]
    staging: sql.Identifier
    doomed: sql.Identifier
    carried: sql.Identifier
    before: sql.Identifier
    after: sql.Identifier

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
    def held(self) -> list[str]:
        """The columns that hold data of their own, with those that the backup does not know."""
        return [*self.stored, *self.added]

    @property
    def carries(self) -> bool:
        """Rows that are deleted and inserted anew hold something that the backup does not know."""
        return bool(self.added and self.key)

    @property
    def changeable(self) -> list[str]:
        """The columns that an update may set."""
        return [name for name in self.stored if name not in self.fixed]

    def same_key(self, other: str = "l") -> sql.Composed:
        """That a row ``s`` has the key of another."""
        return sql.SQL(" AND ").join(
            sql.SQL("s.{} = {}").format(sql.Identifier(column), sql.Identifier(other, column))
            for column in self.key
        )


def only(name: sql.Composable, partitioned: bool) -> sql.Composed:
    """A table without those that inherit from it (partitions are the table itself)."""
    return sql.SQL("{}" if partitioned else "ONLY {}").format(name)


_BELOW = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_partition_tree(%s) t JOIN pg_class c ON c.oid = t.relid
JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY t.level, c.oid"""
_ABOVE = "SELECT relid::oid FROM pg_partition_ancestors(%s) WHERE relid <> %s"
# a primary key, or else a unique index that can stand for one; of columns that the backup knows
_KEY = """
SELECT array_agg(a.attname ORDER BY k.n) AS key
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %(table)s AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull AND a.attname = ANY(%(columns)s))
ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1"""


# by an expression or a condition, any column may count
_UNIQUE = """
SELECT DISTINCT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
WHERE i.indrelid = ANY(%s) AND (i.indisunique OR i.indisexclusion) AND a.attnum > 0
  AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR a.attnum = ANY(i.indkey::int2[]))"""


def look(
    side: psycopg.Connection, live: psycopg.Connection, backup: Backup, number: int, wanted: str
) -> Table:
    """The table of that name.

    :param number: which of the chosen ones it is; its staging table is called after it.
    :raises UsageError: not a table of the backup, no table any more, or of columns that cannot take
        the backup's.
    """
    before = named(side, wanted, f"{backup.name}")
    columns = columns_of(side, before.oid)
    now = find(live, before.identifier.as_string(live))
    added: tuple[str, ...] = ()
    if now is not None:
        _require_table(backup, wanted, now)
        added = added_since(
            columns, columns_of(live, now.oid), now.identifier, wanted, f"{backup.name}"
        )
    return look_at(live, before, now, columns, added, number)


def look_at(
    live: psycopg.Connection,
    before: Relation,
    now: Relation | None,
    columns: Sequence[Column],
    added: tuple[str, ...],
    number: int,
) -> Table:
    """A table of these columns.

    :param before: as it shall be; ``now``: as it is, None where it is gone.
    :raises UsageError: some of its rows lie elsewhere.
    """
    stored = [column.name for column in columns if not column.generated]
    live_columns: list[Column] = []
    key: list[str] = []
    unique: set[str] = set()
    relations: list[int] = []
    ancestors: list[int] = []
    if now is not None:
        live_columns = columns_of(live, now.oid)
        partitions = rows(live, Relation, _BELOW, (now.oid,))
        _require_local(before.name, partitions)
        relations = [now.oid, *(found.oid for found in partitions if found.oid != now.oid)]
        ancestors = values(live, int, _ABOVE, (now.oid, now.oid))
        key = next(iter(values(live, list, _KEY, {"table": now.oid, "columns": stored})), [])
        unique = set(values(live, str, _UNIQUE, (relations,)))
    always = {column.name for column in [*columns, *live_columns] if column.always}
    fixed = {*unique, *key, *always}
    return Table(
        before.schema,
        before.name,
        before.oid,
        now.oid if now else None,
        before.kind == "p",
        now is not None and now.kind == "p",
        tuple(columns),
        tuple(live_columns),
        added,
        tuple(key),
        tuple(name for name in stored if name in fixed),
        tuple(relations),
        tuple(ancestors),
        *(
            sql.Identifier(f"postgres_backup_{what}_{number}")
            for what in ("stage", "doomed", "carried", "before", "after")
        ),
    )


def _require_table(backup: Backup, wanted: str, now: Relation) -> None:
    """:raises UsageError: it is no table any more."""
    if now.kind not in TABLES:
        raise UsageError(
            f"{wanted} is {KINDS.get(now.kind, 'no table')} now, in {backup.name} it was a table",
            "Only tables are brought back, and rows are not written through anything else: "
            "rename it, and the table is made anew beside it; or restore the whole database",
        )


def _require_local(wanted: str, partitions: Sequence[Relation]) -> None:
    """:raises UsageError: some of its rows lie elsewhere."""
    foreign = [found.name for found in partitions if found.kind not in TABLES]
    if foreign:
        raise UsageError(
            f"{wanted} has partitions that are foreign tables: {', '.join(foreign)}",
            "Name the other partitions one by one: what lies elsewhere is not brought back",
        )
