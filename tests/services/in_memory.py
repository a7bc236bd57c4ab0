"""Folders in memory, for what does not outlive a run of the tests.

On a disk, ext4 gives no inode again that was freed a moment ago, and looks through all of those for
each new file. A database is 300 files, and a test that makes and drops one leaves 300 such inodes:
half of the processor's time of a server went there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

_PLACE = Path("/dev/shm")
_NAME = "postgres-backup-tests-"
#: bytes that must be there, to spare for the tests that measure memory and for the lab's disks
_ROOM, _MEMORY = 3e9, 6e9


class Folder:
    """A folder of this process, which everybody may enter; :meth:`remove` takes it away, and what a
    killed process left goes with the next one that is made.

    :param beside: where it lies on a machine without room in memory.
    """

    def __init__(self, beside: Path) -> None:
        self._handle: int | None = None
        if not _has_room():
            self.path = beside
            return
        for left in _PLACE.glob(f"{_NAME}*"):
            if os.access(left, os.W_OK) and (handle := claim(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(handle)
        # under a name that nobody looks for until it is claimed
        made = Path(tempfile.mkdtemp(prefix=f".{_NAME}", dir=_PLACE))
        made.chmod(0o711)
        self._handle = claim(made)
        self.path = made.rename(made.with_name(made.name[1:]))

    def remove(self) -> None:
        """Take it away, if it is there and in memory."""
        if self._handle is not None:
            shutil.rmtree(self.path)
            os.close(self._handle)
            self._handle = None


def claim(folder: Path) -> int | None:
    """A descriptor that holds the folder for this process; None where another has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _has_room() -> bool:
    if not os.access(_PLACE, os.W_OK | os.X_OK):
        return False
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    free = int(found[1]) * 1024 if found else 0
    return shutil.disk_usage(_PLACE).free > _ROOM and free > _MEMORY
