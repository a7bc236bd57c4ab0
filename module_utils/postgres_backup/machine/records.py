"""A file of records that is added to and never changed: what a process has found out, kept for the
next one. Each is found by 16 bytes that say what it is of.

It may be lost, cut or damaged at any time, and others may write to it at the same time; whoever
uses it sees for itself that what comes out is what went in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from .files import replace_file

#: bytes that a file takes at most
MOST_BYTES = 128 * 1024 * 1024
_HEAD = struct.Struct(">16sII")
#: records of a file; their places are held in memory
_MOST_RECORDS = 300_000


class Record(NamedTuple):
    """``size``: of what is stored, when it is unpacked."""

    size: int
    stored: bytes


class _Place(NamedTuple):
    offset: int
    stored: int
    size: int


class Records:
    """One such file. For one thread.

    :param path: below the state's folder.
    :param magic: eight bytes that it begins with.
    :param most_of_one: ``size`` of a record; one that says more ends what can be read.
    """

    def __init__(self, path: str, magic: bytes, most_of_one: int) -> None:
        self._path, self._magic, self._most = path, magic, most_of_one
        self._places: dict[bytes, _Place] = {}
        self._end = 0  # of the last whole record; 0: there is nothing of ours in it
        self._of: tuple[int, int] | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Reader | None]:
        """To be read from; None where there is nothing."""
        with _opened(self._path, os.O_RDONLY) as file:
            if file is None:
                yield None
            else:
                self._read_on(file)
                yield Reader(file, self._places)

    def add(
        self, new: Mapping[bytes, Record], used: Collection[bytes], make: bool, most_bytes: int
    ) -> None:
        """Add these; where that cannot be done they are found out again next time.

        :param used: of those that are there, which to keep where there is no more room.
        :param make: the file where there is none.
        :param most_bytes: that the file takes, :data:`MOST_BYTES`.
        """
        data = b"".join(_packed(key, record) for key, record in new.items())
        with _opened(self._path, os.O_RDWR | (os.O_CREAT if make else 0)) as file:
            if file is None:
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            self._read_on(file)  # others may have written since
            end = self._end
            if end + len(data) > most_bytes or len(self._places) + len(new) > _MOST_RECORDS:
                self._begin_anew(file, data, used, most_bytes)
                return
            with contextlib.suppress(OSError):
                if os.geteuid() == 0:  # the one that looks every hour must be able to add to it
                    owner = os.stat(os.path.dirname(self._path))
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                # what follows is half a record, of a process that was killed
                os.ftruncate(file.fileno(), end)
                os.pwrite(file.fileno(), data if end else self._magic + data, end)

    def _begin_anew(
        self, file: BinaryIO, data: bytes, used: Collection[bytes], most_bytes: int
    ) -> None:
        """With what this process has used, which is what still lies in the bucket."""
        kept, room = [self._magic, data], most_bytes // 2 - len(data)
        for key in self._places.keys() & used:
            place = self._places[key]
            room -= place.stored
            if room > 0 and len(kept) - 2 < _MOST_RECORDS // 2:
                kept.append(_packed(key, Record(place.size, _stored(file, place))))
        owner = os.fstat(file.fileno())
        with contextlib.suppress(OSError):
            replace_file(self._path, b"".join(kept), 0o600, owner=(owner.st_uid, owner.st_gid))

    def _read_on(self, file: BinaryIO) -> None:
        """From where it was last read, or all of it where it is another one by now."""
        there = os.fstat(file.fileno())
        if self._of != (there.st_dev, there.st_ino) or self._end > there.st_size:
            self._places, self._end = {}, 0
            self._of = (there.st_dev, there.st_ino)
        file.seek(self._end)
        if not self._end:
            if file.read(len(self._magic)) != self._magic:
                return
            self._end = len(self._magic)
        while len(self._places) < _MOST_RECORDS:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            key, size, stored = _HEAD.unpack(head)
            begins = self._end + _HEAD.size
            if not stored or size > self._most or begins + stored > there.st_size:
                return
            self._places[key] = _Place(begins, stored, size)
            self._end = begins + stored
            file.seek(self._end)


class Reader:
    """An open file of records."""

    def __init__(self, file: BinaryIO, places: Mapping[bytes, _Place]) -> None:
        self._file, self._places = file, places

    def get(self, key: bytes) -> Record | None:
        """The newest of that key, as it lies there."""
        place = self._places.get(key)
        return Record(place.size, _stored(self._file, place)) if place else None


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


def _packed(key: bytes, record: Record) -> bytes:
    return _HEAD.pack(key, record.size, len(record.stored)) + record.stored


def _stored(file: BinaryIO, place: _Place) -> bytes:
    return os.pread(file.fileno(), place.stored, place.offset)
