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

import contextlib
import fcntl
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from ..machine.files import replace_file
from ..settings import Settings
from .client import StoredObject, is_md5, md5

#: the file, below the state's folder
NAME = "seen-objects"
#: bytes that it takes at most
MOST_BYTES = 128 * 1024 * 1024
#: bytes of an object that is kept
_MOST_OF_ONE = 8 * 1024 * 1024
#: objects that listings have told of, and that are remembered for their MD5
_MOST_TOLD = 250_000
_MAGIC = b"pgbseen1"
_HEAD = struct.Struct(">16sII")


class _Told(NamedTuple):
    digest: bytes
    bytes: int


class _Place(NamedTuple):
    offset: int
    stored: int
    bytes: int


class Seen:
    """What one connection knows of small objects without asking. For one thread, but for
    :meth:`note`.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.state_dir
        self._path = os.path.join(settings.state_dir, NAME)
        self._told: dict[str, _Told] = {}
        self._index = _Index()
        self._used: set[bytes] = set()
        self._new: dict[bytes, bytes] = {}

    def tell(self, items: Iterable[StoredObject]) -> None:
        """A listing shows these now."""
        for item in items:
            fits = item.bytes <= _MOST_OF_ONE and len(self._told) < _MOST_TOLD
            if fits and is_md5(item.etag):
                self._told[item.key] = _Told(bytes.fromhex(item.etag), item.bytes)
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
        with _opened(self._path, os.O_RDONLY) as file:
            if file is None:
                return
            self._index.read_on(file)
            for key, (digest, size) in told:
                place = self._index.places.get(digest)
                if place is None or place.bytes != size:
                    continue
                data = _unpacked(_stored(file, place), size)
                if data is not None and md5(data) == digest:
                    self._used.add(digest)
                    yield key, data

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
        if not new:
            return
        records = b"".join(_record(digest, data) for digest, data in new.items())
        with _opened(self._path, os.O_RDWR | (os.O_CREAT if make else 0)) as file:
            if file is None:
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            self._index.read_on(file)  # others may have written since
            end = self._index.end
            if end + len(records) > MOST_BYTES:
                self._begin_anew(file, records)
                return
            with contextlib.suppress(OSError):
                if os.geteuid() == 0:  # the one that looks every hour must be able to add to it
                    owner = os.stat(self._folder)
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                # what follows is half a record, of a process that was killed
                os.ftruncate(file.fileno(), end)
                os.pwrite(file.fileno(), records if end else _MAGIC + records, end)

    def _begin_anew(self, file: BinaryIO, records: bytes) -> None:
        """With what this process has used, which is what still lies in the bucket."""
        kept, room = [_MAGIC, records], MOST_BYTES // 2 - len(records)
        for digest in self._used & self._index.places.keys():
            place = self._index.places[digest]
            room -= place.stored
            if room > 0:
                kept.append(_HEAD.pack(digest, place.bytes, place.stored) + _stored(file, place))
        owner = os.fstat(file.fileno())
        with contextlib.suppress(OSError):
            replace_file(self._path, b"".join(kept), 0o600, owner=(owner.st_uid, owner.st_gid))


class _Index:
    """Where in the file which object is.

    :ivar end: of its last whole record; 0: there is nothing of ours in it.
    """

    def __init__(self) -> None:
        self.places: dict[bytes, _Place] = {}
        self.end = 0
        self._of: tuple[int, int] | None = None

    def read_on(self, file: BinaryIO) -> None:
        """From where it was last read, or all of it where it is another one by now."""
        there = os.fstat(file.fileno())
        if self._of != (there.st_dev, there.st_ino) or self.end > there.st_size:
            self.places, self.end = {}, 0
            self._of = (there.st_dev, there.st_ino)
        file.seek(self.end)
        if not self.end:
            if file.read(len(_MAGIC)) != _MAGIC:
                return
            self.end = len(_MAGIC)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            digest, size, stored = _HEAD.unpack(head)
            begins = self.end + _HEAD.size
            if not stored or size > _MOST_OF_ONE or begins + stored > there.st_size:
                return
            self.places[digest] = _Place(begins, stored, size)
            self.end = begins + stored
            file.seek(self.end)


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[BinaryIO | None]:
    """The file, if it is one that can be used; it holds what manifests hold, so only its owner may
    read it.
    """
    # a link, or a pipe, of that name is none of ours
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o600)
    except OSError:
        yield None
        return
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        yield None
        return
    with open(handle, "rb") as file:
        yield file


def _record(digest: bytes, data: bytes) -> bytes:
    stored = zlib.compress(data, 1)
    return _HEAD.pack(digest, len(data), len(stored)) + stored


def _stored(file: BinaryIO, place: _Place) -> bytes:
    return os.pread(file.fileno(), place.stored, place.offset)


def _unpacked(stored: bytes, size: int) -> bytes | None:
    """The bytes of an object; None where it is damaged."""
    unpack = zlib.decompressobj()
    try:
        return unpack.decompress(stored, size + 1)
    except zlib.error:
        return None
