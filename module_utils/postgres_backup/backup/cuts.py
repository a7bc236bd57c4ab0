"""Where a dump is cut, so that one table of it can be read alone: before the rows of each large
table, and behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from ..postgresql.connection import values
from ..stream.inspector import Inspector

#: bytes of a table from which it is worth a member of its own
LARGE_BYTES = 16 * 1024 * 1024
_LARGE = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid,
LATERAL (SELECT {size} AS bytes) s
WHERE c.relkind = 'r' AND s.bytes > {large}
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY s.bytes DESC LIMIT 10000"""
#: as of now; it takes a lock on each table, as reading does
_EXACT = sql.SQL("pg_table_size(c.oid)")
#: as of the last VACUUM or ANALYZE; it takes none
_ESTIMATED = sql.SQL(
    "(c.relpages::bigint + coalesce(t.relpages, 0)) * current_setting('block_size')::bigint"
)
#: how long to wait for such a lock: pg_dump waits for it as well, and says for which
_PATIENCE = "500ms"


class Cut(bytes):
    """Stands between two chunks: a new member begins here; its text is the table's name, with a
    byte before it, for nothing empty passes through a channel.
    """

    @property
    def table(self) -> str:
        """Whose rows come next and nothing else; empty: anything."""
        return self[1:].decode()


def large_tables(connection: psycopg.Connection) -> frozenset[str]:
    """The tables that are worth a member of their own, as pg_dump writes their names.

    Where one is locked, sizes are PostgreSQL's estimates: a backup waits for a lock in one place
    only, where it can say so and give up.
    """
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_PATIENCE))
            )
            return _larger(connection, _EXACT)
    except psycopg.errors.LockNotAvailable:
        return _larger(connection, _ESTIMATED)


def _larger(connection: psycopg.Connection, size: sql.SQL) -> frozenset[str]:
    query = sql.SQL(_LARGE).format(size=size, large=sql.Literal(LARGE_BYTES))
    return frozenset(values(connection, str, query))


def with_cuts(chunks: Iterable[bytes], inspector: Inspector) -> Iterator[bytes]:
    """The chunks, and the cuts between them. Each chunk waits for the next: that a statement in it
    begins the rows of a large table may show only then.

    :param inspector: has seen each chunk that comes.
    """
    held, start = b"", 0
    for chunk in chunks:
        yield from _pieces(held, start, inspector)
        held, start = chunk, start + len(held)
    yield from _pieces(held, start, inspector)


def _pieces(held: bytes, start: int, inspector: Inspector) -> Iterator[bytes]:
    at = 0
    waiting: list[tuple[int, str]] = []
    for place, table in inspector.cuts:
        if place >= start + len(held):
            waiting.append((place, table))
        elif place >= start:  # else it shows too late, and the table has no member of its own
            if place - start > at:
                yield held[at : place - start]
            at = place - start
            yield Cut(b"\n" + table.encode())
    inspector.cuts[:] = waiting
    if len(held) > at:
        yield held[at:]
