"""Finds in the text of a plain dump what psql would find there: statements, comments, meta commands
and rows.

Whether a line is a COPY header, the end of a dump or somebody's text that only looks like one
depends on everything before it. So the text is read by psql's own rules, byte by byte where they
ask for it and in long strides where they allow it; rows pass without being read at all.

All encodings that a PostgreSQL server may store keep ASCII bytes for ASCII characters, so bytes
suffice. The few that only a client may ask for (SJIS, BIG5, GBK, ...) may hide a backslash in a
character; it matters where a backslash does, in ``E''`` strings and the like.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import grammar
from .grammar import COPY, OTHER, ROUTINE, SETTING, CopyHeader

#: longest statement kept whole, bytes: a COPY header of 1,600 quoted columns has 420 kB
HELD_BYTES = 4 << 20
#: longest name, dollar tag or the like awaited over the end of a buffer, bytes (PostgreSQL's names
#: have 63)
TOKEN_BYTES = 1024
#: longest comment or meta command awaited over the end of a buffer, bytes
LINE_BYTES = 16 << 10
#: a statement's kind is looked for at each of its first so many words, then by so many steps to
#: the double
LOOKS = 16
#: psql passes over this mark at the beginning of a file (src/fe_utils/psqlscan.l does not know it:
#: MainLoop in src/bin/psql/mainloop.c)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTE, _DOLLAR, _BACKSLASH = b"'$\\"
#: what PostgreSQL reads as false (src/backend/utils/adt/bool.c); a setting's other values are true,
#: or refused
_OFF = ("off", "of", "false", "fals", "fal", "fa", "f", "no", "n", "0")


class Scanner:
    """Reads a dump in pieces of any size, and tells by its hooks (the methods that do nothing here)
    what is in it.

    Memory is bounded whatever a dump holds: only a statement's beginning, a COPY or SET statement,
    a comment or a token at the end of a piece is kept.
    """

    #: what is passed over at once
    _COMMON = grammar.COMMON

    def __init__(self) -> None:
        #: bytes fed so far
        self.bytes = 0
        #: the dump's ``client_encoding``, in capitals; empty until it says so
        self.encoding = ""
        self._state: Callable[[bytes, int], int] = self._begin
        self._kept = b""
        self._scanned = 0  # so much of what is kept has been read already
        self._mark = 0  # text before this place of the buffer went through _text
        #: ``standard_conforming_strings``, as far as the dump said so
        self.standard_strings = True
        self._hiding = b""  # bytes that begin a character in which a backslash may hide
        self._open = False  # inside a statement
        self._kind: str | None = None
        self._held = False
        self._head: list[bytes] = []
        self._look_at = 1  # words of a statement at which it is next asked what it is
        self._depth = self._begins = self._nested = 0
        self._blocks = False  # in a routine that is to be read word by word
        self._tag = b""
        self._line_start = True
        self._rows_end = 0  # of the dump's bytes, where the last rows and their end have passed

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes of the dump."""
        data = data if isinstance(data, bytes) else bytes(data)
        self.bytes += len(data)
        buffer = self._kept + data if self._kept else data
        at, self._mark = self._scanned, 0
        while at < len(buffer):
            before, state = at, self._state
            at = self._state(buffer, at)
            if at == before and self._state == state:
                break  # the rest depends on bytes to come
        if not self._held:
            self._flush(buffer, at)
        self._kept, self._scanned = buffer[self._mark :], at - self._mark
        if self._held and len(self._kept) > HELD_BYTES:
            self._problem(
                "STATEMENT_TOO_LONG",
                f"The statement that ends after byte {self.bytes} "
                "begins unlike anything pg_dump writes.",
            )
            self._kind, self._held = OTHER, False

    # hooks

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        """Everything that is not rows, in order, each byte once."""

    def _rows(self, buffer: bytes, start: int, end: int) -> None:
        """Rows of the table of the last ``_copy``."""

    def _comment(self, buffer: bytes, start: int, end: int) -> None:
        """A ``--`` comment between statements, without its line end."""

    def _statement(self, buffer: bytes, start: int) -> None:
        """A statement begins."""

    def _common(self, buffer: bytes, match: re.Match[bytes]) -> None:
        """Whole statements of the kind OTHER (``_COMMON``), for which no other hook is called."""
        self._statement(buffer, match.start())

    def _decided(self, kind: str) -> None:
        """The statement at hand turned out to be of this kind."""

    def _copy(self, header: CopyHeader | None) -> None:
        """A COPY statement is about to end; rows come next where there is a header."""

    def _statement_end(self) -> None:
        """The statement is over."""

    def _copy_end(self) -> None:
        """The rows are over."""

    def _meta(self, buffer: bytes, start: int, end: int) -> None:
        """A backslash where psql takes commands; to the end of the line (``\\;`` and ``\\:``: these
        two bytes).
        """

    def _problem(self, code: str, message: str) -> None:
        """The text breaks a rule that every dump keeps."""

    # the text between and in statements

    def _flush(self, buffer: bytes, end: int) -> None:
        if end > self._mark:
            self._text(buffer, self._mark, end)
            self._mark = end

    def _offset(self, buffer: bytes, place: int) -> int:
        return self.bytes - len(buffer) + place

    @property
    def _strings(self) -> bool | None:
        """Which strings may be passed over, as the keys of ``grammar.STRIDE``."""
        return self.standard_strings or (None if self._hiding else False)

    def reads(self, encoding: str, standard_strings: bool) -> None:
        """How the text is to be read from here on; what the dump itself says comes here too."""
        self.encoding, self.standard_strings = encoding, standard_strings
        self._hiding = grammar.hiding(encoding)

    def _begin(self, buffer: bytes, at: int) -> int:
        if len(buffer) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(buffer):
            return at
        self._state = self._sql
        if buffer.startswith(BYTE_ORDER_MARK):
            self._mark = at = len(BYTE_ORDER_MARK)
        return at

    def _sql(self, buffer: bytes, at: int) -> int:
        size = len(buffer)
        while at < size:
            if not self._open:
                if common := self._COMMON[self._strings].match(buffer, at):
                    self._common(buffer, common)
                    at = common.end()
                    continue
                if above := grammar.ABOVE.match(buffer, at):
                    at = above.end()
                    continue
            elif self._kind is not None and not self._blocks:
                at, wait = self._stride(buffer, at)
                if wait:
                    return at
            match = grammar.TOKEN.match(buffer, at)
            kind, end = match.lastgroup, match.end()  # type: ignore[union-attr]  # any byte is one
            if kind == "space":
                at = end
            elif kind == "comment":
                if end == size and size - at < LINE_BYTES:
                    return at
                if end == size:
                    self._state = self._long_comment
                    return end
                if not self._open:
                    self._comment(buffer, at, end)
                at = end
            elif kind == "backslash":
                end = self._backslash(buffer, at)
                if end == at:
                    return at
                at = end
            elif size - at < TOKEN_BYTES and grammar.UNFINISHED.match(buffer, at):
                return at
            elif kind == "block":
                self._nested, self._state = 1, self._block
                return end
            else:
                at = self._token(buffer, at, end, kind)
                if self._state != self._sql:
                    return at
        return at

    def _stride(self, buffer: bytes, start: int) -> tuple[int, bool]:
        """Pass over what cannot matter; (place, whether to leave it at that for now)."""
        stride = grammar.STRIDE[self._strings].match(buffer, start)
        at = stride.end()  # type: ignore[union-attr]  # it matches nothing too
        if self._kind == ROUTINE and grammar.BLOCK_WORD.search(buffer, start, at):
            self._blocks = True
            return start, False
        before = buffer[max(start, at - TOKEN_BYTES) : at]
        word = before[len(before.rstrip(grammar.WORD_BYTES)) :]
        if at == len(buffer):
            return at - len(word), True  # what comes next may belong to this word
        if buffer[at] == _QUOTE:
            self._state = (
                self._escaped if not self.standard_strings or word in (b"e", b"E") else self._string
            )
            return at + 1, True
        if buffer[at] == _DOLLAR and grammar.NAME_BYTE.search(word):
            in_word = grammar.IN_WORD.match(buffer, at)
            end = in_word.end()  # type: ignore[union-attr]  # it matches nothing too
            if end < len(buffer):
                return end, False
            return (at - len(word) if end - at < TOKEN_BYTES else end), True
        return at, False

    def _token(self, buffer: bytes, at: int, end: int, kind: str | None) -> int:
        """One token of a statement; where to go on."""
        token = buffer[at:end]
        if not self._open:
            if token == b";":
                return end
            self._flush(buffer, at)
            self._open, self._kind, self._held, self._head = True, None, True, []
            self._look_at = 1
            self._depth, self._begins, self._blocks = 0, 0, False
            self._statement(buffer, at)
        if kind == "string":
            self._state = self._string if self.standard_strings and token == b"'" else self._escaped
        elif kind == "name":
            self._state = self._name
        elif kind == "dollar":
            self._tag, self._state = token, self._dollar
        elif kind == "word":
            token = token.upper()
            if self._blocks and self._depth == 0:
                self._count_begins(token)
        elif token == b"(":
            self._depth += 1
        elif token == b")":
            self._depth = max(0, self._depth - 1)
        elif token == b";" and self._depth == 0 and self._begins == 0:
            self._end(buffer, end)
            return end
        if self._kind is None:
            self._head.append(token)
            if len(self._head) >= self._look_at:
                # ever more seldom: each look reads all of it. The end of the statement decides
                self._look_at += 1 + len(self._head) // LOOKS
                self._kind = grammar.classify(self._head)
            if self._kind is not None:
                self._held = self._kind in (COPY, SETTING)
                self._decided(self._kind)
        return end

    def _count_begins(self, word: bytes) -> None:
        """A routine's body may be statements between BEGIN ATOMIC and END; psql counts, and so do
        we.
        """
        if word == b"BEGIN" or (word == b"CASE" and self._begins):
            self._begins += 1
        elif word == b"END" and self._begins:
            self._begins -= 1

    def _end(self, buffer: bytes, end: int) -> None:
        if self._kind is None:
            self._decided(grammar.classify([*self._head, b";"]) or OTHER)
        elif self._kind == COPY:
            header = grammar.read_copy(buffer[self._mark : end])
            self._copy(header)
            if header:
                self._state = self._header_end
        elif self._kind == SETTING and (setting := grammar.read_setting(buffer[self._mark : end])):
            if setting[0] == "client_encoding":
                self.reads(setting[1].upper(), self.standard_strings)
            else:
                self.reads(self.encoding, setting[1].lower() not in _OFF)
        self._flush(buffer, end)
        self._open = self._held = False
        self._statement_end()

    def _backslash(self, buffer: bytes, at: int) -> int:
        """The place behind a meta command; ``at`` itself where its end is still to come."""
        size = len(buffer)
        if buffer[at + 1 : at + 2] in (b";", b":"):
            end = at + 2
        else:
            end = buffer.find(b"\n", at) + 1
            if not end:
                if size - at < LINE_BYTES:
                    return at
                self._problem(
                    "META_COMMAND_TOO_LONG",
                    f"The meta command at byte {self._offset(buffer, at)} "
                    "is longer than any of pg_dump's.",
                )
                end = size
        self._meta(buffer, at, end)
        return end

    # inside something that hides what it holds

    def _string(self, buffer: bytes, at: int) -> int:
        # a doubled quote ends one string and begins another of the same kind
        return self._until(buffer, buffer.find(b"'", at), 1)

    def _name(self, buffer: bytes, at: int) -> int:
        return self._until(buffer, buffer.find(b'"', at), 1)

    def _until(self, buffer: bytes, found: int, width: int) -> int:
        if found < 0:
            return len(buffer)
        self._state = self._sql
        return found + width

    def _escaped(self, buffer: bytes, at: int) -> int:
        edge = grammar.ESCAPE_EDGES[self._hiding]
        while match := edge.search(buffer, at):
            at = match.start()
            if at + 1 == len(buffer):
                return at
            if buffer[at] == _QUOTE and buffer[at + 1] != _QUOTE:
                self._state = self._sql
                return at + 1
            at += 2  # what a backslash or a character's first byte takes with it
        return len(buffer)

    def _dollar(self, buffer: bytes, at: int) -> int:
        found = buffer.find(self._tag, at)
        if found < 0:
            return max(at, len(buffer) - len(self._tag) + 1)
        return self._until(buffer, found, len(self._tag))

    def _block(self, buffer: bytes, at: int) -> int:
        for match in grammar.BLOCK_EDGE.finditer(buffer, at):
            self._nested += 1 if match[0] == b"/*" else -1
            if not self._nested:
                self._state = self._sql
                return match.end()
            at = match.end()
        return max(at, len(buffer) - 1) if buffer[-1] in b"/*" else len(buffer)

    def _long_comment(self, buffer: bytes, at: int) -> int:
        line = buffer.find(b"\n", at)
        returned = buffer.find(b"\r", at, line if line >= 0 else len(buffer))
        return self._until(buffer, returned if returned >= 0 else line, 0)

    # rows

    def _header_end(self, buffer: bytes, at: int) -> int:
        """psql reads rows from the next line on."""
        end = buffer.find(b"\n", at) + 1
        if not end and len(buffer) - at < TOKEN_BYTES:
            return at
        if not end or buffer[at:end].strip():
            self._problem(
                "COPY_HEADER",
                f"Something follows the COPY statement that ends at byte "
                f"{self._offset(buffer, at)} on its line.",
            )
        end = end or len(buffer)
        self._flush(buffer, end)
        self._state, self._line_start = self._copy_rows, True
        return end

    def _copy_rows(self, buffer: bytes, at: int) -> int:
        size = len(buffer)
        if self._line_start:
            if match := grammar.ROWS_END.match(buffer, at):
                self._rows_end = self._offset(buffer, match.end())
                return self._rows_over(at, match.end())
            if b"\\.\r\n".startswith(buffer[at : at + 4]) and size - at < 4:
                self._mark = at
                return at
        end, match = size, None
        backslash = buffer.find(b"\\", at)  # at memory speed where there is none
        if backslash >= 0:
            match = grammar.ROW_AND_END.search(buffer, max(at, backslash - 1))
        if match:
            end = match.start() + 1
        else:
            newline = buffer.rfind(b"\n", max(at, size - 4))
            self._line_start = newline >= 0 and b"\\.\r\n".startswith(buffer[newline + 1 :])
            if self._line_start:
                end = newline + 1  # the end's own line may be beginning
        self._rows(buffer, at, end)
        self._mark = end
        if match:
            self._rows_end = self._offset(buffer, match.end())
            return self._rows_over(end, match.end())
        return end

    def _rows_over(self, start: int, end: int) -> int:
        self._mark, self._state = start, self._sql
        self._copy_end()
        return end
