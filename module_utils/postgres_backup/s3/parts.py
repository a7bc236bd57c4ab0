"""How an object is cut into parts, before the first of them is sent; pure."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import threading
from typing import IO, cast

from ..errors import StoreError
from ..settings import MOST_PART_BYTES
from . import calls
from .client import md5
from .errors import Stopped

MIB = 1024 * 1024
#: bytes of a part, unless the object needs larger ones (S3's own least is 5 MiB)
PART_BYTES = 8 * MIB
#: bytes of all buffers of one upload together: wanted, and never exceeded
BUFFER_BYTES = 64 * MIB
MOST_BUFFER_BYTES = MOST_PART_BYTES
#: parts in flight at most: enough to hide a store's latency, few enough for a small store
MOST_WORKERS = 3
#: room for a stream that grows beyond what was expected
SPARE = 1.5


@dataclasses.dataclass(frozen=True)
class PartPlan:
    """How an object is cut: bytes of each part but the last, parts in flight at once, buffers
    held.
    """

    part_bytes: int
    workers: int
    buffers: int


def plan_parts(expected_bytes: int, max_parts: int) -> PartPlan:
    """Parts for an object of at most ``expected_bytes``, with room to spare; pure.

    All parts are equal, because some stores (R2) refuse others; so the size is chosen before the
    first.

    :param max_parts: how many the store takes (10,000; Scaleway 1,000).
    :raises StoreError: it would take larger buffers than this program allows itself.
    """
    most = MOST_BUFFER_BYTES * max_parts
    if expected_bytes > most:
        raise StoreError(
            f"Failed to plan the upload of up to {expected_bytes / 1e9:,.0f} GB: "
            f"{max_parts} parts hold at most {most / 1e9:,.0f} GB",
            "Raise backup_s3_max_parts if the store takes more (most take 10000); "
            "for a database of this size pgBackRest is the right tool",
        )
    wanted = math.ceil(expected_bytes * SPARE / max_parts)
    part_bytes = min(max(PART_BYTES, math.ceil(wanted / MIB) * MIB), MOST_BUFFER_BYTES)
    room = BUFFER_BYTES if part_bytes * 2 <= BUFFER_BYTES else MOST_BUFFER_BYTES
    buffers = max(1, min(room // part_bytes, MOST_WORKERS + 1))
    return PartPlan(part_bytes, max(1, buffers - 1), buffers)


class PartBody:
    """The first ``length`` bytes of a buffer, read like a file, without a copy.

    Not the buffer itself, because a body in one piece must reach the store within one timeout,
    however slow the link; a file is sent in small blocks, each with its own. And between two blocks
    it can be told to stop.
    """

    def __init__(self, buffer: bytearray, length: int, stop: threading.Event) -> None:
        self._view, self._at, self._stop = memoryview(buffer)[:length], 0, stop

    def __len__(self) -> int:
        return len(self._view)

    def md5(self) -> bytes:
        return md5(self._view)

    def sha256(self) -> str:
        """Hexadecimal."""
        return hashlib.sha256(self._view).hexdigest()

    def from_start(self) -> IO[bytes]:
        """Itself, for a request: an attempt before may have read some of it."""
        self._at = 0
        return cast("IO[bytes]", self)  # of a file, botocore uses no more than what is here

    def read(self, count: int = -1) -> memoryview:
        if self._stop.is_set():
            raise Stopped(calls.SEND, "the upload was given up")
        end = len(self._view) if count is None or count < 0 else self._at + count
        piece = self._view[self._at : end]
        self._at += len(piece)
        return piece

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, len(self._view))[whence]
        return self._at
