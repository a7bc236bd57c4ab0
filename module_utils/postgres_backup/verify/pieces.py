"""An object piece by piece: none of its bytes is used before the piece that it is in is whole and
has the hash that the manifest names. Pure.

A hash of the whole comes too late: by then the statements of whoever altered it have run.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..catalog.manifest import PartRecord
from ..errors import BadBackupError, StoreError
from ..findings import finding
from ..s3.parts import PART_BYTES
from ..settings import MOST_PART_BYTES, S3_MAX_PARTS

#: how often a piece is asked for once more: what was damaged on the way comes well then, and what
#: lies there otherwise comes the same again
_READ_AGAIN = 2


class Mender:
    """Asks for a piece once more where it came otherwise than it was uploaded.

    :param again: gives so many bytes of the object from a place on.
    :param tell: hears of a piece that was well then.
    :ivar mended: whether there was one.
    """

    def __init__(self, again: Callable[[int, int], bytes], tell: Callable[[str], object]) -> None:
        self._again, self._tell = again, tell
        self.mended = False

    def mend(self, name: str, what: str, start: int, part: PartRecord, came: str) -> bytes:
        """The piece as it was uploaded.

        :param what: the piece in words.
        :param came: the hash of what came.
        :raises BadBackupError: the same comes again: that is what lies there.
        :raises StoreError: each time something else comes.
        """
        for _ in range(_READ_AGAIN):
            data = self._again(start, part["bytes"])
            sha256 = hashlib.sha256(data).hexdigest()
            if sha256 == part["sha256"]:
                self.mended = True
                self._tell(f"{name}: {what} came damaged; it was read again, and is whole")
                return data
            if sha256 == came:
                raise altered(name, what)
            came = sha256
        raise StoreError(
            f"Failed to read {name}: {what} comes damaged, each time otherwise",
            "Try again; if it lasts, something between here and the store damages what passes: a "
            "proxy, a network card, this machine's memory. Nothing of it was used",
            passes=True,
        )


class WholePieces:
    """Takes pieces out of chunks, each once all of it is here and is right.

    :param chunks: of about a megabyte; those behind a piece are not asked for.
    :param name: the backup's.
    :param mender: tries a piece that is not right once more.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        parts: Sequence[PartRecord],
        name: str,
        mender: Mender | None = None,
    ) -> None:
        self._source, self._rest = iter(chunks), b""
        self._parts, self._name, self._mender = parts, name, mender

    def take(self, number: int, start: int) -> deque[bytes]:
        """The chunks of a piece, which the caller lets go of one by one: it is held once.

        :param number: from 0; the next chunk is its first, or holds its beginning.
        :param start: where it begins in the object.
        :raises BadBackupError: it is another than was uploaded.
        """
        part = self._parts[number]
        held: deque[bytes] = deque()
        missing, digest = part["bytes"], hashlib.sha256()
        while missing and (chunk := self._rest or next(self._source, None)) is not None:
            taken, self._rest = chunk[:missing], chunk[missing:]
            missing -= len(taken)
            digest.update(taken)
            held.append(taken)
        if missing or digest.hexdigest() != part["sha256"]:
            what = f"piece {number + 1} of {len(self._parts)}"
            held.clear()
            if missing or self._mender is None:
                raise altered(self._name, what)
            held.append(self._mender.mend(self._name, what, start, part, digest.hexdigest()))
        return held

    def jumped(self) -> None:
        """The chunks go on elsewhere: the rest of the last one is not what comes next."""
        self._rest = b""

    def at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._rest and not any(self._source)


def checked(
    chunks: Iterable[bytes], parts: Sequence[PartRecord], name: str, mender: Mender | None = None
) -> Iterator[bytes]:
    """The same chunks, those of a piece once all of it is here and is right.

    At most one piece is held, and let go of chunk by chunk.

    :param name: the backup's.
    :param mender: tries a piece that is not right once more.
    :raises BadBackupError: a piece is another than was uploaded, or something follows the last.
        Nothing of that piece was handed on.
    """
    pieces, start = WholePieces(chunks, parts, name, mender), 0
    for number, part in enumerate(parts):
        held = pieces.take(number, start)
        start += part["bytes"]
        while held:
            yield held.popleft()
    if not pieces.at_end():
        raise altered(name, "what follows its last piece")


def altered(name: str, what: str) -> BadBackupError:
    """That a part of an object is not what was uploaded."""
    return BadBackupError(
        f"{name} is not the object that was uploaded: {what} is not what the manifest says, "
        "and nothing of it was used",
        "Restore another backup: postgres-backup list",
        [finding("OBJECT_ALTERED", f"{what} is not what the manifest says")],
    )


class Cutter:
    """Cuts an object that nobody has cut before, while it passes.

    :param total: its bytes.
    """

    def __init__(self, total: int) -> None:
        self._part_bytes = min(max(PART_BYTES, -(-total // S3_MAX_PARTS)), MOST_PART_BYTES)
        self._parts: list[PartRecord] = []
        self._bytes, self._hash = 0, hashlib.sha256()

    def passed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks."""
        for chunk in chunks:
            for at in range(0, len(chunk), self._part_bytes):
                self._take(chunk[at : at + self._part_bytes])
            yield chunk

    def parts(self) -> list[PartRecord]:
        """All of them, once the last chunk has passed; none is larger than can be held."""
        return [*self._parts, self._cut()] if self._bytes else self._parts

    def _take(self, data: bytes) -> None:
        room = self._part_bytes - self._bytes
        self._hash.update(data[:room])
        self._bytes += len(data[:room])
        if self._bytes == self._part_bytes:
            self._parts.append(self._cut())
            self._bytes, self._hash = 0, hashlib.sha256()
        if len(data) > room:
            self._take(data[room:])

    def _cut(self) -> PartRecord:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}
