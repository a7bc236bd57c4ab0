"""One run per server and database; the second one is told who is at work and leaves.

There are two locks, and who works holds both where both can be had: a file of the state, which
also says who is at work, and a name among this machine's abstract sockets (unix(7)), which needs no
disk. So a state that cannot be written opens no door, and a machine without such names still has
the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TypedDict

from ..errors import LockedError, UsageError
from ..settings import Settings
from ..shapes.reader import Unfit, fitted, load
from . import run_mark, state
from .damage import put_aside

#: seconds in which whoever holds a name must have begun to listen
_PATIENCE = 1.0
#: so many may ask during one run
_MANY = 4096
#: root may do everything anyway
_OURS = frozenset({0})


class _Holder(TypedDict):
    """Who is at work, as the file says it."""

    pid: int
    what: str
    since: str


@contextmanager
def hold(settings: Settings, database: str, what: str) -> Iterator[None]:
    """Hold the lock of a database while the block runs.

    The kernel lets go of it when the process ends, however it ends, so a crash leaves nothing to
    clean up.

    :param what: what is being done, for whoever finds the door closed: ``backup``.
    :raises LockedError: another process holds it; the message names it.
    :raises UsageError: neither of the two can be had.
    """
    handle = _open(settings, database)
    try:
        if handle is not None:
            _lock_file(handle, database)
        with _name(settings, database, handle):
            if handle is not None:
                _sign(handle, what)
            try:
                with run_mark.of_lock(handle, settings, database):
                    yield
            finally:
                if handle is not None:
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle, 0)
    finally:
        if handle is not None:
            os.close(handle)


def _open(settings: Settings, database: str) -> int | None:
    """A handle of the file; None where there can be none."""
    name = urllib.parse.quote(f"{settings.server_name}.{database}", safe="-_.")
    path = os.path.join(settings.state_dir, f"{name}.lock")
    # a pipe of that name must not make us wait for ever
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    with contextlib.suppress(OSError, UsageError):
        state.directory(settings)
        if not _may_be_a_lock(path):
            put_aside(path, OSError(errno.ENXIO, "it is no file"), [])
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
        # whoever may read it can hold it too
        return os.open(path, os.O_RDONLY | flags)
    return None


def _may_be_a_lock(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return not os.path.islink(path)
    except OSError:
        return False


def _lock_file(handle: int, database: str) -> None:
    """:raises LockedError: another process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _locked(database, _holder(handle)) from None


@contextmanager
def _name(settings: Settings, database: str, handle: int | None) -> Iterator[None]:
    """Hold the name among the sockets.

    :param handle: of the file that is held already; None: it is this or nothing.
    :raises LockedError: another process holds it.
    :raises UsageError: there is no such name to be had, and no file.
    """
    what = "\0".join([os.path.abspath(settings.state_dir), settings.server_name, database])
    address = b"\0postgres-backup-" + hashlib.sha256(what.encode(errors="replace")).digest()[:16]
    try:
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        if handle is None:
            raise UsageError(
                f"Failed to take the lock of {database}: {error.strerror}", state.advice(settings)
            ) from None
        yield
        return
    with mine:
        try:
            mine.bind(address)
            mine.listen(_MANY)  # those who ask who listens stay in this queue
        except OSError as error:
            if error.errno == errno.EADDRINUSE and (pid := _who_listens(settings, address)):
                raise _locked(database, f"process {pid}") from None
            # a stranger has taken the name: he shall keep nobody from a backup
        yield


def _who_listens(settings: Settings, address: bytes) -> int:
    """The process that holds the name, where it is one of us: of this user, of root, or of whoever
    owns the state. 0: it is a stranger's, or free again.
    """
    ours = {*_OURS, os.geteuid()}
    with contextlib.suppress(OSError):
        ours.add(os.stat(settings.state_dir).st_uid)
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            try:
                asking.connect(address)
            except ConnectionRefusedError:  # it has its name and does not listen yet, or has ended
                time.sleep(0.01)
                continue
            except OSError:
                return 0
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid, user, _ = struct.unpack("iII", told)
            return pid if user in ours else 0
    return 0


def _sign(handle: int, what: str) -> None:
    """Say who is at work.

    The lock holds without it: a full disk must not keep a backup from being taken.
    """
    since = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    facts = _Holder(pid=os.getpid(), what=what, since=since)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(facts).encode(), 0)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)


def _holder(handle: int) -> str:
    try:
        found = fitted(load(os.pread(handle, 4096, 0)), _Holder)
    except (OSError, Unfit):  # it has the lock, but has not yet written who it is, or could not
        return "it has just begun, or its disk is full"
    return f"{found['what']} since {found['since']} (process {found['pid']})"


def _locked(database: str, who: str) -> LockedError:
    return LockedError(
        f"Another run holds the lock of {database}: {who}",
        "Wait until it has ended; nothing was done here",
    )
