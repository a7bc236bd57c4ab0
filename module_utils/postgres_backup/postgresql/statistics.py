"""The statistics of a database that was just loaded, or is being loaded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import Finding, finding
from ..machine import signals
from ..machine.carried import Carried
from ..settings import Settings
from .connection import connect, first_line, own_search_path
from .effort import LOCK_WAIT_MS

#: from this major on ANALYZE goes on to partitions and heirs, and ONLY keeps it from both; before,
#: it always goes on to partitions
_ONLY_MAJOR = 18
#: Tables that may be analysed once rows and indexes are there, those with most to do first;
#: partitions where they do not come with what they are a part of.
_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p'
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384
    AND (NOT c.relispartition OR %s)
ORDER BY c.relpages DESC, c.oid"""
#: a partitioned table and all below it
_TREE = "SELECT relid::oid FROM pg_catalog.pg_partition_tree(%s)"
#: all but those of which they are there
_OTHERS = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND c.oid <> ALL (%s::oid[])"""


def gather_statistics(settings: Settings, database: str) -> list[Finding]:
    """Gather them; what they need of the application's functions may fail, and no row is the worse
    for it.
    """
    with _session(settings, database) as connection:
        return _gather(connection, ())


@contextmanager
def _session(settings: Settings, database: str) -> Iterator[psycopg.Connection]:
    with connect(settings, database) as connection:
        own_search_path(connection)
        # each table's is a transaction of its own, and gathered again where a crash loses it
        connection.execute("SET synchronous_commit TO off")
        yield connection


def _gather(connection: psycopg.Connection, gathered: Collection[int]) -> list[Finding]:
    """All but those of some tables."""
    named: list[sql.Composed] = []
    if gathered:
        others = connection.execute(_OTHERS, (list(gathered),)).fetchall()
        named = [_named(connection, *other) for other in others]  # the server's own among them
    try:
        connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(named)))
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError) as error:
        return [finding("STATISTICS_NOT_GATHERED", f"ANALYZE failed: {first_line(error)}")]
    return []


def _named(connection: psycopg.Connection, schema: str, name: str) -> sql.Composed:
    """A table by itself, as far as the server can keep it apart from what is below it."""
    only = sql.SQL("ONLY {}" if _can_alone(connection) else "{}")
    return only.format(sql.Identifier(schema, name))


def _can_alone(connection: psycopg.Connection) -> bool:
    return connection.info.server_version // 10_000 >= _ONLY_MAJOR


class Statistics:
    """A session that gathers them while others work: of tables whose rows and indexes are there,
    while foreign keys are looked through; of all others once the load has ended. A context manager,
    after which it begins with nothing more; where the block fails nobody waits for it, and who
    drops the database ends the session too.

    What hinders it before the end is tried again there, and told.
    """

    def __init__(self, settings: Settings, database: str) -> None:
        self._settings, self._database = settings, database
        self._findings: list[Finding] = []
        self._changed, self._failure = signals.Condition(), Carried()
        self._thread: threading.Thread | None = None
        self._loaded = self._closed = self._ended = False
        self._again: frozenset[int] = frozenset()
        #: numbers of tables of which they are there
        self.gathered: list[int] = []

    def __enter__(self) -> Statistics:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def begin(self) -> None:
        """All rows and indexes are there, and others see them."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="statistics", daemon=True)
            with signals.hold:
                thread.start()
                self._thread = thread

    @contextmanager
    def rest(self, changed: Collection[int] = ()) -> Iterator[list[Finding]]:
        """The load has ended. They are gathered while the block works, and waited for at its end.

        :param changed: numbers of tables that may be others since :meth:`begin`: they are gathered
            once more.
        :return: findings, which are there after the block.
        :raises DatabaseError: at the end of the block: the server is gone.
        """
        with self._changed:
            self._again = frozenset(changed)
            self._loaded = True
            self._changed.notify_all()
        self.begin()
        yield self._findings
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
        if isinstance(self._failure.error, DatabaseError):  # others have had the last session
            self._gather_rest()
        else:
            self._failure.check()

    def _work(self) -> None:
        with self._failure:
            if not self._loaded:
                self._gather_meanwhile()
            with self._changed:
                self._changed.wait_for(lambda: self._loaded or self._closed)
            if not self._closed:
                self._gather_rest()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _gather_meanwhile(self) -> None:
        with suppress(DatabaseError), _session(self._settings, self._database) as connection:
            self._gather_some(connection)

    def _gather_rest(self) -> None:
        with _session(self._settings, self._database) as connection:
            done = set(self.gathered) - self._again
            self._findings.extend(_gather(connection, done))

    def _gather_some(self, connection: psycopg.Connection) -> None:
        """As long as the load goes on, of tables that it has not locked at the moment."""
        alone = _can_alone(connection)
        connection.execute(f"SET lock_timeout TO {LOCK_WAIT_MS}")
        waiting = deque(connection.execute(_TABLES, (alone,)).fetchall())
        while waiting and not (self._loaded or self._closed):
            table = oid, schema, name, parted = waiting.popleft()
            try:
                analyse = sql.SQL("ANALYZE {}").format(_named(connection, schema, name))
                connection.execute(analyse)
            except psycopg.errors.LockNotAvailable:
                waiting.append(table)
            except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError):
                continue  # at the end it is told
            else:
                tree = connection.execute(_TREE, (oid,)) if parted and not alone else [(oid,)]
                self.gathered += [one for (one,) in tree]
