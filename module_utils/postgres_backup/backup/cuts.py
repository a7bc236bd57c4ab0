"""Where a dump is cut, so that one table of it can be read alone: before the rows of each large
table, and behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psycopg

from ..postgresql.connection import values
from ..stream.inspector import Inspector

#: bytes of a table from which it is worth a member of its own
LARGE_BYTES = 16 * 1024 * 1024
_LARGE = """
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND pg_table_size(c.oid) > %s
ORDER BY pg_table_size(c.oid) DESC LIMIT 10000"""


class Cut(bytes):
    """Stands between two chunks: a new member begins here; its text is the table's name, with a
    byte before it, for nothing empty passes through a channel.
    """

    @property
    def table(self) -> str:
        """Whose rows come next and nothing else; empty: anything."""
        return self[1:].decode()


def large_tables(connection: psycopg.Connection) -> frozenset[str]:
    """The tables that are worth a member of their own, as pg_dump writes their names."""
    return frozenset(values(connection, str, _LARGE, (LARGE_BYTES,)))


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
