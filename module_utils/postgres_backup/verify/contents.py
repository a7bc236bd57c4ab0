"""What a dump itself says of where it comes from: the databases that it names, and its tables."""

from __future__ import annotations

import re

from ..stream.grammar import DATABASE
from ..stream.inspector import Inspector
from ..stream.other_tools import MAGIC

_NAME = rb'("(?:[^"]|"")+"|[\w$\x80-\xff]+)'
#: CREATE, DROP, ALTER DATABASE; COMMENT ON, GRANT ... ON DATABASE; ALTER ROLE ... IN DATABASE
_STATEMENT = re.compile(rb"\bDATABASE\s+(?:IF\s+EXISTS\s+)?" + _NAME, re.IGNORECASE)
#: a name, or for an odd one ``-reuse-previous=on "dbname='odd \\'name'"``
_CONNECT = re.compile(rb"\\c(?:onnect)?\s+(?:-\S+\s+)?(.+?)\s*")
_CONNINFO = re.compile(rb"dbname='((?:[^'\\]|\\.)*)'")
#: rows by INSERT have no COPY that names their table
_TABLE = re.compile(
    rb"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(" + _NAME + rb"(?:\." + _NAME + rb")?) ",
    re.MULTILINE,
)
_STATEMENT_BYTES, _LINE_BYTES = 1024, 1024


class Contents(Inspector):
    """An inspector that also notes whose dump it is.

    :ivar databases: those that it names: where it makes, drops, changes or enters one.
    :ivar made: tables that it makes, as written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.databases: set[str] = set()
        self.made: set[str] = set()
        self._naming = False
        self._named = self._line = b""

    @property
    def tables(self) -> set[str]:
        """All of its tables: those that it makes, and those that it has rows of."""
        return self.made | self._tables.keys()

    def archive(self, head: bytes) -> None:
        """The first bytes of the custom archive that the dump comes from, which names its
        database.
        """
        if name := archive_database(head):
            self.databases.add(name)

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        super()._text(buffer, start, end)
        text = self._line + buffer[start:end]
        self.made.update(self.decode(found[1]) for found in _TABLE.finditer(text))
        self._line = text[text.rfind(b"\n") + 1 :][:_LINE_BYTES]
        if self._naming:
            self._named = (self._named + buffer[start:end])[:_STATEMENT_BYTES]

    def _decided(self, kind: str) -> None:
        super()._decided(kind)
        self._naming, self._named = kind == DATABASE, b""

    def _statement_end(self) -> None:
        super()._statement_end()
        if self._naming and (found := _STATEMENT.search(self._named)):
            self.databases.add(self._unquoted(found[1]))
        self._naming = False

    def _command(self, buffer: bytes, start: int, end: int) -> None:
        super()._command(buffer, start, end)
        if not (found := _CONNECT.fullmatch(buffer, start, end)):
            return
        if told := _CONNINFO.search(found[1]):
            plain = re.sub(rb"\\(.)", rb"\1", told[1].replace(b'""', b'"'))
            self.databases.add(self.decode(plain))
        else:
            self.databases.add(self._unquoted(found[1]))

    def _unquoted(self, name: bytes) -> str:
        if name.startswith(b'"'):
            return self.decode(name[1:-1].replace(b'""', b'"'))
        return self.decode(name)


def archive_database(head: bytes) -> str:
    """The database that a custom archive names in its header (ReadHead in
    src/bin/pg_dump/pg_backup_archiver.c); empty where it cannot be read.
    """
    if not head.startswith(MAGIC) or len(head) < 11:
        return ""
    version, width = tuple(head[5:8]), head[8]
    at = 11  # behind the sizes of an integer and of an offset, and the format
    integer = 1 + width  # its sign comes first
    at += 1 if version >= (1, 15, 0) else integer  # the compression
    at += 7 * integer  # when it was made
    length = int.from_bytes(head[at + 1 : at + integer], "little")
    if head[at : at + 1] != b"\0" or at + integer + length > len(head):
        return ""
    return head[at + integer : at + integer + length].decode("utf-8", "replace")
