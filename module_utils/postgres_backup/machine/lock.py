"""One run per server and database; the second one is told who is at work and leaves."""

from __future__ import annotations

import fcntl
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone

from ..errors import LockedError, UsageError
from ..settings import Settings
from . import run_mark, state


@contextmanager
def hold(settings: Settings, database: str, what: str) -> Iterator[None]:
    """Hold the lock of a database while the block runs.

    The kernel lets go of it when the process ends, however it ends, so a crash leaves nothing to
    clean up.

    :param what: what is being done, for whoever finds the door closed: ``backup``.
    :raises LockedError: another process holds it; the message names it.
    :raises UsageError: the state directory cannot be made or written.
    """
    name = urllib.parse.quote(f"{settings.server_name}.{database}", safe="-_.")
    path = os.path.join(state.directory(settings), f"{name}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"Failed to open the lock {path}: {error.strerror}",
            "STATE_DIR in the config must name a directory that this user may write: "
            + settings.state_dir,
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"Another run holds the lock of {database}: {_holder(handle)}",
                "Wait until it has ended; nothing was done here",
            ) from None
        _sign(
            handle,
            {
                "pid": os.getpid(),
                "what": what,
                "since": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC",
            },
        )
        try:
            with run_mark.of_lock(handle, settings.server_name, database):
                yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _sign(handle: int, facts: Mapping[str, object]) -> None:
    """Say who is at work.

    The lock holds without it: a full disk must not keep a backup from being taken.
    """
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(facts).encode(), 0)
    except OSError:
        os.ftruncate(handle, 0)


def _holder(handle: int) -> str:
    try:
        found = json.loads(os.pread(handle, 4096, 0))
    except ValueError:  # it has the lock, but has not yet written who it is, or could not
        return "it has just begun, or its disk is full"
    return f"{found['what']} since {found['since']} (process {found['pid']})"
