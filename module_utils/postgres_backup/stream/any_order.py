"""Lines, of rows or above objects, compared as what they are, wherever each of them stands."""

from __future__ import annotations

import hashlib

_SIZE = 2**256


class AnyOrder:
    """A hash of lines that is the same in whatever order they come; fed and asked as those of
    hashlib are.
    """

    def __init__(self) -> None:
        self._sum, self._rest = 0, b""

    def update(self, data: bytes | memoryview) -> None:
        """The next piece, cut anywhere."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            self._sum += int.from_bytes(hashlib.sha256(line).digest(), "big")

    def hexdigest(self) -> str:
        """Of all whole lines."""
        return f"{self._sum % _SIZE:064x}"
