"""Files that are made and replaced whole: who reads one finds the old content or the new, never a
half.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import stat
import threading
from collections.abc import Iterator

from ..errors import UsageError


def replace_file(
    path: str,
    data: bytes,
    mode: int | None = None,
    sync: bool = False,
    owner: tuple[int, int] | None = None,
) -> None:
    """Put ``data`` in the place of what a file holds.

    It is written beside the file first, under a name that ends in our process id, and nothing of
    that stays where it fails.

    :param mode: of the file, whatever the umask; None: what the umask leaves of 0666.
    :param sync: it must be on the disk before it takes the old one's place, so that a power loss
        leaves one of the two.
    :param owner: the numbers of its user and group; None: ours.
    :raises OSError: it could not be written; the old one is still there.
    """
    beside = f"{path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # of a process that had our id and was killed
    # O_EXCL: in a folder that others may write to, a link of that name must not lead us elsewhere
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(beside, flags, 0o666 if mode is None else mode)
    try:
        with open(handle, "wb") as file:
            if owner is not None:
                os.fchown(handle, *owner)
            if mode is not None:
                os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(handle)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise


def create_file(path: str, data: bytes, mode: int) -> bool:
    """Make a file where there is none of that name: it is there with all its bytes, on the disk, or
    not at all. Of several who do so at once one makes it.

    :param mode: of the file, whatever the umask.
    :return: whether it was made; False: there is one, and it was left as it is.
    :raises OSError: it could not be written.
    """
    # the thread's id, which no other thread or process of this machine has at the same time
    beside = f"{path}.{threading.get_native_id()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # of one that had our id and was killed
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.link(beside, path)  # unlike a renaming it takes nobody's place
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
    sync_folder(path)
    return True


def sync_folder(path: str) -> None:
    """The names in a file's folder are on the disk: a power loss does not bring back the old one.

    :raises OSError: the folder cannot be read.
    """
    handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(path: str) -> Iterator[int]:
    """Nobody else who asks here replaces a file while the block runs; gives its owner's number.

    Only who may read the file can hold it: of one that others may not read they cannot keep us
    waiting.

    :raises OSError: there is no such file, or it cannot be read.
    """
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            found = os.fstat(handle)
            if os.path.samestat(found, os.stat(path)):
                yield found.st_uid
                return
            # it was replaced while we waited: the new one is what must be held
        finally:
            os.close(handle)


def read_bounded(path: str, limit: int) -> tuple[bytes, int]:
    """The bytes of a regular file, and its mode.

    :raises OSError: it cannot be read.
    :raises UsageError: it is a folder, a pipe or longer than ``limit`` bytes.
    """
    # a pipe of that name must not make us wait for ever
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            with open(handle, "rb", closefd=False) as file:
                data = file.read(limit + 1)
            if len(data) <= limit:
                return data, stat.S_IMODE(mode)
    finally:
        os.close(handle)
    raise UsageError(
        f"Failed to read {path}: it is no file, or longer than {limit} bytes",
        f"Look at what lies there: ls -l {shlex.quote(path)}",
    )


def sweep_halves(path: str) -> None:
    """Remove what processes that were killed while they made or replaced this file have left beside
    it.

    :raises OSError: the folder cannot be read, or not be written.
    """
    folder, name = os.path.split(path)
    for other in os.listdir(folder or "."):
        stem, _, process = other.rpartition(".")
        if stem == name and process.isdigit() and not os.path.exists(f"/proc/{process}"):
            with contextlib.suppress(FileNotFoundError):  # another run sweeps too
                os.unlink(os.path.join(folder, other))
