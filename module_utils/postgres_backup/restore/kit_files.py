"""Put the members of a kit into a folder: all of them beside their places first, then each into its
place, so that a kit that turns out to be bad on the way leaves nothing.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from ..catalog.kit_paths import Parts, Paths
from ..stream.archive import FILE, FOLDER, HARD_LINK, LINK
from .kit_folders import Folders, require_fit
from .kit_members import Accepted, Refused, number_here

_CHUNK = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: a folder that was made on the way, not by a member
_MADE = "made"


class _Record(NamedTuple):
    """One line of the list of what was made; the list lies on disk, so that memory is bounded."""

    kind: str
    number: int
    parts: list[str]
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: float = 0.0


class Staged:
    """Members beside their places, under names of their own. A block that ends with an error
    leaves none of them.

    :param to: the target folder; it is made where it is not there.
    :param paths: that the kit was made of.
    :param sources: ``Judge.sources`` of an earlier look at the same kit.
    """

    def __init__(self, to: str, paths: Paths, sources: set[int]) -> None:
        self._to, self._sources = to, sources
        self._made_above = _make(to)
        self._folders = Folders(to, paths)
        self._names, self._end = _list_in(to), 0
        self._token, self._count = secrets.token_hex(4), 0
        self._number_of: dict[int, int] = {}
        #: where in the list folders stand, which are gone through backwards
        self._folder_lines, self._made_lines = array.array("Q"), array.array("Q")
        self._is_root = os.geteuid() == 0

    def add(self, accepted: Accepted, content: Iterable[memoryview]) -> None:
        """:raises UsageError: something is in the way."""
        if not accepted.parts or accepted.left_out:
            return
        *above, name = accepted.parts
        parent = self._folders.open(tuple(above), self._note_made)
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            require_fit(self._to, accepted.parts, there, accepted)
        record = self._record(accepted)
        if record.kind == FOLDER:
            self._folder_lines.append(self._note(record))
            self._folders.open(accepted.parts, self._note_made, 0o700)
            return
        self._note(record)
        beside = self._beside(record.number)
        if record.kind == LINK:
            os.symlink(self._target(accepted), beside, dir_fd=parent)
            if self._is_root:
                os.chown(beside, record.uid, record.gid, dir_fd=parent, follow_symlinks=False)
            os.utime(beside, (record.mtime, record.mtime), dir_fd=parent, follow_symlinks=False)
            return
        if accepted.source is not None:
            content = self._content_of(accepted.source)
        self._write(parent, beside, record, content)

    def _record(self, accepted: Accepted) -> _Record:
        member = accepted.member
        self._count += 1
        if hash(accepted.parts) in self._sources:
            self._number_of[hash(accepted.parts)] = self._count
        uid, gid = number_here("user", member.user), number_here("group", member.group)
        return _Record(
            FILE if member.kind == HARD_LINK else member.kind,
            self._count,
            list(accepted.parts),
            member.mode,
            member.uid if uid is None else uid,
            member.gid if gid is None else gid,
            member.mtime,
        )

    def _write(
        self, parent: int, beside: str, record: _Record, content: Iterable[memoryview]
    ) -> None:
        descriptor = os.open(beside, _NEW, 0o600, dir_fd=parent)
        with open(descriptor, "wb", buffering=0) as file:
            for piece in content:
                while piece:
                    piece = piece[file.write(piece) :]
            if self._is_root:
                os.fchown(descriptor, record.uid, record.gid)
            os.fchmod(descriptor, record.mode)
            os.utime(descriptor, (record.mtime, record.mtime))

    def _content_of(self, source: Parts) -> Iterator[memoryview]:
        """Of a file that was put beside its place before.

        :raises Refused: the look at the kit saw no such link: it is another object by now.
        """
        if hash(source) not in self._number_of:
            raise Refused("it was replaced while it was read")
        with Folders(self._to, self._folders.paths) as folders:
            parent, _ = folders.nearest(source[:-1])
            beside = self._beside(self._number_of[hash(source)])
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(beside, flags, dir_fd=parent), "rb", buffering=0) as file:
                while piece := file.read(_CHUNK):
                    yield memoryview(piece)

    def _target(self, accepted: Accepted) -> str:
        """Into another folder than ``/``, a link from the root on leads to the file in it."""
        if self._to == "/" or not accepted.member.target.startswith("/"):
            return accepted.member.target
        return "/".join([".."] * (len(accepted.parts) - 1) + list(accepted.leads or ())) or "."

    def _beside(self, number: int) -> str:
        return f".postgres-backup-kit.{self._token}.{number}"

    def _note(self, record: _Record) -> int:
        """:return: where it stands in the list."""
        line, at = json.dumps(record).encode() + b"\n", self._end
        self._names.write(line)
        self._end += len(line)
        return at

    def _note_made(self, parts: Parts) -> None:
        self._made_lines.append(self._note(_Record(_MADE, 0, list(parts))))

    def _records(self, at: Iterable[int] | None = None) -> Iterator[_Record]:
        """Those at these places of the list, or all."""
        self._names.seek(0)
        if at is None:
            for line in self._names:
                yield _Record(*json.loads(line))
            return
        for place in at:
            self._names.seek(place)
            yield _Record(*json.loads(self._names.readline()))

    def commit(self) -> None:
        """Everything into its place; folders get their permissions last, the deepest first."""
        for record in self._records():
            if record.kind in (FILE, LINK):
                parent, _ = self._folders.nearest(tuple(record.parts[:-1]))
                os.rename(
                    self._beside(record.number),
                    record.parts[-1],
                    src_dir_fd=parent,
                    dst_dir_fd=parent,
                )
        for record in self._records(reversed(self._folder_lines)):
            parent, _ = self._folders.nearest(tuple(record.parts[:-1]))
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(record.parts[-1], flags, dir_fd=parent)
            try:
                if self._is_root:
                    os.fchown(descriptor, record.uid, record.gid)
                os.fchmod(descriptor, record.mode)
                os.utime(descriptor, (record.mtime, record.mtime))
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Remove what was made."""
        for record in self._records():
            if record.kind in (FILE, LINK):
                parent, depth = self._folders.nearest(tuple(record.parts[:-1]))
                if depth == len(record.parts) - 1:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._beside(record.number), dir_fd=parent)
        for record in self._records(reversed(self._made_lines)):
            parent, depth = self._folders.nearest(tuple(record.parts[:-1]))
            if depth == len(record.parts) - 1:
                with contextlib.suppress(OSError):  # not ours alone any more
                    os.rmdir(record.parts[-1], dir_fd=parent)
        for folder in reversed(self._made_above):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind:
                self.discard()
        finally:
            self._names.close()
            self._folders.close()


def _list_in(folder: str) -> IO[bytes]:
    """A file without a name, on the disk of the target where that may be written."""
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


def _make(folder: str) -> list[str]:
    """A folder and those above it; those that were not there, the highest first."""
    made: list[str] = []
    while not os.path.isdir(folder):
        made.insert(0, folder)
        folder = os.path.dirname(folder)
    for one in made:
        os.mkdir(one)
    return made
