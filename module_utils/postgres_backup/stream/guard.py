"""Cuts a dump into what a server is given one by one, and lets nothing in it leave the database
that is being loaded.

Scripts often dump with ``pg_dump --create`` or ``--clean``: such a dump drops and makes the live
database itself, whichever database it is loaded into. And psql, for which dumps are written, runs
programs and reads files where a dump says so by a backslash (CVE-2025-8714: an owner of objects
could make pg_dump write such lines). Here such a line has no meaning; it is refused.
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple, Protocol

from ..errors import BadBackupError
from ..findings import finding
from . import grammar
from .grammar import CLUSTER, COPY, DATABASE, TRANSACTION_WORDS, CopyHeader
from .inspector import Inspector
from .other_tools import HINTS

#: longest statement, bytes
STATEMENT_BYTES = 64 << 20
#: of a database with an odd name pg_dump makes ``\connect -reuse-previous=on "dbname='odd
#: ""name""'"``, and ``\encoding SQL_ASCII`` before it (appendPsqlMetaConnect in
#: src/fe_utils/string_utils.c)
_CONNECT = re.compile(rb"\\c(?:onnect)?[ \t]+(?=[^ \t])((?:[^\\\"\n]|\"[^\"\n]*\")+)")
_ENCODING = re.compile(rb"\\encoding SQL_ASCII")
#: findings after which what follows cannot be trusted to be what it looks like
_FATAL = ("STATEMENT_TOO_LONG", "META_COMMAND_TOO_LONG", "COPY_HEADER", "SEVERAL_DUMPS")


class Statement(NamedTuple):
    """A statement of a dump, its semicolon included."""

    text: bytes
    #: in which line of the dump it begins, from 1
    line: int


class Sink(Protocol):
    """Who takes what a dump is made of, in order."""

    def statement(self, statement: Statement) -> None:
        """A statement to be executed."""

    def transaction(self, begins: bool) -> None:
        """The dump begins a transaction of its own, or commits it."""

    def copy(self, header: CopyHeader, text: bytes, line: int) -> None:
        """Rows of a table come next, for a COPY statement of this text."""

    def rows(self, data: bytes) -> None:
        """Rows of that table, cut anywhere."""

    def copy_end(self) -> None:
        """That were all of its rows."""


class Guard(Inspector):
    """An inspector that hands on what may be executed, statement by statement.

    Left out: statements about a database as a whole (CREATE, DROP, ALTER, COMMENT ON, GRANT and
    REVOKE ON DATABASE), ``\\connect`` and ``\\restrict``. Refused: every other meta command, COPY
    from or to anywhere but the dump, statements about what all databases of a server share (roles,
    tablespaces, memberships, ALTER SYSTEM), and what would end the transaction that a load runs in.
    What functions do when the dump itself calls them is their owner's business: load with that
    owner's rights, not a superuser's.

    A statement is handed on once it was read to its end. Whether the server finds its end where
    this reader did does not matter: it takes one statement at a time, and refuses two.

    :raises BadBackupError: from :meth:`feed`: the dump holds something that must not be executed;
        nothing from there on was handed on.
    """

    _COMMON = grammar.COMMON_STATEMENT

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._collected: io.BytesIO | None = None
        self._lines = 0  # line ends that have passed
        self._line = 0  # in which the statement at hand begins
        self._dropping = False
        self._copied: CopyHeader | None = None
        self._connected = b""

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        super()._text(buffer, start, end)
        self._lines += buffer.count(b"\n", start, end)
        nul = buffer.find(b"\0", start, end)
        if nul >= 0:
            raise _refusal("NUL_BYTE", f"byte {self._offset(buffer, nul)} of the text is a NUL")
        if self._collected is not None and not self._dropping:
            self._collected.write(memoryview(buffer)[start:end])
            if self._collected.tell() > STATEMENT_BYTES:
                raise _refusal(
                    "STATEMENT_TOO_LARGE",
                    f"the statement in line {self._line} is longer than "
                    f"{STATEMENT_BYTES >> 20} MiB",
                )

    def _aside(self, buffer: bytes, start: int, end: int) -> None:
        super()._aside(buffer, start, end)
        self._lines += buffer.count(b"\n", start, end)

    def _rows(self, buffer: bytes, start: int, end: int) -> None:
        before = self._table.rows
        super()._rows(buffer, start, end)
        self._lines += self._table.rows - before
        if end > start:
            self._sink.rows(buffer if end - start == len(buffer) else buffer[start:end])

    def passed_elsewhere(self, table: str, other: Inspector) -> None:
        super().passed_elsewhere(table, other)
        self._lines += self._table.rows

    def _statement(self, buffer: bytes, start: int) -> None:
        super()._statement(buffer, start)
        self._collected, self._line = io.BytesIO(), self._lines + 1

    def _common(self, buffer: bytes, match: re.Match[bytes]) -> None:
        super()._statement(buffer, match.start())
        line = self._lines + 1 + buffer.count(b"\n", self._mark, match.start(1))
        self._flush(buffer, match.end())
        self._sink.statement(Statement(match[1], line))

    def _decided(self, kind: str) -> None:
        super()._decided(kind)
        self._dropping = kind == DATABASE
        if kind == CLUSTER:
            raise _refusal(
                "FOREIGN_STATEMENT",
                f"the statement at byte {self._statement_at} concerns every database "
                "of the server, not this one",
            )

    def _copy(self, header: CopyHeader | None) -> None:
        if header is None or grammar.compose_copy(header) is None:
            raise _refusal(
                "FOREIGN_STATEMENT",
                f"the statement at byte {self._statement_at} copies from or to somewhere else "
                "than the dump",
            )
        super()._copy(header)
        self._copied = header

    def _statement_end(self) -> None:
        collected, self._collected = self._collected, None
        dropping, self._dropping = self._dropping, False
        if dropping or collected is None:
            return
        if self._kind == COPY and self._copied is not None:
            # composed anew of the names alone: no comment in it can hide where it copies from
            text = grammar.compose_copy(self._copied) or b""
            self._sink.copy(self._copied, text, self._line)
        elif self._head[0] in TRANSACTION_WORDS:
            self._control(collected.getvalue())
        else:
            self._sink.statement(Statement(collected.getvalue(), self._line))

    def _control(self, text: bytes) -> None:
        begins = grammar.read_transaction(text)
        if begins is None:
            raise _refusal(
                "TRANSACTION_STATEMENT",
                f"the {self._head[0].decode()} in line {self._line} would end the transaction "
                "that the dump is loaded in",
            )
        self._sink.transaction(begins)

    def _copy_end(self) -> None:
        super()._copy_end()
        self._sink.copy_end()

    def _comment(self, buffer: bytes, start: int, end: int) -> None:
        super()._comment(buffer, start, end)
        if self._cluster:
            raise BadBackupError(
                "Failed to load the dump: it holds a whole server, not one database",
                HINTS["CLUSTER_DUMP"],
                [finding("CLUSTER_DUMP", "The dump was made by pg_dumpall.")],
            )

    def _command(self, buffer: bytes, start: int, end: int) -> None:
        said = buffer[start:end].rstrip()
        connect = _CONNECT.fullmatch(said)
        if self._open or not (connect or _ENCODING.fullmatch(said)):
            raise _refusal(
                "META_COMMAND",
                f"the psql command at byte {self._offset(buffer, start)} is none of pg_dump's",
            )
        if connect and self._connected not in (b"", connect[1]):
            raise _refusal(
                "SEVERAL_DATABASES",
                f"at byte {self._offset(buffer, start)} a second database begins",
            )
        self._connected = connect[1] if connect else self._connected

    def _problem(self, code: str, message: str) -> None:
        super()._problem(code, message)
        if code in _FATAL:
            raise _refusal(code, message[0].lower() + message[1:].rstrip("."))


def _refusal(code: str, cause: str) -> BadBackupError:
    message = f"Failed to load the dump: {cause}"
    hint = HINTS.get(code) or (
        "Nothing of it was passed on from there. Look at that place of the dump; "
        "if you trust it, load it by hand into a server of its own."
    )
    return BadBackupError(message, hint, [finding(code, cause[0].upper() + cause[1:] + ".")])
