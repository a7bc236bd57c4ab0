"""Lets a dump pass to psql, and nothing in it that could leave the database it is loaded into.

Scripts often dump with ``pg_dump --create`` or ``--clean``: fed to psql such a dump drops and makes
the live database itself, whichever database psql was told to use. And psql runs programs and reads
files where a dump says so by a backslash (CVE-2025-8714: an owner of objects could make pg_dump
write such lines).
"""

from __future__ import annotations

import re

from ..errors import BadBackupError
from ..findings import finding
from .grammar import CLUSTER, DATABASE, CopyHeader
from .inspector import Inspector

#: of a database with an odd name pg_dump makes ``\connect -reuse-previous=on "dbname='odd
#: ""name""'"``, and ``\encoding SQL_ASCII`` before it (appendPsqlMetaConnect in
#: src/fe_utils/string_utils.c)
_CONNECT = re.compile(rb"\\c(?:onnect)?[ \t]+((?:[^\\\"\n]|\"[^\"\n]*\")+?)\s*")
_ENCODING = re.compile(rb"\\encoding SQL_ASCII\s*")
#: findings after which what follows cannot be trusted to be what it looks like
_FATAL = ("STATEMENT_TOO_LONG", "META_COMMAND_TOO_LONG", "COPY_HEADER")


class Guard(Inspector):
    """An inspector whose :meth:`filter` returns what may be passed on.

    Left out: statements about a database as a whole (CREATE, DROP, ALTER, COMMENT ON, GRANT and
    REVOKE ON DATABASE) and ``\\connect``. Refused: every other meta command, COPY from or to
    anywhere but the dump, and statements about what all databases of a server share (roles,
    tablespaces, memberships, ALTER SYSTEM). What functions do when the dump itself calls them is
    their owner's business: load with that owner's rights, not a superuser's.

    A statement passes once it is known to be harmless, so psql may hold the beginning of one when
    :class:`BadBackupError` is raised: end psql by a signal then, not by the end of its input.

    :param drop_restrict: leave out ``\\restrict`` and ``\\unrestrict``, for a psql that does not
        know them (before the minor releases of August 2025).
    """

    def __init__(self, drop_restrict: bool = False) -> None:
        super().__init__()
        self._drop_restrict = drop_restrict
        self._passed: list[tuple[bytes, int, int]] = []
        self._dropping = False
        self._connected = b""

    def filter(self, data: bytes | bytearray | memoryview) -> bytes:
        """The next bytes of the dump; what may go to psql by now.

        :raises BadBackupError: the dump holds something that must not reach psql; nothing of it was
            returned.
        """
        self._passed = []
        self.feed(data)
        if len(self._passed) == 1:
            buffer, start, end = self._passed[0]
            return buffer[start:end]  # the buffer itself, not a copy, where all of it passes
        return b"".join(memoryview(buffer)[start:end] for buffer, start, end in self._passed)

    def _pass(self, buffer: bytes, start: int, end: int) -> None:
        if start == end:
            return
        if self._passed and self._passed[-1][0] is buffer and self._passed[-1][2] == start:
            start = self._passed.pop()[1]
        self._passed.append((buffer, start, end))

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        super()._text(buffer, start, end)
        if not self._dropping:
            self._pass(buffer, start, end)

    def _rows(self, buffer: bytes, start: int, end: int) -> None:
        super()._rows(buffer, start, end)
        self._pass(buffer, start, end)

    def _aside(self, buffer: bytes, start: int, end: int) -> None:
        super()._aside(buffer, start, end)
        if not (self._drop_restrict and buffer[start] == 0x5C):
            self._pass(buffer, start, end)

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
        if header is None or header.options not in (b"", b"WITH OIDS"):
            raise _refusal(
                "FOREIGN_STATEMENT",
                f"the statement at byte {self._statement_at} copies from or to somewhere else "
                "than the dump",
            )
        super()._copy(header)

    def _statement_end(self) -> None:
        self._dropping = False

    def _comment(self, buffer: bytes, start: int, end: int) -> None:
        super()._comment(buffer, start, end)
        if self._cluster:
            raise BadBackupError(
                "Failed to load the dump: it holds a whole server, not one database",
                "It was made by pg_dumpall. Load it by hand into an empty server, with psql.",
                [finding("CLUSTER_DUMP", "The dump was made by pg_dumpall.")],
            )

    def _command(self, buffer: bytes, start: int, end: int) -> None:
        connect = _CONNECT.fullmatch(buffer, start, end)
        if self._open or not (connect or _ENCODING.fullmatch(buffer, start, end)):
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
        self._flush(buffer, start)
        self._dropping = True
        self._flush(buffer, end)
        self._dropping = False

    def _problem(self, code: str, message: str) -> None:
        super()._problem(code, message)
        if code in _FATAL:
            raise _refusal(code, message[0].lower() + message[1:].rstrip("."))


def _refusal(code: str, cause: str) -> BadBackupError:
    message = f"Failed to load the dump: {cause}"
    hint = (
        "Nothing of it was passed on from there. Look at that place of the dump; "
        "if you trust it, load it by hand into a server of its own."
    )
    return BadBackupError(message, hint, [finding(code, cause[0].upper() + cause[1:] + ".")])
