"""Partitions that are not there: without one, rows of the backup would have no place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from ..catalog.manifest import TableRecord
from ..errors import UsageError
from ..postgresql.connection import row, rows, value, values
from .table import Table
from .table_names import Relation, find


@dataclasses.dataclass(frozen=True)
class _Partition(Relation):
    """A partition in the backup, with its own name, its table and its bound as SQL has them."""

    label: str
    of: str
    bound: str


_PARTITION = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       format('%%I.%%I', n.nspname, c.relname) AS label,
       format('%%I.%%I', m.nspname, p.relname) AS of, pg_get_expr(c.relpartbound, c.oid) AS bound
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
JOIN pg_namespace m ON m.oid = p.relnamespace WHERE c.relispartition AND """
_ONE = _PARTITION + "c.oid = %s"
# the highest first: it is made, or attached, before those below it
_BELOW = _PARTITION + (
    "c.oid IN (SELECT relid FROM pg_partition_tree(%s) WHERE level > 0) ORDER BY c.oid"
)
_LEAVES = """
SELECT pg_get_partition_constraintdef(relid) FROM pg_partition_tree(%s) WHERE isleaf"""


def taken_by(live: psycopg.Connection, partition: int) -> sql.Composable:
    """Which rows a partition takes, as a condition."""
    [bound] = values(live, object, "SELECT pg_get_partition_constraintdef(%s)", (partition,))
    # a DEFAULT partition that is the only one takes all, and has none
    return sql.SQL(bound if isinstance(bound, str) else "true")


def covered(
    side: psycopg.Connection, live: psycopg.Connection, table: Relation, chosen: Sequence[Relation]
) -> bool:
    """Whether a table of the backup is gone and comes back as a partition of another chosen one."""
    if find(live, table.identifier.as_string(live)) is not None:
        return False
    above = values(side, int, "SELECT relid::oid FROM pg_partition_ancestors(%s)", (table.oid,))
    return any(other.oid in above and other.oid != table.oid for other in chosen)


def require_table_of(side: psycopg.Connection, table: Table) -> None:
    """:raises UsageError: it is gone, and was a partition: only with its table it is made anew."""
    found = row(side, _Partition, _ONE, (table.side_oid,)) if table.live_oid is None else None
    if found:
        raise UsageError(
            f"{table.label} is gone, and was a partition of {found.of}",
            f"Make it again, then type the same: {_made(side, found)} "
            f"(Is {found.of} gone too? Then name that one)",
        )


def require_room(side: psycopg.Connection, live: psycopg.Connection, table: Table) -> None:
    """See that each of the backup's rows, which are staged, has a partition to go to.

    :raises UsageError: some have none; the hint says what makes it.
    """
    bounds = values(live, object, _LEAVES, (table.live_oid,))
    known = [bound for bound in bounds if isinstance(bound, str)]
    if len(known) < len(bounds):  # one takes whatever comes
        return
    if not bounds and not table.live_partitioned:
        return
    fits = sql.SQL(" OR ").join(sql.SQL(f"({bound})") for bound in known)
    query = sql.SQL("SELECT count(*) FROM {} WHERE NOT coalesce({}, false)").format(
        table.staging, fits if known else sql.SQL("false")
    )
    lost = value(live, int, query)
    if lost:
        raise _without_room(side, live, table, lost)


def _without_room(
    side: psycopg.Connection, live: psycopg.Connection, table: Table, lost: int
) -> UsageError:
    there = set(table.relations)
    statements = []
    for partition in rows(side, _Partition, _BELOW, (table.side_oid,)):
        name = partition.identifier.as_string(live)
        now = find(live, name)
        if now is None:
            statements.append(_made(side, partition))
        elif now.oid not in there:
            statements.append(
                f"ALTER TABLE {partition.of} ATTACH PARTITION {name} {partition.bound};"
            )
    return UsageError(
        f"{lost} rows of {table.label} in the backup fit no partition that it has now",
        f"Type this, then the same again: {' '.join(statements)}"
        if statements
        else f"Make a partition for them (CREATE TABLE ... PARTITION OF {table.label} DEFAULT), "
        "then type the same again; or restore the whole database",
    )


def require_partitions(
    side: psycopg.Connection,
    live: psycopg.Connection,
    table: Table,
    records: Mapping[str, TableRecord],
) -> None:
    """The same beforehand, by the definitions alone, as far as these tell: a partition that is not
    there any more, and whose place no other has taken.

    :param side: no rows are in it yet.
    :param live: in a transaction that is rolled back afterwards.
    :param records: the rows of each table of the backup; empty where nobody knows.
    :raises UsageError: some of its rows would have no partition to go to.
    """
    homeless: set[str] = set()
    lost = 0
    for partition in rows(side, _Partition, _BELOW, (table.side_oid,)):
        if partition.of not in homeless:
            now = find(live, partition.identifier.as_string(live))
            of = find(live, partition.of)
            if (now and now.oid in table.relations) or not of or of.oid not in table.relations:
                continue
            if not _is_free(live, of, partition.bound):
                continue
        homeless.add(partition.label)
        lost += records[partition.label]["rows"] if partition.label in records else 0
    if lost:
        raise _without_room(side, live, table, lost)


_BOUNDS = """
SELECT pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s"""


def _is_free(live: psycopg.Connection, of: Relation, bound: str) -> bool:
    """Whether no partition takes any row of this bound. PostgreSQL itself is asked, by temporary
    tables with the bounds of those that are there.
    """
    bounds = values(live, str, _BOUNDS, (of.oid,))
    split = values(live, str, _SPLIT, (of.oid,))
    if not split or "DEFAULT" in bounds:
        return False
    like = sql.SQL("CREATE TEMPORARY TABLE postgres_backup_bounds (LIKE {}) PARTITION BY {}")
    statements = [like.format(of.identifier, sql.SQL(split[0]))]
    for number, each in enumerate([*bounds, bound]):
        statements.append(
            sql.SQL("CREATE TEMPORARY TABLE {} PARTITION OF postgres_backup_bounds {}").format(
                sql.Identifier(f"postgres_backup_bound_{number}"), sql.SQL(each)
            )
        )
    try:
        with live.transaction(force_rollback=True):
            for statement in statements:
                live.execute(statement)
    except psycopg.errors.InvalidObjectDefinition:  # it would overlap
        return False
    return True


_SPLIT = "SELECT pg_get_partkeydef(oid) FROM pg_class WHERE oid = %s AND relkind = 'p'"


def _made(side: psycopg.Connection, partition: _Partition) -> str:
    split = values(side, str, _SPLIT, (partition.oid,))
    return (
        f"CREATE TABLE {partition.identifier.as_string(side)} PARTITION OF {partition.of} "
        f"{partition.bound}" + "".join(f" PARTITION BY {by}" for by in split) + ";"
    )
