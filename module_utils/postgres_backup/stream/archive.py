"""A tar as a stream, read strictly: in the form that our kits have, and in no other.

Python's own reader takes a header that it does not understand for the end, and holds headers of any
size, and all members, in memory. What comes out of a bucket is read by this one instead: what is
not understood is an error, and memory is bounded.
"""

from __future__ import annotations

import dataclasses
import re
import tarfile
from collections.abc import Iterable, Iterator

_BLOCK = tarfile.BLOCKSIZE
#: a header with long names, bytes; Linux takes paths of 4096
_MOST_HEADER = 64 * 1024
#: of a time since 1970; some 30,000 years
_MOST_SECONDS = 1e12
#: what a header of pax may say, and how; a name or a target is taken as it is
_FIELDS = {
    "path": None,
    "linkpath": None,
    "uname": None,
    "gname": None,
    "hdrcharset": re.compile("BINARY|ISO-IR 10646 2000 UTF-8"),
    "size": re.compile("[0-9]{1,18}"),
    "uid": re.compile("[0-9]{1,10}"),
    "gid": re.compile("[0-9]{1,10}"),
    "mtime": re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?(e-[0-9]{1,2})?"),
    "atime": re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?"),
    "ctime": re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?"),
}
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n]{1,100})=", re.ASCII)
FILE, FOLDER, LINK, HARD_LINK = "file", "folder", "link", "hard link"
_KINDS = {
    tarfile.REGTYPE: FILE,
    tarfile.DIRTYPE: FOLDER,
    tarfile.SYMTYPE: LINK,
    tarfile.LNKTYPE: HARD_LINK,
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "pipe",
}


class ArchiveError(Exception):
    """It is cut, damaged, not in the form that our kits have, or larger than it may be."""


@dataclasses.dataclass(frozen=True)
class Member:
    """What an archive says of a file; nothing of it is believed.

    :param kind: :data:`FILE`, :data:`FOLDER`, :data:`LINK`, :data:`HARD_LINK`, or what else it is.
    :param size: bytes, of a file.
    :param mode: permissions, with set-uid, set-gid and sticky.
    :param mtime: seconds since 1970.
    :param target: of a link of either kind.
    """

    name: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime: float
    target: str


class Archive:
    """The members of a tar, one after the other. Iterate once, to the end.

    :param chunks: the tar.
    :param most: bytes that it may have.
    :ivar bytes: read so far.
    """

    def __init__(self, chunks: Iterable[bytes], most: int) -> None:
        self._chunks, self._most = iter(chunks), most
        self._rest = memoryview(b"")
        self._left = self._padding = self.bytes = 0

    def __iter__(self) -> Iterator[Member]:
        """:raises ArchiveError: see there; also where something follows the archive's end."""
        while True:
            for _ in self.content():
                pass
            self._skip_padding()
            header = self._take(_BLOCK)
            if not any(header):
                return self._end()
            yield self._member(header)

    def content(self) -> Iterator[memoryview]:
        """What is left of the data of the member that came last."""
        while self._left:
            piece = self._piece(self._left)
            self._left -= len(piece)
            yield piece

    def _member(self, header: bytes) -> Member:
        more: dict[str, str] = {}
        info = _parsed(header)
        if info.type == tarfile.XHDTYPE:
            if not 0 < info.size <= _MOST_HEADER:
                raise ArchiveError("a header is too long")
            more = _pax(self._take(info.size))
            self._padding = -info.size % _BLOCK
            self._skip_padding()
            info = _parsed(self._take(_BLOCK))
        kind = _KINDS.get(info.type, f"member of type {info.type!r}")
        size = int(more.get("size", info.size))
        if kind != FILE and size:
            raise ArchiveError(f"a {kind} has data")
        if not (0 <= size <= self._most and 0 <= info.mode < 1 << 16):
            raise ArchiveError("a header has a number that cannot be")
        uid, gid = (int(more.get(name, getattr(info, name))) for name in ("uid", "gid"))
        if not (0 <= uid < (1 << 32) - 1 and 0 <= gid < (1 << 32) - 1):
            raise ArchiveError("a header has an owner that cannot be")
        mtime = float(more.get("mtime", info.mtime))
        if not abs(mtime) < _MOST_SECONDS:
            raise ArchiveError("a header has a time that cannot be")
        name = more.get("path", info.name)
        self._left, self._padding = size, -size % _BLOCK
        return Member(
            name.rstrip("/") if kind == FOLDER else name,
            kind,
            size,
            info.mode & 0o7777,
            uid,
            gid,
            more.get("uname", info.uname),
            more.get("gname", info.gname),
            mtime,
            more.get("linkpath", info.linkname),
        )

    def _end(self) -> None:
        """Zeros, and nothing behind them: another reader might go on where this one stops."""
        if any(self._take(_BLOCK)):
            raise ArchiveError("something follows its end")
        while self._rest or self._fill():
            if any(self._rest):
                raise ArchiveError("something follows its end")
            self._rest = self._rest[:0]

    def _take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        pieces = []
        while count:
            pieces.append(self._piece(count))
            count -= len(pieces[-1])
        return b"".join(pieces)

    def _piece(self, most: int) -> memoryview:
        """At least one byte."""
        if not self._rest and not self._fill():
            raise ArchiveError("it ends too early")
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def _fill(self) -> bool:
        for chunk in self._chunks:
            self.bytes += len(chunk)
            if self.bytes > self._most:
                raise ArchiveError(f"it unpacks to more than {self._most} bytes")
            if chunk:
                self._rest = memoryview(chunk)
                return True
        return False

    def _skip_padding(self) -> None:
        if self._padding:
            self._take(self._padding)
            self._padding = 0


def _parsed(header: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise ArchiveError(f"a header cannot be read: {error}") from None


def _pax(data: bytes) -> dict[str, str]:
    """The fields of an extended header (POSIX.1-2001, pax)."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(data):
        record = _RECORD.match(data, at)
        end = at + int(record[1]) if record else 0
        if record is None or end > len(data) or end <= record.end() or data[end - 1] != 10:
            raise ArchiveError("an extended header cannot be read")
        name = record[2].decode("ascii", "replace")
        value = data[record.end() : end - 1].decode("utf-8", "surrogateescape")
        if name not in _FIELDS or name in fields:
            raise ArchiveError(f"an extended header has the field {name!a}")
        form = _FIELDS[name]
        if form is not None and not form.fullmatch(value):
            raise ArchiveError(f"an extended header has no sensible {name}")
        fields[name] = value
        at = end
    return fields
