"""The folder into which a kit is put, one component at a time, by descriptors: a link that lies
there already, or is put there meanwhile, leads nobody out of it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from ..catalog.kit_paths import Parts, Paths
from ..errors import PostgresBackupError, UsageError
from ..findings import finding
from ..stream.archive import FOLDER
from ..text import human_bytes, printable
from .kit_members import Accepted

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: what a file needs beside its content: its last block, its place in a folder
_OVERHEAD = 4096


class Folders:
    """Opens folders under a target, each from the one above it, which stays open.

    Links are not followed, but for one case: into ``/``, one above all paths of the kit, such as
    ``/home``, is where this machine has these folders.

    :param to: the target, which is there.
    :param paths: that the kit was made of.
    """

    def __init__(self, to: str, paths: Paths) -> None:
        self.to, self.paths = to, paths
        self._open = [os.open(to, _FOLDER)]
        self._parts: Parts = ()

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def nearest(self, parts: Parts) -> tuple[int, int]:
        """The deepest folder that is there on the way to one, and how many components it has.

        The descriptor is good until the next call.

        :raises UsageError: a link or a file is in the way.
        """
        common = 0
        while common < min(len(parts), len(self._parts)) and (parts[common] == self._parts[common]):
            common += 1
        while len(self._parts) > common:
            os.close(self._open.pop())
            self._parts = self._parts[:-1]
        for part in parts[common:]:
            wanted = (*self._parts, part)
            follow = self.to == "/" and self.paths.above(wanted)
            try:
                opened = os.open(
                    part, _FOLDER | (0 if follow else os.O_NOFOLLOW), dir_fd=self._open[-1]
                )
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise _in_the_way(self.to, wanted, "not a folder", "a folder") from None
                raise
            self._open.append(opened)
            self._parts = wanted
        return self._open[-1], len(self._parts)

    def open(self, parts: Parts, made: Callable[[Parts], None], mode: int = 0o755) -> int:
        """A folder, which is made where it is not there. The descriptor is good until the next
        call.

        :param made: told of each folder before it is made.
        :param mode: of what is made.
        """
        while True:
            descriptor, depth = self.nearest(parts)
            if depth == len(parts):
                return descriptor
            made(parts[: depth + 1])
            os.mkdir(parts[depth], mode, dir_fd=descriptor)


class Look:
    """Whether what a kit holds can be put into a folder as it is now; writes nothing.

    :param to: the target; it may not be there yet.
    """

    def __init__(self, to: str, paths: Paths) -> None:
        there = to
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if not os.path.isdir(there):
            raise UsageError(f"{there} is not a folder", "Name another one: --to DIR")
        self._below: Parts = tuple(part for part in to[len(there) :].split("/") if part)
        self._folders = Folders(there, paths)
        self._last: Parts | None = None
        self._device = 0
        #: by device: bytes that are needed, and that there are
        self._needed: dict[int, int] = {}
        self._free: dict[int, int] = {}

    def close(self) -> None:
        self._folders.close()

    def at(self, accepted: Accepted) -> None:
        """:raises UsageError: something is in the way, or the folder may not be written."""
        parts = accepted.parts
        whole = (*self._below, *parts)
        if not whole or accepted.left_out:
            return
        parent, depth = self._folders.nearest(whole[:-1])
        if whole[: depth + 1] != self._last:
            self._last = whole[: depth + 1]
            self._note_folder(parent, whole[:depth])
        size = accepted.member.size + _OVERHEAD
        self._needed[self._device] = self._needed.get(self._device, 0) + size
        if depth < len(whole) - 1:
            return
        try:
            there = os.stat(whole[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        require_fit(self._folders.to, whole, there, accepted)

    def _note_folder(self, descriptor: int, parts: Parts) -> None:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
            raise UsageError(
                f"{_shown(self._folders.to, parts)} may not be written", "Run this as root"
            )
        self._device = os.fstat(descriptor).st_dev
        if self._device not in self._free:
            room = os.fstatvfs(descriptor)
            self._free[self._device] = room.f_bavail * room.f_frsize

    def require_room(self) -> int:
        """How much will be written, in bytes; each file lies beside the one it replaces until all
        are there.

        :raises PostgresBackupError: a disk has no room for it.
        """
        for device, needed in self._needed.items():
            if needed > self._free[device]:
                told = (
                    f"The files of the kit need {human_bytes(needed)}, and the disk has "
                    f"{human_bytes(self._free[device])}"
                )
                raise PostgresBackupError(
                    told,
                    "Make room, or name another folder: --to DIR",
                    [finding("DISK_SHORT", told)],
                )
        return sum(self._needed.values())


def require_fit(to: str, parts: Parts, there: os.stat_result, accepted: Accepted) -> None:
    """:raises UsageError: a folder would take the place of something else, or the other way."""
    is_folder, becomes_folder = stat.S_ISDIR(there.st_mode), accepted.member.kind == FOLDER
    if is_folder != becomes_folder:
        raise _in_the_way(
            to, parts, "a folder" if is_folder else "not a folder", f"a {accepted.member.kind}"
        )


def _in_the_way(to: str, parts: Parts, there: str, wanted: str) -> UsageError:
    path = _shown(to, parts)
    return UsageError(
        f"{path} is {there}, and {wanted} in the kit; nothing was written",
        f"Move it away: mv {path} {path}.old",
    )


def _shown(to: str, parts: Parts) -> str:
    return printable("/".join([to.rstrip("/"), *parts]) or "/")
