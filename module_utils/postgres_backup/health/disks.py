"""Whether the disk has room for what the server notes of its backups: its state, its alarms and its
numbers.
"""

from __future__ import annotations

import os

from ..findings import Finding, finding
from ..settings import Settings

#: less than this many bytes is full: all of the state is smaller, and is written beside itself
_ROOM = 64 * 1024


def findings_of(settings: Settings) -> list[Finding]:
    """DISK_FULL, once for each disk."""
    folders = [settings.state_dir, os.path.dirname(settings.metrics_file)]
    found: dict[int, Finding] = {}
    for folder in filter(None, folders):
        try:
            device, disk = os.stat(folder).st_dev, os.statvfs(folder)
        except OSError:  # nothing was ever noted there; who has to write there says so
            continue
        # a file system that counts no inodes says 0 of 0
        inodes_gone = disk.f_files > 0 and disk.f_favail == 0
        if disk.f_bavail * disk.f_frsize >= _ROOM and not inodes_gone:
            continue
        left = "inodes" if inodes_gone else "room"
        message = f"the disk of {folder} has no {left} left: what happens is not remembered there"
        found.setdefault(device, finding("DISK_FULL", message))
    return list(found.values())
