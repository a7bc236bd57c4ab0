"""What a plain dump holds, learned while it passes: rows and hashes per table, and whether it is
whole.

One inspector serves backup, verify, restore and drill: what counted the rows on the way out counts
them on the way in. A plain dump cut in the middle of its rows loads without a word (psql takes the
end of its input for the end of the rows), so nothing but this look tells a whole backup from a part
of one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from ..findings import Finding, finding
from .any_order import AnyOrder
from .frame import Frame
from .grammar import LARGE_OBJECT, CopyHeader
from .scanner import TOKEN_BYTES, Scanner

_HEADERS = (b"-- PostgreSQL database dump", b"-- PostgreSQL database cluster dump")
_TRAILERS = tuple(header + b" complete" for header in _HEADERS)
#: what pg_dump writes last (RestoreArchive in src/bin/pg_dump/pg_backup_archiver.c);
#: ``\unrestrict`` since the minor releases of August 2025 (CVE-2025-8714)
_CLOSING = re.compile(
    rb"-- PostgreSQL database (?:cluster )?dump complete\r?\n--\r?\n\r?\n"
    rb"(\\unrestrict \S+\r?\n\r?\n)?"
)
_RESTRICT = re.compile(rb"\\(un)?restrict ([A-Za-z0-9]+)\s*")
_VERSIONS = (b"-- Dumped from database version ", b"-- Dumped by pg_dump version ")
#: comments that differ between two dumps of the same data; the last two are of ``pg_dump
#: --verbose``
_VARIES = (*_VERSIONS, b"-- Started on ", b"-- Completed on ")
#: how the line above an object begins, behind the end of the line before
_OBJECT = b"\n-- Name: "
#: what makes something, or fills the table that it names: which of both comes first
_MAKES_OR_FILLS = re.compile(
    rb'CREATE |^INSERT INTO ((?:"[^"]{1,300}"|[^\s"(]){1,300})[ (]', re.MULTILINE
)
#: so much of a line is kept until its end comes, bytes: more than the longest that names a routine
#: with its hundred arguments
_LINE_BYTES = 65_536
#: so much is kept of what follows the trailer, bytes
_TAIL_BYTES = 1024

#: Python's names of the encodings that PostgreSQL has and Python knows by another name
_CODECS = {
    "ALT": "cp866",
    "EUC_CN": "gb2312",
    "EUC_JIS_2004": "euc_jis_2004",
    "JOHAB": "johab",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    "SHIFT_JIS_2004": "shift_jis_2004",
    "SJIS": "cp932",
    "UHC": "cp949",
    "UTF8": "utf-8",
    "WIN": "cp1251",
    **{
        f"LATIN{number}": f"iso8859_{part}"
        for number, part in zip(range(1, 11), (1, 2, 3, 4, 9, 10, 13, 14, 15, 16), strict=True)
    },
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
}
_SAME_IN_PYTHON = (
    "BIG5",
    "EUC_JP",
    "EUC_KR",
    "GB18030",
    "GBK",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
)


def _first_made(buffer: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """What ``_MAKES_OR_FILLS`` finds first; where there is nothing of it, at memory speed."""
    places = (buffer.find(begins, start, end) for begins in (b"CREATE ", b"INSERT INTO "))
    first = min((place for place in places if place >= 0), default=-1)
    return None if first < 0 else _MAKES_OR_FILLS.search(buffer, first, end)


@dataclass(frozen=True)
class TableFacts:
    """The rows of one table as dumped.

    :ivar rows: how many.
    :ivar bytes: their size in the dump.
    :ivar sha256: of the lines between the COPY statement and ``\\.``, line ends included: what
        ``COPY <table> (<columns>) TO STDOUT`` gives in the session settings of pg_dump.
    :ivar columns: as written in the COPY statement, joined by ``", "``; empty for a table without
        columns.
    :ivar any_order: of the same lines in whatever order, where that was asked for; else empty.
    """

    rows: int
    bytes: int
    sha256: str
    columns: str
    any_order: str = ""


@dataclass(frozen=True)
class Report:
    """What a dump held.

    :ivar tables: by name as the COPY statement writes it, e.g. ``public."My table"``. A table that
        is copied in several parts (``--load-via-partition-root``) counts as one; rows by INSERT are
        not counted.
    :ivar large_objects: how many have contents in the dump.
    :ivar sha256: of every byte; empty where nobody asked for that.
    :ivar schema_sha256: of everything that is not rows, without the ``\\restrict`` and
        ``\\unrestrict`` lines and the comments that name versions and times. Contents of large
        objects and INSERT statements belong to it.
    :ivar frame_sha256: of the same without the entries that hold rows, where that was asked for;
        else empty.
    :ivar objects: a hash of which objects there are: name, kind, schema and owner of each as
        pg_dump writes them above it, in whatever order. Every version writes these alike.
    :ivar bytes: size of the dump.
    :ivar server_version: of the server it was taken from, e.g. ``16.14``; empty where the dump does
        not say.
    :ivar program_version: of the pg_dump that took it, likewise.
    :ivar findings: what is wrong; empty when the dump is whole.
    """

    tables: dict[str, TableFacts]
    large_objects: int
    sha256: str
    schema_sha256: str
    bytes: int
    server_version: str = ""
    program_version: str = ""
    objects: str = ""
    frame_sha256: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the dump is whole: it begins as one, and ends with the trailer, outside of
        everything, and nothing behind.
        """
        return not self.findings

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())


class _Table:
    """The facts of a table while its rows pass."""

    def __init__(self, columns: str) -> None:
        self.columns, self.rows, self.bytes, self.hash = columns, 0, 0, hashlib.sha256()
        self.any_order: AnyOrder | None = None

    def facts(self) -> TableFacts:
        any_order = self.any_order.hexdigest() if self.any_order else ""
        return TableFacts(self.rows, self.bytes, self.hash.hexdigest(), self.columns, any_order)


class Inspector(Scanner):
    """Feed it a dump, ask it for the :class:`Report`.

    ::

        inspector = Inspector()
        for piece in dump:
            inspector.feed(piece)
        report = inspector.finish()
    """

    def __init__(self) -> None:
        super().__init__()
        #: the table whose rows are passing, else empty
        self.current_table = ""
        #: whether every byte is hashed, for the report's ``sha256``
        self.hashes_all = True
        #: tables whose rows are hashed in any order too
        self.unordered: frozenset[str] = frozenset()
        #: hashes what is not of tables' rows; None: nobody asks for that
        self.frame: Frame | None = None
        #: tables that are worth to be read alone, and where their rows begin (the table's name) and
        #: have ended (empty), in the dump's bytes
        self.large: frozenset[str] = frozenset()
        self.cuts: list[tuple[int, str]] = []
        #: the first table whose rows come before anything is made: a dump of rows alone
        self.rows_alone = ""
        self._makes, self._before = False, b""
        self._tables: dict[str, _Table] = {}
        self._table = _Table("")
        self._large_objects = 0
        self._whole, self._schema = hashlib.sha256(), hashlib.sha256()
        self._versions: dict[bytes, str] = {}
        self._objects, self._line_begun = AnyOrder(), b"\n"
        self._findings: list[Finding] = []
        self._header = self._cluster = False
        self._restricted = b""
        self._statement_at = 0
        self._trailer = self._trailer_is_new = self._behind = False
        self._tail = b""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        data = data if isinstance(data, bytes) else bytes(data)
        if self.hashes_all:
            self._whole.update(data)
        self._trailer_is_new = False
        super().feed(data)
        if self._trailer and not self._trailer_is_new and len(self._tail) < _TAIL_BYTES:
            self._tail += data[:_TAIL_BYTES]

    @property
    def server_major(self) -> int:
        """The major that the dump says to be of, such as 16; 0 where it does not, or not yet."""
        digits = re.match("[0-9]+", self._versions.get(_VERSIONS[0], ""))
        return int(digits[0]) if digits else 0

    def finish(self) -> Report:
        """The dump is over: what it held, and what is wrong with it."""
        rest = self._kept[self._scanned :]
        if self._state in (self._copy_rows, self._header_end):
            self._problem(
                "COPY_UNFINISHED",
                f"The dump ends in the middle of the rows of {self.current_table}.",
            )
        elif (
            self._open
            or self._state not in (self._sql, self._begin)
            or (rest.strip() and not rest.startswith(b"--"))
        ):
            begin = self._statement_at if self._open else self.bytes - len(rest)
            # psql counts BEGIN and END in CREATE FUNCTION without a look at ATOMIC, so it cannot
            # load such a dump either (tried on 15, 16 and 18)
            why = (
                " (psql cannot load a routine whose name or schema is begin: rename it)"
                if self._begins
                else ""
            )
            self._problem(
                "STATEMENT_UNFINISHED",
                f"The dump ends inside the statement that begins at byte {begin}{why}.",
            )
        (self._rows if self._state == self._copy_rows else self._text)(
            self._kept, 0, len(self._kept)
        )
        self._look_at_the_end()
        tables = {name: table.facts() for name, table in self._tables.items()}
        server, program = (self._versions.get(comment, "") for comment in _VERSIONS)
        return Report(
            tables,
            self._large_objects,
            self._whole.hexdigest() if self.hashes_all else "",
            self._schema.hexdigest(),
            self.bytes,
            server,
            program,
            self._objects.hexdigest(),
            self.frame.hexdigest() if self.frame else "",
            list(self._findings),
        )

    def _look_at_the_end(self) -> None:
        if not self._header:
            self._problem(
                "HEADER_MISSING",
                f'The line "{_HEADERS[0].decode()}" is missing: '
                "this is no plain dump, or its beginning is lost.",
            )
        if self._cluster:
            self._problem("CLUSTER_DUMP", "It holds a whole server, not one database.")
        if self._trailer:
            closing = _CLOSING.match(self._tail)
            if (
                not closing
                or self._restricted
                or (b"\n\\unrestrict" in self._tail and not closing[1])
            ):
                self._problem("TRAILER_CUT", "The dump ends within its last lines.")
        elif self._behind:
            self._problem("TRAILER_NOT_LAST", "Something follows the line that ends a dump.")
        else:
            self._problem(
                "TRAILER_MISSING",
                f'The line "{_TRAILERS[self._cluster].decode()}" is missing: the dump was cut.',
            )

    def bytes_of(self, table: bytes) -> int:
        """How many bytes of rows a table has had so far.

        :param table: as the dump writes it.
        """
        found = self._tables.get(self.decode(table))
        return found.bytes if found else 0

    def facts_of(self, table: str) -> TableFacts:
        """The rows that a table has had so far, by its name as in :class:`Report`."""
        return self._tables[table].facts()

    def passed_elsewhere(self, table: str, other: Inspector) -> None:
        """The rows of a table, of which only the statement before them and their end came here,
        have passed another inspector.

        :raises KeyError: they have not, or the table did not come here.
        """
        assert not self._tables[table].rows
        self._table = self._tables[table] = other._tables[table]
        self.bytes += self._table.bytes

    def decode(self, name: bytes) -> str:
        """Bytes of the dump, or of a server that answers in its encoding, as text."""
        codec = _CODECS.get(self.encoding) or (
            self.encoding if self.encoding in _SAME_IN_PYTHON else "utf-8"
        )
        return name.decode(codec, "backslashreplace")

    def _problem(self, code: str, message: str) -> None:
        self._findings.append(finding(code, message))

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        self._schema.update(memoryview(buffer)[start:end])
        if self.frame:
            self.frame.update(memoryview(buffer)[start:end])
        self._note_objects(buffer, start, end)
        if not (self._makes or self.rows_alone):
            edge = self._before + buffer[start : min(end, start + TOKEN_BYTES)]
            if first := _first_made(edge, 0, len(edge)) or _first_made(buffer, start, end):
                self._makes = first[1] is None
                self.rows_alone = self.decode(first[1] or b"")
            self._before = (edge + buffer[max(start + TOKEN_BYTES, end - TOKEN_BYTES) : end])[
                -TOKEN_BYTES:
            ]

    def _note_objects(self, buffer: bytes, start: int, end: int) -> None:
        """Lines of their own above each object; a line that is cut waits for its rest."""
        stop = buffer.find(b"\n", start, end)
        begun = self._line_begun
        begun += buffer[start : min(end if stop < 0 else stop, start + _LINE_BYTES - len(begun))]
        if stop < 0:
            self._line_begun = begun
            return
        if begun.startswith(_OBJECT):
            self._note_object(begun)
        at = buffer.find(_OBJECT, stop, end)
        while at >= 0 and (stop := buffer.find(b"\n", at + 1, end)) >= 0:
            self._note_object(buffer[at : min(stop, at + _LINE_BYTES)])
            at = buffer.find(_OBJECT, stop, end)
        rest = buffer.rfind(b"\n", start, end)
        self._line_begun = buffer[rest : min(end, rest + _LINE_BYTES)]

    def _note_object(self, line: bytes) -> None:
        self._objects.update(line[1:] + b"\n")

    def _aside(self, buffer: bytes, start: int, end: int) -> None:
        """Text that is not of the schema."""
        self._flush(buffer, start)
        self._mark = end

    def _rows(self, buffer: bytes, start: int, end: int) -> None:
        self._table.hash.update(memoryview(buffer)[start:end])
        if self._table.any_order:
            self._table.any_order.update(memoryview(buffer)[start:end])
        self._table.rows += buffer.count(b"\n", start, end)
        self._table.bytes += end - start

    def _copy(self, header: CopyHeader | None) -> None:
        if header:
            self.current_table = self.decode(header.table)
            if not (self._makes or self.rows_alone):
                self.rows_alone = self.current_table
            self._table = self._tables.setdefault(
                self.current_table, _Table(self.decode(header.columns))
            )
            if self.current_table in self.large:
                self.cuts.append((self._statement_at, self.current_table))
            if self.current_table in self.unordered:
                self.in_any_order()

    def in_any_order(self, passed: bytes = b"") -> None:
        """Hash the rows of the table that passes in any order too.

        :param passed: those that have passed already.
        """
        if not self._table.any_order:
            self._table.any_order = AnyOrder()
            self._table.any_order.update(passed)

    def _copy_end(self) -> None:
        if self.current_table in self.large:
            self.cuts.append((self._rows_end, ""))
        self.current_table = ""

    def _statement(self, buffer: bytes, start: int) -> None:
        self._statement_at = self._offset(buffer, start)
        self._goes_on()

    def _goes_on(self) -> None:
        """Whatever was taken for the end was not."""
        self._behind, self._trailer, self._tail = self._behind or self._trailer, False, b""

    def _decided(self, kind: str) -> None:
        self._large_objects += kind == LARGE_OBJECT

    def _comment(self, buffer: bytes, start: int, end: int) -> None:
        text = buffer[start:end]
        if text in _HEADERS:
            if self._header and text == _HEADERS[0] and not self._cluster:
                self._problem("SEVERAL_DUMPS", "It holds several dumps, one behind the other.")
            self._header = True
            self._cluster = self._cluster or text == _HEADERS[1]
        elif text == _TRAILERS[self._cluster]:
            self._trailer = self._trailer_is_new = True
            self._tail = buffer[start : start + _TAIL_BYTES]
        elif text.startswith(_VARIES):
            for comment in _VERSIONS:
                if text.startswith(comment):
                    self._versions.setdefault(
                        comment, text[len(comment) :].split(b" ")[0].decode("ascii", "replace")
                    )
            self._aside(buffer, start, end)

    def _meta(self, buffer: bytes, start: int, end: int) -> None:
        match = _RESTRICT.fullmatch(buffer, start, end)
        if not match or self._open:
            self._goes_on()
            self._command(buffer, start, end)
            return
        if not match[1]:
            self._goes_on()
            self._restricted = match[2]
        elif match[2] == self._restricted:
            self._restricted = b""
        self._aside(buffer, start, end)

    def _command(self, buffer: bytes, start: int, end: int) -> None:
        """A meta command other than ``\\restrict`` and ``\\unrestrict``."""
