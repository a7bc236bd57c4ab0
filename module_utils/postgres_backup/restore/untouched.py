"""Belt and braces before the commit: in the transaction in which tables are brought back, no other
table was written, whatever the application's definitions may have done.

PostgreSQL counts what a session has written to each table and not yet made known
(``pg_stat_xact_all_tables``), and whoever writes holds a lock on the table until the end. Where
nothing is counted, the lock alone speaks.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from ..errors import DatabaseError
from ..postgresql.connection import value, values

_MAY_COUNT = """
SELECT 1 WHERE NOT current_setting('track_counts')::bool
  AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"""
_WRITTEN = """
SELECT c.oid::regclass::text
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_stat_xact_all_tables s ON s.relid = c.oid
WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relkind IN ('r', 'p', 'm', 'f', 'S') AND c.oid >= 16384
  AND c.relnamespace <> pg_my_temp_schema() AND c.oid <> ALL(%(ours)s)
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND c.relkind = 'S' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%(ours)s))
  AND (l.mode = 'RowExclusiveLock' AND (
          NOT current_setting('track_counts')::bool OR c.relkind NOT IN ('r', 'p', 'm')
          OR s.n_tup_ins + s.n_tup_upd + s.n_tup_del
             > coalesce((%(before)s::jsonb ->> c.oid::text)::bigint, 0))
      OR l.mode = 'AccessExclusiveLock' AND c.oid <> ALL(%(altered)s))
GROUP BY c.oid ORDER BY 1"""


_COUNTS = """
SELECT coalesce(jsonb_object_agg(relid, n_tup_ins + n_tup_upd + n_tup_del), '{}')::text
FROM pg_stat_xact_all_tables WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"""


def count_writes(live: psycopg.Connection) -> str:
    """Begin to count, where the server does not and we may say so.

    :return: what was counted before, for :func:`require_untouched`.
    """
    if values(live, int, _MAY_COUNT):
        live.execute("SET LOCAL track_counts = on")
    return value(live, str, _COUNTS)


_FAMILY = """
WITH given AS (SELECT unnest(%s::oid[]) AS oid)
SELECT oid FROM given UNION
SELECT t.relid::oid FROM given, pg_partition_tree(pg_partition_root(oid)) t"""


def family(live: psycopg.Connection, relations: Sequence[int]) -> list[int]:
    """These relations, and all partitions of the tables that they belong to."""
    return values(live, int, _FAMILY, (list(relations),))


def require_untouched(
    live: psycopg.Connection, before: str, ours: Sequence[int], altered: Sequence[int]
) -> None:
    """See that nothing else was written.

    :param ours: the relations that may be written, with the sequences that belong to them.
    :param altered: those whose foreign keys were taken off for a moment.
    :raises DatabaseError: others were written, or emptied.
    """
    asked = {"before": before, "ours": list(ours), "altered": list(altered)}
    written = values(live, str, _WRITTEN, asked)
    if written:
        raise DatabaseError(
            f"Failed to bring the tables back: {', '.join(written)} would have been changed too, "
            "which nobody named (by an event trigger, or a function that a column calls)",
            "Name those tables too, or restore the whole database; nothing was changed",
        )
