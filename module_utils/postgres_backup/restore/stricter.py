"""What a live table demands of its rows and the backup's did not: tried on a table that is thrown
away, before anything is written, so that what cannot come back is said beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import first_line, rows
from . import table_rows
from .partitions import taken_by
from .table import Table
from .table_names import Relation, find
from .table_rows import listed


@dataclasses.dataclass(frozen=True)
class _Demand:
    """A constraint or a unique index.

    :param kind: ``n`` for NOT NULL, ``i`` for an index that is no constraint, else as
        ``pg_constraint.contype`` has it.
    :param definition: without its name and its table; of a NOT NULL the column.
    """

    kind: str
    name: str
    definition: str

    @property
    def said(self) -> str:
        if self.kind == "n":
            return f"{self.definition} is NOT NULL"
        return f"{self.name} is a unique index" if self.kind == "i" else self._constraint

    @property
    def _constraint(self) -> str:
        return f"the constraint {self.name}, {self.definition}"

    def off(self, table: str) -> str:
        """The statement that takes it off."""
        if self.kind == "n":
            return f"ALTER TABLE {table} ALTER COLUMN {_quoted(self.definition)} DROP NOT NULL;"
        if self.kind == "i":
            return f"DROP INDEX {table.rpartition('.')[0]}.{_quoted(self.name)};"
        return f"ALTER TABLE {table} DROP CONSTRAINT {_quoted(self.name)};"

    def is_in(self, others: Sequence[_Demand]) -> bool:
        return any(
            (self.kind, self.definition) == (other.kind, other.definition) for other in others
        )


_DEMANDS = """
SELECT 'n' AS kind, '' AS name, attname::text AS definition
FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped AND attnotnull
UNION ALL
SELECT contype::text, conname, regexp_replace(pg_get_constraintdef(oid), ' NOT VALID$', '')
FROM pg_constraint WHERE conrelid = %(oid)s AND contype IN ('c', 'p', 'u', 'x')
UNION ALL
SELECT 'i', c.relname, substr(pg_get_indexdef(c.oid), length(format(
    'CREATE UNIQUE INDEX %%I ON %%s%%I.%%I ', c.relname,
    CASE t.relkind WHEN 'p' THEN 'ONLY ' ELSE '' END, n.nspname, t.relname)))
FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE indrelid = %(oid)s AND indisunique AND indisvalid
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
ORDER BY 1, 2, 3"""
_PLACES = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%(oids)s)
ORDER BY array_position(%(oids)s, c.oid)"""
_PROBE = sql.Identifier("postgres_backup_probe")


def require_fitting(side: psycopg.Connection, live: psycopg.Connection, table: Table) -> None:
    """See that the backup's rows, which are staged, are what the live table demands of those that
    it takes.

    :raises DatabaseError: some are not; the hint says what to type.
    """
    oids = {"oids": list(table.relations)}
    everywhere: list[_Demand] = []
    for place in rows(live, Relation, _PLACES, oids):
        name = place.identifier.as_string(live)
        demands = rows(live, _Demand, _DEMANDS, {"oid": place.oid})
        before = find(side, name)
        known = rows(side, _Demand, _DEMANDS, {"oid": before.oid}) if before else []
        new = [one for one in demands if not one.is_in(known) and not one.is_in(everywhere)]
        bounds: sql.Composable = sql.SQL("true")
        if place.oid == table.live_oid:
            everywhere = demands
        else:
            bounds = taken_by(live, place.oid)
        unfit = _unfit(live, table, place, new, bounds) if new else []
        if unfit:
            raise DatabaseError(
                f"Failed to bring back {table.label}: it is stricter now than in the backup, and "
                f"rows of the backup do not fit: {'; '.join(one.said for one in unfit)}",
                f"Take that off ({' '.join(one.off(name) for one in unfit)}), type the same again, "
                "mend the rows, and put it on again; or restore the whole database. "
                "Nothing was changed",
            )


def _unfit(
    live: psycopg.Connection,
    table: Table,
    place: Relation,
    demands: Sequence[_Demand],
    bounds: sql.Composable,
) -> list[_Demand]:
    """Which of these demands the rows do not meet that one relation of the table would hold."""
    live.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING GENERATED INCLUDING DEFAULTS "
            "INCLUDING IDENTITY) ON COMMIT DROP"
        ).format(_PROBE, place.identifier)
    )
    try:
        # what stays as it is was let in, also by what is NOT VALID
        for source in table_rows.to_be_written(table):
            _fill(live, source, bounds)
    except psycopg.errors.NotNullViolation as error:
        return [_Demand("n", "", error.diag.column_name or first_line(error))]
    unfit = [one for one in demands if one.kind == "c" and not _holds(live, one)]
    _fill(live, table_rows.staying(table), bounds)
    unfit += [one for one in demands if one.kind in "puxi" and not _holds(live, one)]
    live.execute(sql.SQL("DROP TABLE {}").format(_PROBE))
    return unfit


def _fill(live: psycopg.Connection, source: table_rows.Source, bounds: sql.Composable) -> None:
    columns = listed(source.columns)
    live.execute(
        sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM ({}) x WHERE {}"
        ).format(_PROBE, columns, columns, source.query, bounds)
        if source.columns
        else sql.SQL("INSERT INTO {} SELECT FROM ({}) x WHERE {}").format(
            _PROBE, source.query, bounds
        )
    )


def _holds(live: psycopg.Connection, demand: _Demand) -> bool:
    made = (
        sql.SQL("CREATE UNIQUE INDEX ON {} {}")
        if demand.kind == "i"
        else sql.SQL("ALTER TABLE {} ADD {}")
    ).format(_PROBE, sql.SQL(demand.definition.replace("{", "{{").replace("}", "}}")).format())
    try:
        with live.transaction(force_rollback=True):
            live.execute(made)
    except psycopg.errors.IntegrityError:
        return False
    return True


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
