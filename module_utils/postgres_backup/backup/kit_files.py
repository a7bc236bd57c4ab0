"""The files of a server kit: which there are, and how they become a tar although an application
goes on writing.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

from ..catalog.kit_paths import Paths, parts_of
from ..errors import PostgresBackupError
from ..findings import Finding, finding
from ..machine.progress import Progress
from ..s3.upload import Upload
from ..stream.codec import Chain
from ..text import printable
from .kit_withheld import Withheld

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: bytes read from a file at once
CHUNK = 1 << 20
#: a file of at most so many bytes is read twice before it is written, and again if it changed
SMALL = 8 << 20
#: seconds to wait before each further try
_PAUSES = (0.0, 0.02, 0.1)
#: a file written to in the last so many seconds may be in the middle of it: there are so many
#: seconds between its two readings, for all such files of a kit so many together
_FRESH, _WAIT, _MOST_WAIT = 2.0, 0.03, 6.0
#: what a path is no longer there for: removed, a file where a folder was, a link where a file was,
#: its owner on another machine has removed it, a socket in its place
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENXIO)
#: paths that one finding names
_NAMED = 3


#: what each finding of :class:`Told` says of the files
_SAID = {
    "FILE_GONE": "removed while the kit was made, and not in it",
    "KIT_FILE_CHANGED": "changed while they were read, each time again, and may be half old "
    "and half new",
    "KIT_LINK_LEADS_OUT": "links that lead out of backup_paths: what is there is not in the "
    "kit, and a restore does not make them",
    "KIT_KEY_LEFT_OUT": "private keys that this server signs with, which are in no kit",
    "KIT_SPECIAL_FILE": "sockets, pipes or devices, which are in no kit",
    "KIT_SETUID": "programs that run as their owner (set-uid, set-gid): saved without that",
}


class Entry(NamedTuple):
    """A file, folder or link; ``bytes`` only of a file, ``root``: the path it was found below."""

    path: str
    bytes: int
    folder: bool
    root: str


class Told:
    """What is worth knowing of the files of a kit: for each kind how many, and the first names."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def note(self, code: str, path: str) -> None:
        """One more of a kind."""
        self._counts[code] = self._counts.get(code, 0) + 1
        names = self._names.setdefault(code, [])
        if len(names) < _NAMED:
            names.append(printable(path))

    def findings(self) -> list[Finding]:
        """One for each code."""
        found = []
        for code, said in _SAID.items():
            if count := self._counts.get(code):
                more = f" and {count - _NAMED} more" if count > _NAMED else ""
                named = ", ".join(self._names[code]) + more
                found.append(finding(code, f"{count} of the kit, {said}: {named}"))
        return found


def walk(roots: Sequence[str], told: Told) -> Iterator[Entry]:
    """Every file, folder and link, folders first. Links are not followed: ``kit_roots`` did.

    :raises PostgresBackupError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        if error.errno in _GONE:
            told.note("FILE_GONE", str(error.filename))
        else:
            _refuse(error)

    for root in roots:
        if os.path.islink(root) or not os.path.isdir(root):
            yield from _entry(root, root, told)
            continue
        for folder, folders, files in os.walk(root, onerror=refuse):
            yield Entry(folder, 0, True, root)
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(files + links):
                yield from _entry(os.path.join(folder, name), root, told)
            folders.sort()


def _entry(path: str, root: str, told: Told) -> Iterator[Entry]:
    """Nothing for what is neither file, folder nor link: that is told."""
    try:
        entry = os.lstat(path)
    except OSError as error:
        if error.errno not in _GONE:
            _refuse(error)
        told.note("FILE_GONE", path)
        return
    if stat.S_ISREG(entry.st_mode):
        yield Entry(path, entry.st_size, False, root)
    elif stat.S_ISLNK(entry.st_mode):
        yield Entry(path, 0, False, root)
    else:  # a folder that has come in the place of a file is the next kit's
        told.note("FILE_GONE" if stat.S_ISDIR(entry.st_mode) else "KIT_SPECIAL_FILE", path)


def _refuse(error: OSError) -> NoReturn:
    raise PostgresBackupError(
        f"Failed to read {error.filename}: {error.strerror or error}",
        f"Let the backup user read it: setfacl -R -m u:postgres-backup:rX {error.filename}",
    )


class Packer:
    """Puts entries into a tar, one after the other, in memory that does not grow with them.

    :param targets: link -> what it leads to, where its own letters do not say so.
    :param paths: all that the kit's manifest will name.
    :param told: takes what could not be saved as it should.
    :param withheld: knows what is left out.
    :ivar members: in the tar so far.
    """

    def __init__(
        self,
        tar: tarfile.TarFile,
        paths: Sequence[str],
        targets: Mapping[str, str],
        told: Told,
        withheld: Withheld,
    ) -> None:
        self._tar, self._targets, self._told, self._withheld = tar, targets, told, withheld
        self._paths = Paths([parts_of(path) or () for path in paths])
        #: files that have several names, by what the file system calls them -> the first name
        self._names: dict[tuple[int, int], str] = {}
        self._waited = 0.0
        self.members = 0

    def add(self, path: str) -> None:
        """One entry. What is gone by now is left out, what goes on changing is told.

        :raises PostgresBackupError: it cannot be read.
        """
        try:
            info = self._tar.gettarinfo(path, arcname=path)
            if info is None or not (info.isreg() or info.isdir() or info.issym()):
                self._told.note("KIT_SPECIAL_FILE", path)  # gettarinfo knows no sockets
            elif info.isreg():
                self._add_file(path)
            else:
                if info.issym():
                    info.linkname = self._targets.get(path, info.linkname)
                    if not self._paths.keep(parts_of(path) or (), info.linkname):
                        self._told.note("KIT_LINK_LEADS_OUT", path)
                self._put(info)
        except OSError as error:
            if error.errno in _GONE:
                return self._told.note("FILE_GONE", path)
            error.filename = path
            _refuse(error)

    def _put(self, info: tarfile.TarInfo, data: BinaryIO | io.RawIOBase | None = None) -> None:
        self._tar.addfile(info, data)
        self._tar.getmembers().clear()  # tarfile keeps all of them, about a kilobyte each
        self.members += 1

    def _add_file(self, path: str) -> None:
        if self._withheld.by_name(path):
            return self._told.note("KIT_KEY_LEFT_OUT", path)
        for last, pause in zip((False, False, True), _PAUSES, strict=True):
            time.sleep(pause)
            with open(_opened(path), "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                if not stat.S_ISREG(before.st_mode):
                    return self._told.note("KIT_SPECIAL_FILE", path)
                info = self._tar.gettarinfo(arcname=path, fileobj=file)
                self._tar.inodes.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
                info.size = before.st_size
                if self._is_link(info, before):
                    return self._put(info)
                if info.mode & (stat.S_ISUID | stat.S_ISGID):
                    self._told.note("KIT_SETUID", path)
                    info.mode &= ~(stat.S_ISUID | stat.S_ISGID)
                if before.st_size > SMALL:
                    return self._stream(path, info, file, before)
                data = _read(file, before.st_size + 1)
                if self._withheld.by_content(data):
                    self._names.pop((before.st_dev, before.st_ino), None)
                    return self._told.note("KIT_KEY_LEFT_OUT", path)
                self._wait(before)
                same = data == _read(file, before.st_size + 1) and _state(
                    os.fstat(file.fileno())
                ) == _state(before)
                if same or last:
                    if not same:
                        self._told.note("KIT_FILE_CHANGED", path)
                    info.size = len(data)
                    return self._put(info, io.BytesIO(data))
        raise AssertionError("the last try returns")

    def _wait(self, entry: os.stat_result) -> None:
        """Let whoever is writing a file in several pieces write the next."""
        if time.time() - entry.st_mtime < _FRESH and self._waited < _MOST_WAIT:
            time.sleep(_WAIT)
            self._waited += _WAIT

    def _is_link(self, info: tarfile.TarInfo, entry: os.stat_result) -> bool:
        """The file is in the tar already, under another name."""
        if entry.st_nlink < 2:
            return False
        first = self._names.setdefault((entry.st_dev, entry.st_ino), info.name)
        if first == info.name:
            return False
        info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
        return True

    def _stream(
        self, path: str, info: tarfile.TarInfo, file: BinaryIO, before: os.stat_result
    ) -> None:
        """Too large to be held: the header with its size stands in the tar before its end is
        seen.
        """
        exact = _Exactly(file, info.size)
        self._put(info, exact)
        if exact.short or _state(os.fstat(file.fileno())) != _state(before):
            self._told.note("KIT_FILE_CHANGED", path)


def _opened(path: str) -> int:
    """Open a file; what became a link or a pipe meanwhile is neither followed nor waited for."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _state(entry: os.stat_result) -> tuple[int, ...]:
    """What every change of a file's content changes, a tick of the clock apart."""
    return (entry.st_dev, entry.st_ino, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns)


def _read(file: BinaryIO, most: int) -> bytes:
    """From the beginning."""
    file.seek(0)
    pieces, left = [], most
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class _Exactly(io.RawIOBase):
    """A file that gives as many bytes as its header in the tar says, whatever happens to it
    meanwhile.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self.short = file, size, False

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        pieces, left = [], wanted
        while left and (piece := self._file.read(left)):
            pieces.append(piece)
            left -= len(piece)
        if left:
            self.short = True
            pieces.append(bytes(left))
        self._left -= wanted
        return b"".join(pieces)


class Packed(io.RawIOBase):
    """Takes a tar, passes it on through the chain into the upload.

    :ivar bytes: of the tar so far.
    :ivar packed_bytes: of what it became.
    """

    def __init__(self, chain: Chain, upload: Upload, progress: Progress) -> None:
        self._chain, self._upload, self._progress = chain, upload, progress
        self._hash, self.bytes, self.packed_bytes = hashlib.sha256(), 0, 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        with memoryview(data) as view:
            self._hash.update(view)
            self._send(self._chain.write(view))
            self.bytes += view.nbytes
            self._progress.advance(view.nbytes)
            return view.nbytes

    def finish(self) -> None:
        self._send(self._chain.finish())

    def _send(self, data: bytes) -> None:
        self._upload.write(data)
        self.packed_bytes += len(data)

    @property
    def sha256(self) -> str:
        """Of the tar, hexadecimal."""
        return self._hash.hexdigest()
