"""Indexes and constraints of different tables, built at once in several sessions.

A plain dump names no dependencies. So only what cannot depend on each other is built side by side:
CREATE INDEX and ADD PRIMARY KEY, UNIQUE and EXCLUDE that follow on each other, each table's in
their order in one session at a time, as pg_restore does it with ``--jobs``
(src/bin/pg_dump/pg_backup_archiver.c, has_lock_conflicts). Everything else waits for all of them,
and they for everything before. What fails here (two sessions that wait for each other, a server
without room for one more) is left to the session that loads, which does it as if there were no
others; so the result, and the error, is that of a load in one session.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence

from ..errors import DatabaseError
from ..machine import signals
from ..machine.carried import Carried
from ..settings import Settings
from ..stream.grammar import IDENTIFIER
from ..stream.guard import Statement
from . import early
from .connection import connect
from .effort import Effort
from .wire import Refused, Session

_TABLE = rb"(" + IDENTIFIER + rb"(?:\." + IDENTIFIER + rb")?)"
#: as pg_dump writes them
_BUILDS = re.compile(
    rb"CREATE (?:UNIQUE )?INDEX " + IDENTIFIER + rb" ON (?:ONLY )?" + _TABLE + rb" USING "
    rb"|ALTER TABLE (?:ONLY )?" + _TABLE + rb"\n    ADD CONSTRAINT " + IDENTIFIER +
    rb" (?:PRIMARY KEY|UNIQUE|EXCLUDE) "
)  # fmt: skip
#: longest statement that is held back, and how many are, bytes
_LONGEST, MOST_BYTES = 64 << 10, 4 << 20
#: fewer rows (bytes), or statements, are not worth a session more
WORTH_BYTES, WORTH_STATEMENTS = 4 << 20, 200
#: statements of tables with so few rows go together, bytes and statements
_SMALL, _MOST_TOGETHER = 1 << 20, 50
#: What the session that loads has been told, by the dump and by us, for others to be told too; NULL
#: where the dump has made it another user's. Seen from inside: a dump may change a setting in a
#: function.
STATE = b"""
SELECT CASE WHEN current_user = session_user AND EXISTS (
        SELECT FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a
        JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid WHERE r.rolname = session_user)
    THEN (SELECT pg_catalog.string_agg(pg_catalog.format(
            'SELECT pg_catalog.set_config(%L, %L, false)', name, setting), '; ')
        FROM pg_catalog.pg_settings WHERE source = 'session'
        AND name <> 'client_encoding' AND name NOT LIKE 'transaction\\_%') END"""
_HELPERS = b"""
SELECT pg_catalog.set_config(name, $1, false) FROM pg_catalog.pg_settings
WHERE name = 'max_parallel_maintenance_workers' AND setting <> $1 AND reset_val <> '0'"""


#: what a server does not tell of its settings: those that it does not know itself
_UNTOLD = re.compile(
    rb"\s*(?:SET\s+(?:SESSION\s+|LOCAL\s+)?[^\s=(]+\."
    rb"|SELECT\s[^;]{0,40}\bset_config\s*\(\s*'[^']*\.)",
    re.IGNORECASE,
)


def sets_untold(statement: bytes) -> bool:
    """Whether a statement makes a setting that :data:`STATE` does not see."""
    return _UNTOLD.match(statement) is not None


def table_of(statement: bytes) -> bytes:
    """The table of which a statement builds an index, as the dump writes it; empty: it does
    something else.
    """
    match = _BUILDS.match(statement) if len(statement) <= _LONGEST else None
    return (match[1] or match[2]) if match else b""


@dataclasses.dataclass
class _Chain:
    """What is still to be built of one table, in the dump's order."""

    bytes: int
    waiting: deque[tuple[int, Statement]] = dataclasses.field(default_factory=deque)
    busy: bool = False


class SideBySide:
    """Sessions for one such row of statements; :meth:`build` is called once.

    :param state: statements that tell a session what the one that loads has been told, in its
        ``client_encoding``, which is ``encoding``.
    :param bytes_of: how many bytes of rows a table has: the largest come first.
    """

    def __init__(
        self,
        settings: Settings,
        database: str,
        effort: Effort,
        state: bytes,
        encoding: str,
        bytes_of: Callable[[bytes], int],
    ) -> None:
        self._settings, self._database, self._effort = settings, database, effort
        self._state, self._encoding, self._bytes_of = state, encoding, bytes_of
        #: what :data:`.early.WRITTEN` has answered, all together
        self.written = b""
        #: by how much this process may grow meanwhile for other reasons, bytes
        self.beside = 0
        #: told when every processor has something to build, and when one has no more
        self.busy: Callable[[bool], object] = bool
        self._chains: dict[bytes, _Chain] = {}
        self._changed = signals.Condition()
        self._unexpected = Carried()
        self._working = 0
        self._failed = self._closed = False

    def build(self, statements: Sequence[Statement]) -> list[Statement]:
        """Build them, and wait until none is being built any more.

        :return: those that are not built, in their order.
        """
        for place, statement in enumerate(statements):
            table = table_of(statement.text)
            chain = self._chains.get(table)
            if chain is None:
                chain = self._chains[table] = _Chain(self._bytes_of(table))
            chain.waiting.append((place, statement))
        wanted = min(self._effort.sessions, len(self._chains))
        threads = [
            threading.Thread(target=self._session, name="index-builder", daemon=True)
            for _ in range(wanted)
        ]
        self._working = wanted
        started = 0
        self.busy(self._effort.is_filled_by(wanted))
        try:
            for thread in threads:
                with signals.hold:
                    thread.start()
                    started += 1
            with self._changed:
                self._changed.wait_for(lambda: not self._working)
        finally:
            self._closed = True
            with signals.hold:
                for thread in threads[:started]:
                    thread.join()
        self._unexpected.check()
        left = [one for chain in self._chains.values() for one in chain.waiting]
        return [statement for _, statement in sorted(left)]

    def _session(self) -> None:
        with self._unexpected:
            try:
                with connect(self._settings, self._database) as connection:
                    self._work(Session(connection, self._look, self.beside))
            except DatabaseError:
                pass  # no room for one more, or it is gone: the others go on
            except Refused:
                self._failed = True
        self.busy(False)
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def _look(self) -> None:
        signals.look()
        if self._closed:
            raise signals.Interrupted("the load has ended")

    def _work(self, session: Session) -> None:
        # by itself: the server reads the whole of a message as it begins
        session.run(b"SET client_encoding TO '%b'" % self._encoding.encode())
        session.run(self._state)
        while batch := self._next():
            helpers = str(self._effort.helpers(self._at_work())).encode()
            session.send(_HELPERS, 0, [helpers])
            session.sync()
            # without BEGIN, what is sent before a sync is one transaction
            for chain in batch:
                for _, statement in self._first(chain):
                    session.send(statement.text, statement.line)
            session.send(early.WRITTEN)
            try:
                written = session.sync()
            except Refused:
                self._failed = True
                raise
            self._built(batch, written)

    def _first(self, chain: _Chain) -> list[tuple[int, Statement]]:
        """What is built of a table at once: of a small one everything."""
        return list(chain.waiting) if chain.bytes <= _SMALL else [chain.waiting[0]]

    def _at_work(self) -> int:
        with self._changed:
            return sum(1 for chain in self._chains.values() if chain.waiting)

    def _next(self) -> list[_Chain]:
        """Tables that nobody is at, the one with most to do first; none: all are, or one failed."""
        with self._changed:
            if self._failed:
                return []
            free = [one for one in self._chains.values() if one.waiting and not one.busy]
            free.sort(key=lambda chain: chain.bytes * len(chain.waiting), reverse=True)
            batch: list[_Chain] = []
            count = 0
            most = min(_MOST_TOGETHER, len(free) // self._effort.sessions)
            for chain in free:
                if batch and (chain.bytes > _SMALL or count >= most):
                    break
                chain.busy = True
                batch.append(chain)
                count += len(self._first(chain))
                if chain.bytes > _SMALL:
                    break
            return batch

    def _built(self, batch: Sequence[_Chain], written: bytes | None) -> None:
        with self._changed:
            self.written += b",%b" % (written or b"")
            for chain in batch:
                for _ in self._first(chain):
                    chain.waiting.popleft()
                chain.busy = False
