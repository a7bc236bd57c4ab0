"""An object of which only some ranges are read: a large table begins a new gzip member or zstd
frame (see ``backup/pump``), and where its rows are not wanted, it is passed over.

The pieces of the manifest cover fixed ranges of the object. None of its bytes is used before the
piece that it is in is whole and right, so a piece is read whole where a part of it is wanted.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..catalog.manifest import Manifest, PartRecord
from ..errors import BadBackupError
from ..findings import finding
from ..s3.download import Download
from ..s3.parts import PART_BYTES
from ..stream.inspector import Inspector
from .pieces import Mender, WholePieces

#: a table with fewer bytes in the object is not worth a session that shares the work: as many as
#: two pieces, of which both read those at the edges
_WORTH_BYTES = 2 * PART_BYTES
#: how pg_dump ends rows
ROWS_END = b"\\.\n"


class Range(NamedTuple):
    """Whole members of an object, from byte ``start`` up to ``end``.

    ``table``: they hold its rows and nothing else; empty: whatever lies between.
    """

    start: int
    end: int
    table: str


def ranges(manifest: Manifest) -> list[Range]:
    """How an object may be read in parts, all of it in order; empty where it may not.

    :raises BadBackupError: the manifest names places that cannot be.
    """
    members = manifest.get("members", [])
    readable = manifest.get("format") == "plain" and manifest.get("encryption") is None
    if not members or not readable or not manifest.get("parts"):
        return []
    places = [0, *(member["at"] for member in members), manifest["bytes"]]
    names = ["", *(member["table"] for member in members)]
    found = [Range(*one) for one in zip(places, places[1:], names, strict=False)]
    strangers = {name for name in names if name} - manifest["tables"].keys()
    tables = [name for name in names if name]
    if strangers or any(one.end <= one.start for one in found) or len(set(tables)) < len(tables):
        raise misplaced(manifest["name"])
    return found


def apart(there: Sequence[Range]) -> frozenset[str]:
    """The tables of which another session is given the rows, so that both have about the same to
    do: the largest first, each to whoever has less so far. Empty where there is nothing to share.

    :param there: as :func:`ranges` gives it.
    """
    sizes = [(one.end - one.start, one.table) for one in there]
    mine, others, chosen = sum(size for size, table in sizes if not table), 0, set[str]()
    for size, table in sorted((one for one in sizes if one[1]), reverse=True):
        if others < mine and size >= _WORTH_BYTES:
            others += size
            chosen.add(table)
        else:
            mine += size
    return frozenset(chosen) if min(mine, others) >= _WORTH_BYTES else frozenset()


def header_of(chunks: Iterator[bytes], name: str) -> bytes:
    """The COPY statement with which the rows of a table begin.

    :param chunks: its range, unpacked; only the first is read.
    :param name: the backup's.
    :raises BadBackupError: it begins otherwise.
    """
    first, at = next(chunks, b""), 0
    inspector = Inspector()
    while not inspector.current_table and (end := first.find(b"\n", at) + 1):
        inspector.feed(first[at:end])
        at = end
    if not inspector.current_table:
        raise misplaced(name)
    return first[:at]


def misplaced(name: str) -> BadBackupError:
    """That a manifest says something else of the places of tables than is true.

    :param name: the backup's.
    """
    why = "its manifest names places of tables where none can be"
    return BadBackupError(
        f"{name} cannot be read in parts: {why}",
        "Restore another backup: postgres-backup list",
        [finding("MANIFEST_DAMAGED", why)],
    )


class Pieces:
    """Reads ranges of an object, forwards only, by whole pieces that are right.

    At most one piece is held, and let go of as it is read.

    :param name: the backup's.
    :param mender: tries a piece that is not right once more.
    """

    def __init__(
        self,
        download: Download,
        parts: Sequence[PartRecord],
        name: str,
        mender: Mender | None = None,
    ) -> None:
        self._download, self._pieces = download, WholePieces(download, parts, name, mender)
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + part["bytes"])
        #: which piece came last, what nobody has read of it, and where that begins in the object
        self._number, self._held, self._at = -1, deque[bytes](), 0

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """:raises BadBackupError: a piece is another than was uploaded; nothing of it was used."""
        first = bisect.bisect_right(self._starts, start) - 1
        for number in range(first, bisect.bisect_left(self._starts, end)):
            if number != self._number:
                self._load(number)
            while self._held and self._at < end:
                chunk = self._held.popleft()
                wanted = chunk[max(start - self._at, 0) : end - self._at]
                if rest := chunk[end - self._at :]:
                    self._held.appendleft(rest)
                self._at += len(chunk) - len(rest)
                if wanted:
                    yield wanted

    def _load(self, number: int) -> None:
        begin = self._starts[number]
        if begin != self._starts[self._number + 1]:
            self._download.jump(begin)
            self._pieces.jumped()
        self._held.clear()
        self._held = self._pieces.take(number, begin)
        self._number, self._at = number, begin
