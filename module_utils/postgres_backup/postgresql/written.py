"""Was anything written to a kept database since it was replaced, or to a copy since it was made?

A row that was written later carries the number of a later transaction, which no crash and no vacuum
takes from it; so the number of the next one is stamped in the moment of the swap, while nobody can
be inside. What was deleted leaves nothing to look at: the server's count of deleted rows shows it
(a crash loses that count, and then it says nothing), and the number of tables, functions and large
objects. Reading, ANALYZE, VACUUM and temporary tables move none of these.
"""

from __future__ import annotations

import dataclasses

import psycopg
from psycopg import sql

from ..settings import Settings
from .connection import connect, own_search_path, rows, value
from .mark import COPY, Mark

_NEXT = "SELECT txid_snapshot_xmax(txid_current_snapshot())"


def stamp(connection: psycopg.Connection) -> dict[str, object]:
    """What a mark says of the moment from which on writing counts."""
    return {"next_transaction": value(connection, int, _NEXT)}


@dataclasses.dataclass(frozen=True)
class _Counted:
    deleted_rows: int | None
    objects: int


# What a closed session has deleted is counted before it is gone, since 15; until then a process of
# its own gathered it, somewhat later.
_COUNT = """
SELECT CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN (SELECT coalesce(sum(n_tup_del), 0)::bigint FROM pg_stat_user_tables)
       END AS deleted_rows,
       (SELECT count(*) FROM pg_class WHERE relpersistence <> 't')
       + (SELECT count(*) FROM pg_proc)
       + (SELECT count(*) FROM pg_largeobject_metadata) AS objects"""


def count(settings: Settings, name: str) -> dict[str, object]:
    """What a mark says of a kept database that only a session inside can count.

    :raises DatabaseError: it cannot be looked into.
    """
    with connect(settings, name) as connection:
        [now] = rows(connection, _Counted, _COUNT)
    return dataclasses.asdict(now)


def is_counted(mark: Mark) -> bool:
    """Its database has been looked into."""
    return mark.number("objects") is not None


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
# round ahead. Below 3 are those that stand for no transaction (transam.h).
_LATER = """
SELECT EXISTS (
    SELECT FROM ONLY {} WHERE xmin::text::bigint >= 3
    AND ((xmin::text::bigint - {}) & 4294967295) < 2147483648)"""
_HALF_A_ROUND = 2**31


def _begun(mark: Mark) -> str:
    return "made" if mark.kind == COPY else "replaced"


def _removed(connection: psycopg.Connection, mark: Mark) -> str:
    [now] = rows(connection, _Counted, _COUNT)
    before, objects = mark.number("deleted_rows"), mark.number("objects")
    if before is not None and (now.deleted_rows or 0) > before:
        return f"rows were deleted in it since it was {_begun(mark)}"
    if objects is not None and now.objects != objects:
        return "tables, functions or large objects were made or dropped in it since"
    return ""


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
        if not since <= value(connection, int, _NEXT) < since + _HALF_A_ROUND:
            begun = _begun(mark)
            return f"it was {begun} so many transactions ago that nobody can say what is later"
        if removed := _removed(connection, mark):
            return removed
        connection.execute("SET row_security = off")
        own_search_path(connection)  # a plan may look into the functions of an index
        for table in rows(connection, _Table, _TABLES):
            if not table.readable:
                return f"{settings.db_user} may not read {table.schema}.{table.name} in it"
            asked = sql.SQL(_LATER).format(
                sql.Identifier(table.schema, table.name), sql.Literal(since)
            )
            if value(connection, bool, asked):
                return f"{table.schema}.{table.name} was written to since it was {_begun(mark)}"
    return ""
