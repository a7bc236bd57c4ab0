"""Tables that are compared, and analysed, as soon as their rows are in, while others are still
loaded and indexes are built: whoever loads one large table after the other leaves processors idle.

It proves the same as a comparison at the end, for a table counts as compared only where nothing has
changed it since: the server is asked, before each commit of the load, which tables that transaction
may have written (whoever writes holds a lock until then), and at the end, whether each still has
the file that it had; and a statement that is none of those which pg_dump writes behind rows makes
all forgotten. Everything that is not proven here, for whatever reason, is left to the comparison at
the end, and told there; so nothing fails here.

Each table is read by a pg_dump of its own, which holds a lock on nothing else: no circle of
sessions that wait for each other can go through it. Long rows are in its memory, not in ours.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import deque
from types import TracebackType

from psycopg import sql

from ..errors import DatabaseError, UsageError
from ..machine import signals
from ..machine.carried import Carried
from ..stream.grammar import IDENTIFIER
from ..stream.inspector import TableFacts
from .connection import connect, own_search_path
from .pg_dump import CHUNK, Dump
from .programs import Programs

#: a table with fewer bytes of rows is compared sooner than a pg_dump of its own has begun
WORTH_BYTES = 32 << 20
#: by how much this process may grow for it, bytes
BESIDE_BYTES = 4 * CHUNK
#: of a table: its number and its file
IDENTITY = b"""
SELECT pg_catalog.concat(oid, ' ', pg_catalog.pg_relation_filenode(oid))
FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.regclass"""
#: the same of all tables, by numbers
IDENTITIES = b"""
SELECT pg_catalog.string_agg(
    pg_catalog.concat(oid, ' ', pg_catalog.pg_relation_filenode(oid)), ',')
FROM pg_catalog.pg_class WHERE oid = ANY ($1::pg_catalog.oid[])"""
#: in a transaction: the tables of ours that it may have written
WRITTEN = b"""
SELECT pg_catalog.string_agg(l.relation::pg_catalog.text, ',') FROM pg_catalog.pg_locks l
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.relation >= 16384
    AND l.mode = 'RowExclusiveLock'"""
_NAMES = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %s"""
_ANALYSE = (sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT"), sql.SQL("ANALYZE {}"))
#: seconds after which it is asked once more to end: pg_dump may just have begun
_PATIENCE = 0.5
_NAME = IDENTIFIER + rb"(?:\." + IDENTIFIER + rb")?"
#: what pg_dump writes behind the first rows, and what leaves rows as they are; functions that it
#: calls show by the locks that they take
_LEAVES_ROWS = re.compile(
    rb"SET |SELECT pg_catalog\.|COMMENT ON |GRANT |REVOKE |SECURITY LABEL |REFRESH MATERIALIZED "
    rb"|CREATE (?!OR REPLACE FUNCTION |EXTENSION )|ALTER LARGE OBJECT "
    rb"|ALTER (?:INDEX|STATISTICS|PUBLICATION|SUBSCRIPTION|EVENT TRIGGER|DEFAULT PRIVILEGES) "
    rb"|ALTER [A-Z ]+ " + _NAME + rb"(?:\n    ADD CONSTRAINT | OWNER TO | CLUSTER ON "
    rb"| ATTACH PARTITION | REPLICA IDENTITY | (?:ENABLE|DISABLE|FORCE|NO FORCE) )"
)  # fmt: skip


def leaves_rows(statement: bytes) -> bool:
    """Whether a statement of a dump is known to leave the rows of tables as they are."""
    return _LEAVES_ROWS.match(statement) is not None


@dataclasses.dataclass(frozen=True)
class _Table:
    name: str
    facts: TableFacts
    oid: bytes
    file: bytes
    encoding: str


class EarlyComparison:
    """A thread that compares one table after the other; a context manager, after which none of it
    is left.

    All methods are called by the one who loads.
    """

    def __init__(self, programs: Programs, database: str) -> None:
        self._programs, self._database = programs, database
        self._offered: dict[bytes, _Table] = {}
        #: numbers of those that may be others by now
        self._touched: set[bytes] = set()
        self._waiting: deque[_Table] = deque()
        self._equal: dict[bytes, TableFacts] = {}
        self._at_work: Dump | None = None
        self._analysing = False
        self._analysed: set[bytes] = set()
        self._closed = False
        self._changed, self._failure = signals.Condition(), Carried()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> EarlyComparison:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with signals.hold:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            # where it analyses nobody waits: who drops the database ends that session too
            while self._thread and self._thread.is_alive() and not self._analysing:
                with self._changed:
                    if self._at_work:
                        self._at_work.stop()
                self._thread.join(_PATIENCE)

    def offer(self, name: str, facts: TableFacts, identity: bytes | None, encoding: str) -> None:
        """A table has its rows, and others see them.

        :param name: as the dump writes it.
        :param identity: the answer to :data:`IDENTITY`.
        :param encoding: in which the dump is written.
        """
        oid, _, file = (identity or b"").partition(b" ")
        if oid in self._offered or not file:
            self._touched.add(oid)
            return
        table = self._offered[oid] = _Table(name, facts, oid, file, encoding)
        with self._changed:
            self._waiting.append(table)
            self._changed.notify_all()
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="early-comparison", daemon=True)
            with signals.hold:
                thread.start()
                self._thread = thread

    @property
    def offered(self) -> bool:
        """Whether there is a table of which it matters who writes it."""
        return bool(self._offered)

    @property
    def oids(self) -> bytes:
        """The numbers of all, as an array of the server's."""
        return b"{%b}" % b",".join(self._offered)

    def written(self, oids: bytes | None) -> None:
        """Those may have been written: the answer to :data:`WRITTEN`."""
        self._touched.update(oid for oid in (oids or b"").split(b",") if oid in self._offered)

    def forget(self) -> None:
        """All that were offered so far may have been written."""
        self._touched.update(self._offered)

    def ended(self, identities: bytes | None) -> None:
        """The load has ended; the answer to :data:`IDENTITIES`."""
        there = {bytes(one) for one in (identities or b"").split(b",")}
        for oid, table in self._offered.items():
            if b"%b %b" % (oid, table.file) not in there:
                self._touched.add(oid)

    def compared(self) -> dict[str, TableFacts]:
        """Wait for the table at hand; what was read of those that are what went in.

        Those that nobody has begun with are left to whoever compares all.
        """
        with self._changed:
            self._waiting.clear()
            self._changed.wait_for(lambda: self._at_work is None)
        self._failure.check()
        return {
            self._offered[oid].name: facts
            for oid, facts in self._equal.items()
            if oid not in self._touched
        }

    @property
    def analysed(self) -> list[int]:
        """After :meth:`compared`: the numbers of tables of which there are statistics."""
        return [int(oid) for oid in self._analysed - self._touched]

    def _work(self) -> None:
        with self._failure:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._waiting)
                    if self._closed:
                        return
                    table = self._waiting.popleft()
                    dump = self._at_work = Dump(
                        self._programs,
                        self._database,
                        tables=[table.name],
                        encoding=table.encoding,
                        rows_alone=True,
                    )
                    dump.inspector.hashes_all = False
                try:
                    for _ in dump.chunks():
                        continue
                    came = dump.report.tables
                    if came == {table.name: table.facts}:
                        self._equal[table.oid] = came[table.name]
                        self._analyse(table)
                except (DatabaseError, UsageError):
                    pass  # the comparison at the end shows what is the matter
                finally:
                    with self._changed:
                        self._at_work, self._analysing = None, False
                        self._changed.notify_all()

    def _analyse(self, table: _Table) -> None:
        """Unless it is locked: an index is not kept waiting by who waits himself."""
        with connect(self._programs.settings, self._database) as connection:
            with self._changed:
                if self._closed:
                    return
                self._analysing = True
            connection.execute("SET synchronous_commit TO off")
            name = sql.Identifier(*connection.execute(_NAMES, (int(table.oid),)).fetchone() or ())
            own_search_path(connection)
            with connection.transaction():
                for statement in _ANALYSE:
                    connection.execute(statement.format(name))
        self._analysed.add(table.oid)
