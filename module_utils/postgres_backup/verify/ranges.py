"""An object of which only some ranges are read: a large table begins a new gzip member or zstd
frame (see ``backup/pump``), and where its rows are not wanted, it is passed over.

The pieces of the manifest cover fixed ranges of the object. None of its bytes is used before the
piece that it is in is whole and right, so a piece is read whole where a part of it is wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..catalog.manifest import Manifest, PartRecord
from ..errors import BadBackupError
from ..findings import finding
from ..s3.download import Download
from ..s3.parts import PART_BYTES
from ..stream.inspector import Inspector
from .pieces import Mender, altered

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
        self._mender = mender
        self._download, self._chunks, self._name = download, iter(download), name
        self._parts, self._number, self._piece = parts, -1, b""
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + part["bytes"])
        self._rest, self._at = b"", 0  # what was read beyond a piece, and where reading goes on

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """:raises BadBackupError: a piece is another than was uploaded; nothing of it was used."""
        for number, begin in enumerate(self._starts[:-1]):
            if self._starts[number + 1] <= start or begin >= end:
                continue
            if number != self._number:
                self._load(number)
            yield self._piece[max(start - begin, 0) : end - begin]

    def _load(self, number: int) -> None:
        begin, size = self._starts[number], self._parts[number]["bytes"]
        if begin != self._at:
            self._download.jump(begin)
            self._rest, self._at = b"", begin
        held = [self._rest]
        missing = size - len(self._rest)
        while missing > 0 and (chunk := next(self._chunks, None)) is not None:
            held.append(chunk)
            missing -= len(chunk)
        data = b"".join(held)
        self._piece, self._rest = data[:size], data[size:]
        self._number, self._at = number, begin + size
        came = hashlib.sha256(self._piece).hexdigest()
        if came != self._parts[number]["sha256"]:
            what = f"piece {number + 1} of {len(self._parts)}"
            if self._mender is None or len(self._piece) < size:
                raise altered(self._name, what)
            self._piece = self._mender.mend(self._name, what, begin, self._parts[number], came)
