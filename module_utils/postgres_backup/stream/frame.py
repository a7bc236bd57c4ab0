"""The text of a dump without the entries that hold rows: the same whether rows of some tables were
dumped (``pg_dump --exclude-table-data``) or not.
"""

from __future__ import annotations

import hashlib
import re

#: how pg_dump begins such an entry (_printTocEntry in pg_backup_archiver.c), and ends its rows
#: (dumpTableData_copy in pg_dump.c); the last line end belongs to what follows
_BEGINS = re.compile(rb"\n--\n-- Data for Name: [^\n]*; Type: TABLE DATA; ")
_ENDS = re.compile(rb"\n\\\.\n\n(?=\n)")
#: so many lines wait for what follows: an entry's end has as many
_LINES = 4
#: but no longer ones, bytes
_MOST_BYTES = 1 << 20


class Frame:
    """A hash of that text, of which only rows are left out already; fed and asked as those of
    hashlib are.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rest, self._inside = b"\n", False

    def update(self, data: bytes | memoryview) -> None:
        """The next piece, cut anywhere."""
        text = self._rest + bytes(data)
        whole = len(text)
        for _ in range(_LINES):
            whole = max(0, text.rfind(b"\n", 0, whole))
        if len(text) - whole > _MOST_BYTES:
            whole = len(text)
        self._rest = text[self._looked(text, whole) :]

    def hexdigest(self) -> str:
        """Of all that was fed; once, at the end."""
        self._looked(self._rest, len(self._rest))
        self._rest = b""
        return self._hash.hexdigest()

    def _looked(self, text: bytes, until: int) -> int:
        """Look for what begins or ends before that place; how much of the text is done with."""
        at = 0
        while at < until:
            found = (_ENDS if self._inside else _BEGINS).search(text, at)
            begins = min(found.start(), until) if found else until
            if not self._inside:
                self._hash.update(text[at:begins])
            if not found or begins == until:
                return until
            at = found.end() if self._inside else begins
            self._inside = not self._inside
        return at
