"""A second session that loads the rows of some large tables, while the first loads all the rest:
one session has a processor's work with rows alone.

All tables are made by then, and none has an index, a key or a trigger yet, so no order among their
rows is the dump's to give. What may need one after all (a CHECK that reads another table) fails
here or there, and then a new load does them one by one; so the result, and the error, is that of a
load in one session.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from types import TracebackType

from ..errors import BadBackupError, DatabaseError
from ..findings import finding
from ..machine import signals
from ..machine.carried import Carried
from ..settings import Settings
from ..stream.ahead import Ahead
from ..stream.grammar import CopyHeader
from ..stream.guard import Statement
from ..stream.inspector import Inspector, TableFacts
from .load import Comparison, Load
from .ways import AnewError, Way, may_be_of_order
from .wire import Refused

#: bytes of rows that wait to be loaded
_AHEAD = 4 << 20

#: a table's name and its rows, from the COPY statement to their end
Rows = tuple[str, Iterator[bytes]]


class RowsAside:
    """A thread with that session; a context manager, after which it is gone.

    :param tables: whose rows it loads, as :class:`Report` names them.
    :param rows: gives them, table by table; called in that thread.
    :param beside: by how much this process may grow meanwhile for other reasons, bytes.
    """

    def __init__(
        self,
        settings: Settings,
        database: str,
        tables: frozenset[str],
        rows: Callable[[], Generator[Rows, None, None]],
        beside: int,
    ) -> None:
        self.tables = tables
        self._settings, self._database, self._rows, self._beside = settings, database, rows, beside
        self._changed, self._failure = signals.Condition(), Carried()
        self._thread: threading.Thread | None = None
        self._ahead: Ahead | None = None
        self._ended = self._closed = False
        self._passed: dict[str, Inspector] = {}
        self._heard = _Heard()
        self._told, self._encoding = b"", ""

    def __enter__(self) -> RowsAside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with signals.hold:
            self._closed = True
            if ahead := self._ahead:
                ahead.stop()
            if self._thread:
                self._thread.join()

    def begin(self, state: bytes, encoding: str) -> None:
        """All tables are there, and others see them.

        :param state: statements that tell a session what the other one has been told, in its
            ``client_encoding``, which is ``encoding``.
        """
        self._told, self._encoding = state, encoding
        thread = threading.Thread(target=self._work, name="rows-aside", daemon=True)
        with signals.hold:
            thread.start()
            self._thread = thread

    def wait(self) -> Mapping[str, Inspector]:
        """Wait until the rows are in, and committed; what they have passed, by table.

        :raises AnewError: they did not go in; one by one they might.
        :raises DatabaseError: whatever the order, they do not: the disk is full, say.
        :raises BadBackupError: a table is not where the manifest says, or altered.
        :raises StoreError: they did not come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
        self._failure.check()
        return self._passed

    def tell(self, comparison: Comparison) -> None:
        """After :meth:`wait`: what a comparison would have heard of it."""
        for told in self._heard.told:
            told(comparison)

    def _work(self) -> None:
        with self._failure:
            self._load()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _load(self) -> None:
        load = _RowsAlone(
            self._settings,
            self._database,
            comparison=self._heard,
            look=self._look,
            beside=self._beside,
        )
        load.guard.hashes_all = False
        with closing(self._rows()) as tables, _anew_without_one(load):
            load.send(b"SET client_encoding TO '%b'" % self._encoding.encode())
            load.send(self._told)
            for table, chunks in tables:
                load.expected = table
                with closing(Ahead(chunks, _AHEAD)) as self._ahead:
                    for chunk in self._ahead:
                        self._look()
                        load.feed(chunk)
                load.require_end()
                self._passed[table] = load.guard
        if missing := self.tables - self._passed.keys():
            raise _elsewhere(f"the rows of {', '.join(sorted(missing))} are nowhere")

    def _look(self) -> None:
        signals.look()
        if self._closed:
            raise signals.Interrupted("the load has ended")


@contextmanager
def _anew_without_one(load: Load) -> Iterator[None]:
    """:raises AnewError: no session more can be had."""
    with ExitStack() as session:
        try:
            session.enter_context(load)
        except DatabaseError as error:
            raise AnewError(error, Way.ONE_BY_ONE) from None
        yield


class _RowsAlone(Load):
    """Takes rows, and refuses all else. Its errors name no line: it does not see the whole dump.

    :ivar expected: the table whose rows come next; those of others may be on their way elsewhere.
    """

    expected = ""

    def copy(self, header: CopyHeader, text: bytes, line: int) -> None:
        if self.guard.current_table != self.expected:
            raise self._others()
        super().copy(header, text, 0)

    def statement(self, statement: Statement) -> None:
        raise _elsewhere("a statement stands among the rows of a table")

    def transaction(self, begins: bool) -> None:
        raise _elsewhere("a transaction begins or ends among the rows of a table")

    def require_end(self) -> None:
        """Wait until the rows of that table are committed.

        :raises BadBackupError: there were none, or they have no end.
        """
        if not self.guard.current_table:
            self.send(b"SELECT")
        if self.guard.current_table or self._filled[0] != self.expected:
            raise self._others()

    def _others(self) -> BadBackupError:
        return _elsewhere(f"where the rows of {self.expected} should be others are")

    def _explained(self, refused: Refused) -> Exception:
        error = super()._explained(refused)
        if isinstance(error, DatabaseError) and may_be_of_order(refused):
            return AnewError(error, Way.ONE_BY_ONE)
        return error


class _Heard:
    """Remembers what a comparison is told."""

    def __init__(self) -> None:
        self.told = deque[Callable[[Comparison], None]]()

    def offer(self, name: str, facts: TableFacts, identity: bytes, encoding: str) -> None:
        told = name, facts, identity, encoding
        self.told.append(lambda comparison: comparison.offer(*told))

    def indexed(self) -> None:
        self.told.append(lambda comparison: comparison.indexed())

    def hold(self, held: bool) -> None:
        """Whoever loads rows builds nothing aside."""

    def written(self, oids: bytes | None, own: bytes = b"") -> None:
        self.told.append(lambda comparison: comparison.written(oids, own))

    def forget(self) -> None:
        self.told.append(lambda comparison: comparison.forget())

    @property
    def oids(self) -> bytes:
        return b"{}"

    def ended(self, identities: bytes | None) -> None:
        """Whoever is told asks himself."""


def _elsewhere(why: str) -> BadBackupError:
    return BadBackupError(
        f"The backup cannot be read in parts: {why}",
        "Restore another backup: postgres-backup list",
        [finding("MANIFEST_DAMAGED", why)],
    )
