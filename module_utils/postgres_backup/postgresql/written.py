"""Was anything written to a kept database since it was replaced?

Two signs, both counted by the server and stamped in the moment of the swap, while nobody can be
inside: the number of the next transaction (a row that was written later carries a later number,
which no crash and no vacuum takes from it), and how many rows were deleted so far (those leave
nothing to look at; a crash loses this count, and then it says nothing). Reading, ANALYZE and VACUUM
move neither.
"""

from __future__ import annotations

import dataclasses

import psycopg
from psycopg import sql

from ..settings import Settings
from .connection import connect, row, rows, value
from .mark import Mark


@dataclasses.dataclass(frozen=True)
class _Counters:
    next_transaction: int
    deleted_rows: int | None


# What a closed session has deleted is counted before it is gone, since 15; until then a process of
# its own gathered it, somewhat later.
_COUNTERS = """
SELECT txid_snapshot_xmax(txid_current_snapshot()) AS next_transaction,
       CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN (SELECT tup_deleted FROM pg_stat_database WHERE datid = d.oid)
       END AS deleted_rows
FROM pg_database d WHERE d.datname = %s"""


def stamp(connection: psycopg.Connection, name: str) -> dict[str, object]:
    """What a mark says of the moment from which on writing counts."""
    now = row(connection, _Counters, _COUNTERS, (name,))
    return {} if now is None else dataclasses.asdict(now)


def is_stamped(mark: Mark) -> bool:
    """Version 0.1.0 did not."""
    return mark.number("next_transaction") is not None


@dataclasses.dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    readable: bool


# Of the catalogues those that show what was made or changed, and large objects. Statistics are
# gathered by the server itself, and written into pg_class in place, under the old number.
_TABLES = """
SELECT n.nspname AS schema, c.relname AS name,
       has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   OR c.oid IN ('pg_class'::regclass, 'pg_attribute'::regclass, 'pg_proc'::regclass,
                'pg_largeobject_metadata'::regclass)
   OR c.oid = 'pg_largeobject'::regclass AND has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname = 'pg_catalog' DESC, 1, 2"""

# Numbers of transactions have 32 bits in a row and go round: later is what lies less than half a
# round ahead. Below 3 are those that stand for no transaction (transam.h). Of a temporary table
# nothing stays.
_LATER = """
SELECT EXISTS (
    SELECT FROM ONLY {} WHERE xmin::text::bigint >= 3
    AND ((xmin::text::bigint - {}) & 4294967295) < 2147483648)"""
_HALF_A_ROUND = 2**31


def written_since(settings: Settings, name: str, mark: Mark) -> str:
    """Why a kept database counts as written to since its mark was stamped; empty where nothing was.
    Reads every table up to the first row that is later.

    What cannot be known counts as written.

    :raises DatabaseError: it cannot be looked into.
    """
    since = mark.number("next_transaction")
    if since is None:
        return "nobody has noted how it was when it was replaced"
    with connect(settings, name) as connection:
        now = row(connection, _Counters, _COUNTERS, (name,))
        if now is None or not since <= now.next_transaction < since + _HALF_A_ROUND:
            return "it was replaced so many transactions ago that nobody can say what is later"
        deleted = mark.number("deleted_rows")
        if deleted is not None and (now.deleted_rows or 0) > deleted:
            return "rows were deleted in it since it was replaced"
        connection.execute("SET row_security = off")
        for table in rows(connection, _Table, _TABLES):
            if not table.readable:
                return f"{settings.db_user} may not read {table.schema}.{table.name} in it"
            asked = sql.SQL(_LATER).format(
                sql.Identifier(table.schema, table.name), sql.Literal(since)
            )
            if value(connection, bool, asked):
                return f"{table.schema}.{table.name} was written to since it was replaced"
    return ""
