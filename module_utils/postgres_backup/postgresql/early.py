"""Tables that are compared as soon as their rows are in, while others are still loaded, indexes are
built and foreign keys looked through: whoever does one after the other leaves processors idle.

It proves the same as a comparison at the end, for a table counts as compared only where nothing has
changed it since: the server is asked, before each commit of the load, which tables that transaction
may have written (whoever writes holds a lock until then), and at the end, whether each still has
the file that it had; and a statement that is none of those which pg_dump writes behind rows makes
all forgotten. Everything that is not proven here, for whatever reason, is left to the comparison at
the end, and told there; so nothing fails here.

They are read by pg_dump, so that long rows are in its memory and not in ours: a table with many by
one of its own, which holds a lock on nothing else; those with fewer together, when all indexes are
there, by one that does not wait for locks. So no circle of sessions that wait for each other can go
through either.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from ..errors import DatabaseError, UsageError
from ..machine import signals
from ..machine.carried import Carried
from ..stream.grammar import IDENTIFIER
from ..stream.inspector import TableFacts
from .effort import LOCK_WAIT_MS
from .pg_dump import CHUNK, Dump
from .programs import Programs

#: a table with fewer bytes of rows is not worth the questions about it
WORTH_BYTES = 1 << 20
#: one with fewer is compared sooner than a pg_dump of its own has begun
_WORTH_DUMP_BYTES = 32 << 20
#: so many are named to one pg_dump at most
_MOST_TABLES = 500
#: how many pg_dumps at once: one session that looks through foreign keys leaves room for more
_READERS = 2
#: by how much this process may grow for it, bytes
BESIDE_BYTES = _READERS * 4 * CHUNK
#: of a table: its number and its file
IDENTITY = b"""
SELECT pg_catalog.concat(oid, ' ', pg_catalog.pg_relation_filenode(oid))
FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.regclass"""
#: number and file of all tables, by numbers
IDENTITIES = b"""
SELECT pg_catalog.string_agg(
    pg_catalog.concat(oid, ' ', pg_catalog.pg_relation_filenode(oid)), ',')
FROM pg_catalog.pg_class WHERE oid = ANY ($1::pg_catalog.oid[])"""
#: in a transaction: the tables of ours that it may have written
WRITTEN = b"""
SELECT pg_catalog.string_agg(l.relation::pg_catalog.text, ',') FROM pg_catalog.pg_locks l
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.relation >= 16384
    AND l.mode = 'RowExclusiveLock'"""
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
    """Threads that compare one table after the other; a context manager, after which none of it is
    left.

    All methods are called by the one who loads.

    :param indexed: called when all rows and indexes are there, before foreign keys are looked
        through.
    """

    def __init__(
        self, programs: Programs, database: str, indexed: Callable[[], object] = bool
    ) -> None:
        self._programs, self._database, self._indexed = programs, database, indexed
        self._offered: dict[bytes, _Table] = {}
        #: numbers of those that may be others by now
        self._touched: set[bytes] = set()
        #: and of those among them that were touched behind all rows and indexes
        self._touched_late: set[bytes] = set()
        #: that are read alone; and those that are read together, once all indexes are there
        self._waiting, self._small = deque[_Table](), list[_Table]()
        self._together: list[_Table] = []
        self._equal: dict[bytes, TableFacts] = {}
        self._at_work: set[Dump] = set()
        self._held = self._closed = False
        self._changed, self._failure = signals.Condition(), Carried()
        self._threads: list[threading.Thread] = []

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
            for thread in self._threads:
                while thread.is_alive():
                    with self._changed:
                        for dump in self._at_work:
                            dump.stop()
                    thread.join(_PATIENCE)

    def offer(
        self,
        name: str,
        facts: TableFacts,
        identity: bytes | None,
        encoding: str,
    ) -> None:
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
        if facts.bytes < _WORTH_DUMP_BYTES:
            self._small.append(table)
            return
        with self._changed:
            self._waiting.append(table)
            self._changed.notify_all()
        self._begin()

    def indexed(self) -> None:
        """All rows and indexes are there: those with fewer rows are compared from now on."""
        with self._changed:
            small, self._small = self._small, []
            small.sort(key=lambda table: table.facts.bytes, reverse=True)
            del small[_MOST_TABLES:]
            together = sum(table.facts.bytes for table in small) >= _WORTH_DUMP_BYTES
            self._together = small if together else []
            self._held = False
            self._changed.notify_all()
        self._touched_late.clear()
        if together:
            self._begin()
        self._indexed()

    def hold(self, held: bool) -> None:
        """Begin with no further table for now, for every processor has its work; or go on."""
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def _begin(self) -> None:
        if len(self._threads) < _READERS:
            thread = threading.Thread(target=self._work, name="early-comparison", daemon=True)
            with signals.hold:
                thread.start()
                self._threads.append(thread)

    @property
    def oids(self) -> bytes:
        """The numbers of all, as an array of the server's."""
        return b"{%b}" % b",".join(self._offered)

    def written(self, oids: bytes | None, own: bytes = b"") -> None:
        """Those may have been written: the answer to :data:`WRITTEN`.

        :param own: the number of the one that is offered next, with what was written.
        """
        self._touch({*(oids or b"").split(b",")} - {own})

    def forget(self) -> None:
        """All that were offered so far may have been written."""
        self._touch(set(self._offered))

    def _touch(self, oids: set[bytes]) -> None:
        self._touched |= oids
        self._touched_late |= oids

    @property
    def changed_late(self) -> list[int]:
        """The numbers of tables that may be others by now than when :meth:`indexed` was told."""
        return [int(oid) for oid in self._touched_late if oid]

    def ended(self, identities: bytes | None) -> None:
        """The load has ended; the answer to :data:`IDENTITIES`."""
        there = {bytes(one) for one in (identities or b"").split(b",")}
        for oid, table in self._offered.items():
            if b"%b %b" % (oid, table.file) not in there:
                self._touched.add(oid)

    def compared(self) -> dict[str, TableFacts]:
        """Wait for all; what was read of those that are what went in."""
        with self._changed:
            self._held = False
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: (
                    not (self._at_work or self._waiting or self._together)
                    or self._failure.error is not None
                )
            )
        self._failure.check()
        return {
            self._offered[oid].name: facts
            for oid, facts in self._equal.items()
            if oid not in self._touched
        }

    def _work(self) -> None:
        with self._failure:
            while work := self._next():
                dump, batch = work
                try:
                    for table in _read(dump, batch):
                        self._equal[table.oid] = table.facts
                except (DatabaseError, UsageError):
                    pass  # the comparison at the end shows what is the matter
                finally:
                    with self._changed:
                        self._at_work.remove(dump)
                        self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _next(self) -> tuple[Dump, list[_Table]] | None:
        """What one pg_dump reads next, which is at work from then on; None: nothing more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (not self._held and (self._waiting or self._together))
            )
            if self._closed:
                return None
            if self._waiting:
                batch, patience = [self._waiting.popleft()], ""
            else:
                batch, self._together, patience = self._together, [], str(LOCK_WAIT_MS)
            dump = Dump(
                self._programs,
                self._database,
                tables=[table.name for table in batch],
                encoding=batch[0].encoding,
                rows_alone=True,
                lock_wait=patience,
            )
            dump.inspector.hashes_all = False
            self._at_work.add(dump)
            return dump, batch


def _read(dump: Dump, batch: list[_Table]) -> list[_Table]:
    """Those of which what came out is what went in."""
    for _ in dump.chunks():
        continue
    came = dump.report.tables
    return [table for table in batch if came.get(table.name) == table.facts]
