"""Statements and rows to the server, at the level of libpq: bytes as they are, in whatever encoding
they are, many on their way at once, and never a wait that a signal cannot end.

Each statement travels in a message of its own by the extended protocol, in which the server takes
one command and refuses two. psycopg's cursors would need Python's codec of every client_encoding.
"""

from __future__ import annotations

import os
import re
import select
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus

from ..machine import signals

#: so much is handed to libpq before a look whether it went out, bytes
_WINDOW = 64 << 10
#: by how much this process may grow while it waits for an answer, bytes: more than for any of
#: pg_dump's statements
_ANSWER_BYTES = 48 << 20
#: so much of a statement is kept to find the line of an error in it, bytes
_KEPT = 64 << 10
#: milliseconds after which a wait looks whether it should end
_LOOK = 200
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)
_IN, _OUT = select.POLLIN, select.POLLOUT


class Refused(Exception):
    """The server refused a statement, or is gone.

    :ivar sqlstate: of PostgreSQL's error codes; empty where the connection broke.
    :ivar message: the server's, one line, in the session's client_encoding.
    :ivar detail: the server's detail and hint; it may hold rows.
    :ivar line: of the dump, where the statement begins, or the place in it that is wrong; 0: the
        statement is none of the dump's.
    :ivar copied: it was a row that was refused.
    :ivar inside: what was refused stands in a function.
    """

    def __init__(
        self,
        message: bytes,
        sqlstate: str = "",
        detail: bytes = b"",
        line: int = 0,
        copied: bool = False,
        inside: bool = False,
    ) -> None:
        super().__init__(message.decode("utf-8", "replace"))
        self.message, self.sqlstate, self.detail, self.line = message, sqlstate, detail, line
        self.copied, self.inside = copied, inside


class _Sent(NamedTuple):
    line: int
    text: bytes


class Session:
    """One connection that is loaded through. Everything here is called by one thread at a time.

    :param connection: not used otherwise meanwhile.
    :param look: called while it waits, several times a second; what it raises ends the wait.
    :param beside: by how much this process may grow meanwhile for other reasons, bytes.
    :raises Refused: from every method.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        look: Callable[[], None] = signals.look,
        beside: int = 0,
    ) -> None:
        self._look, self._most_growth = look, _ANSWER_BYTES + beside
        self._connection = connection
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        # what the server only remarks is dropped, however much it is
        self._pg.notice_handler = None
        self._poll = select.poll()
        self._sent: deque[_Sent] = deque()
        self._unsent = 0
        self._synced = True
        self._refused: Refused | None = None
        self._value: bytes | None = None
        self._pg.enter_pipeline_mode()

    # statements

    def send(self, text: bytes, line: int = 0, values: list[bytes | None] | None = None) -> None:
        """A statement on its way; how it went shows at the next :meth:`sync`.

        :param line: where it begins in the dump.
        :param values: of its parameters, as text.
        """
        try:
            self._pg.send_query_params(text, values)
            self._sent.append(_Sent(line, text if len(text) <= _KEPT else b""))
            self._unsent += len(text)
            if self._unsent >= _WINDOW:
                self._push()
        except psycopg.OperationalError as error:
            raise self._lost(error) from None

    def sync(self) -> bytes | None:
        """Wait until everything that was sent is done; the first column of the last row, as text.

        A session in which a statement failed can go on: the server has passed over what followed.

        :raises Refused: the first statement that failed.
        """
        self._value, self._synced = None, False
        try:
            self._pg.pipeline_sync()
            self._push()
            before = _resident()
            while not self._synced:
                while not self._synced and not self._pg.is_busy():
                    self._take()
                if not self._synced:
                    self._wait(_IN)
                    self._pg.consume_input()
                    if _resident() - before > self._most_growth:
                        raise self._too_much()
        except psycopg.OperationalError as error:
            raise self._lost(error) from None
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused
        return self._value

    def run(self, text: bytes) -> None:
        """Statements of our own, one behind the other, and wait for them."""
        self.sync()
        try:
            self._pg.exit_pipeline_mode()
            self._pg.send_query(text)
            self._drain()
            self._results(_Sent(0, b""), _GOOD)
            self._pg.enter_pipeline_mode()
        except psycopg.OperationalError as error:
            raise self._lost(error) from None

    @property
    def in_transaction(self) -> bool:
        """After :meth:`sync`: a transaction is open, and nothing in it failed."""
        return self._pg.transaction_status == TransactionStatus.INTRANS

    @property
    def idle(self) -> bool:
        """After :meth:`sync`: no transaction is open."""
        return self._pg.transaction_status == TransactionStatus.IDLE

    def reported(self, name: str) -> str:
        """After :meth:`sync`: one of the settings that the server reports by itself."""
        return (self._pg.parameter_status(name.encode()) or b"").decode("ascii", "replace")

    # rows

    def copy(self, text: bytes, line: int) -> None:
        """Begin to copy rows in: ``COPY ... FROM stdin``."""
        self.sync()
        self._copied = _Sent(line, text)
        try:
            self._pg.exit_pipeline_mode()
            self._pg.send_query_params(text, None)
            self._drain()
            self._results(self._copied, (ExecStatus.COPY_IN,), one=True)
        except psycopg.OperationalError as error:
            raise self._lost(error, self._copied) from None

    def rows(self, data: bytes) -> None:
        """Rows, cut anywhere."""
        try:
            while not self._pg.put_copy_data(data):
                self._wait(_OUT)
            self._drain()
        except psycopg.OperationalError as error:
            raise self._lost(error, self._copied) from None

    def copy_end(self) -> None:
        """That were all; wait until the server has them."""
        try:
            while not self._pg.put_copy_end():
                self._wait(_OUT)
            self._drain()
            self._results(self._copied, _GOOD)
            self._pg.enter_pipeline_mode()
        except psycopg.OperationalError as error:
            raise self._lost(error, self._copied) from None

    # below

    def _push(self) -> None:
        self._unsent = 0
        while self._pg.flush():
            if self._wait(_IN | _OUT) & ~_OUT:
                self._pg.consume_input()
                while (self._sent or not self._synced) and not self._pg.is_busy():
                    self._take()

    def _drain(self) -> None:
        while self._pg.flush():
            if self._wait(_IN | _OUT) & ~_OUT:
                self._pg.consume_input()

    def _wait(self, events: int) -> int:
        self._poll.register(self._pg.socket, events)
        while not (ready := self._poll.poll(_LOOK)):
            self._look()
        return ready[0][1]

    def _too_much(self) -> Refused:
        line = self._sent[0].line if self._sent else 0
        return Refused(b"the statement returns more than any of pg_dump's", "54000", line=line)

    def _take(self) -> None:
        """The next result in the pipeline, which is there."""
        result = self._pg.get_result()
        if result is None:
            if self._sent:
                self._sent.popleft()
            return
        if result.status == ExecStatus.PIPELINE_SYNC:
            self._synced = True
        elif result.status in _GOOD:
            self._value = result.get_value(0, 0) if result.ntuples and result.nfields else None
        elif self._refused is None and result.status != ExecStatus.PIPELINE_ABORTED:
            self._refused = _refused(result, self._sent[0] if self._sent else _Sent(0, b""))

    def _results(self, sent: _Sent, wanted: tuple[ExecStatus, ...], one: bool = False) -> None:
        """Outside of a pipeline: all results of a statement, or one."""
        while True:
            while self._pg.is_busy():
                self._wait(_IN)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                return
            if result.status not in wanted:
                raise _refused(result, sent)
            if one:
                return

    def _lost(self, error: psycopg.OperationalError, sent: _Sent | None = None) -> Refused:
        """Why libpq takes nothing more: what the server said last, where it said something."""
        sent = sent or (self._sent[0] if self._sent else _Sent(0, b""))
        if self._refused is not None:
            return self._refused
        for _ in range(len(self._sent) * 2 + 3):
            result = None if self._pg.is_busy() else self._pg.get_result()
            if result is not None and result.status == ExecStatus.FATAL_ERROR:
                return _refused(result, sent)
        return Refused(_first_line(str(error).encode()), "", b"", sent.line)


def _refused(result: psycopg.pq.abc.PGresult, sent: _Sent) -> Refused:
    def said(field: DiagnosticField) -> bytes:
        return result.error_field(field) or b""

    message = said(DiagnosticField.MESSAGE_PRIMARY) or _first_line(result.error_message)
    if result.status != ExecStatus.FATAL_ERROR:
        message = b"the server took it for another kind of statement"
    line = sent.line
    position = said(DiagnosticField.STATEMENT_POSITION)
    if line and position.isdigit():
        before = sent.text.decode("utf-8", "replace")[: int(position) - 1]
        line += before.count("\n")
    context = said(DiagnosticField.CONTEXT).splitlines()
    rows = [around for around in context if around.startswith(b"COPY ")]
    copied = re.match(rb"COPY .+, line (\d+)", rows[0]) if rows else None
    if line and copied:
        line += sent.text.count(b"\n") + int(copied[1])
    sqlstate = said(DiagnosticField.SQLSTATE).decode("ascii", "replace")
    detail = said(DiagnosticField.MESSAGE_DETAIL) + b" " + said(DiagnosticField.MESSAGE_HINT)
    # SQL functions are named by their text; others by what surrounds them
    inside = bool(said(DiagnosticField.INTERNAL_QUERY)) or len(context) > len(rows)
    return Refused(message, sqlstate, detail, line, bool(rows), inside)


def _resident() -> int:
    """How much memory this process has, bytes."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _first_line(text: bytes) -> bytes:
    return next((line.strip() for line in text.splitlines() if line.strip()), b"no reason given")
