"""The log of what nobody sits before: opened by the program itself, because a shell or a systemd
that cannot open it does not start the program at all.
"""

from __future__ import annotations

import errno
import os
import stat
import sys


def write_to(path: str) -> str:
    """Standard output and standard error go to the end of this file from now on, which is made
    where it is missing.

    :return: why they cannot; empty where they do.
    """
    # a pipe that nobody reads must not make us wait for ever
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        handle = os.open(path, flags, 0o640)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        return f"Failed to open the log {path}: {cause}"
    if stat.S_ISREG(os.fstat(handle).st_mode) and not os.fstatvfs(handle).f_bavail:
        os.close(handle)
        return f"Failed to write the log {path}: {os.strerror(errno.ENOSPC)}"
    os.set_blocking(handle, True)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(handle, number)
    os.close(handle)
    return ""
