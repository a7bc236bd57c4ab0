"""Files that are replaced whole: who reads one finds the old content or the new, never a half."""

from __future__ import annotations

import contextlib
import os


def replace_file(path: str, data: bytes, mode: int | None = None, sync: bool = False) -> None:
    """Put ``data`` in the place of what a file holds.

    It is written beside the file first, under a name that ends in our process id, and nothing of
    that stays where it fails.

    :param mode: of the file, whatever the umask; None: what the umask leaves of 0666.
    :param sync: it must be on the disk before it takes the old one's place, so that a power loss
        leaves one of the two.
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


def sweep_halves(path: str) -> None:
    """Remove what processes that were killed while they replaced this file have left beside it.

    :raises OSError: the folder cannot be read, or not be written.
    """
    folder, name = os.path.split(path)
    for other in os.listdir(folder or "."):
        stem, _, process = other.rpartition(".")
        if stem == name and process.isdigit() and not os.path.exists(f"/proc/{process}"):
            with contextlib.suppress(FileNotFoundError):  # another run sweeps too
                os.unlink(os.path.join(folder, other))
