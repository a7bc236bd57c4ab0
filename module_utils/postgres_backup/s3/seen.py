"""Small objects that were read before. A look reads hundreds of them, and of these none has changed
since the last look: what a listing tells of an object, its MD5, says whether it is one of those.

They are kept by what they hold and not by their names: 16 bytes of MD5, the object's bytes, those
that follow, and then the object, compressed by zlib; one after the other in one file beside the
state. What comes out of it has the MD5 that the store tells, so a file that is lost, old, damaged
or forged costs time and never truth; signatures are judged as if the bytes had just come.

Stores that tell something else as an ETag than the MD5 (with keys of a key server, say) are asked
each time, as before.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..machine.records import MOST_BYTES, Record, Records
from ..settings import Settings
from .client import StoredObject, is_md5, md5

#: the file, below the state's folder
NAME = "seen-objects"
#: bytes of an object that is kept
_MOST_OF_ONE = 8 * 1024 * 1024
#: objects that listings have told of, and that are remembered for their MD5
_MOST_TOLD = 250_000
_MAGIC = b"pgbseen1"


class Told(NamedTuple):
    """What a listing tells of an object: its MD5, and its bytes."""

    digest: bytes
    bytes: int


class Seen:
    """What one connection knows of small objects without asking. For one thread, but for
    :meth:`note`.
    """

    def __init__(self, settings: Settings) -> None:
        self._records = Records(os.path.join(settings.state_dir, NAME), _MAGIC, _MOST_OF_ONE)
        self._told: dict[str, Told] = {}
        self._used: set[bytes] = set()
        self._new: dict[bytes, bytes] = {}

    def tell(self, items: Iterable[StoredObject]) -> None:
        """A listing shows these now."""
        for item in items:
            fits = item.bytes <= _MOST_OF_ONE and len(self._told) < _MOST_TOLD
            if fits and is_md5(item.etag):
                self._told[item.key] = Told(bytes.fromhex(item.etag), item.bytes)
            else:
                self._told.pop(item.key, None)

    def forget(self, key: str) -> None:
        """It is written or deleted: what a listing has told of it is over."""
        self._told.pop(key, None)

    def known(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Those of these objects that need not be asked for, each with its bytes."""
        told = [(key, self._told[key]) for key in keys if key in self._told]
        if not told:
            return
        with self._records.opened() as there:
            for key, (digest, size) in told if there else ():
                record = there.get(digest) if there else None
                if record is None or record.size != size:
                    continue
                data = _unpacked(record.stored, size)
                if data is not None and md5(data) == digest:
                    self._used.add(digest)
                    yield key, data

    def told(self, key: str) -> Told | None:
        """What a listing of this connection tells of it; None where it tells no MD5."""
        return self._told.get(key)

    def note(self, key: str, data: bytes) -> None:
        """It was just read; kept where it is what the listing has told."""
        told = self._told.get(key)
        if told and len(data) == told.bytes and md5(data) == told.digest:
            self._new[told.digest] = data

    def written(self, key: str, data: bytes) -> None:
        """It was just written by us, and need not be read again; descriptions and signatures only,
        for no other small object is of use (and that of the roles holds what passwords became).
        """
        self.forget(key)
        if key.endswith((".json", ".json.sig")) and len(data) <= _MOST_OF_ONE:
            self._new[md5(data)] = data

    def keep(self, make: bool = True) -> None:
        """Write down what was read. Where that cannot be done, the next look asks again.

        :param make: the file where there is none: not for what was written, for where nobody looks
            nobody needs it.
        """
        new, self._new = self._new, {}
        if new:
            records = {digest: Record(len(data), _packed(data)) for digest, data in new.items()}
            self._records.add(records, self._used, make, MOST_BYTES)


def _packed(data: bytes) -> bytes:
    return zlib.compress(data, 1)


def _unpacked(stored: bytes, size: int) -> bytes | None:
    """The bytes of an object; None where it is damaged."""
    unpack = zlib.decompressobj()
    try:
        return unpack.decompress(stored, size + 1)
    except zlib.error:
        return None
