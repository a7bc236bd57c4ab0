"""The name that a run gives to its sessions on the PostgreSQL server, so that what a killed run has
left there can be told from everybody else's.

A lock is held by one run at a time: a session that bears the lock's mark and another run's number
is of a run that is dead. The mark is made of the lock's own file and of the kernel that keeps it,
so that a copied machine, whose settings are the same, has another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ..settings import Settings

#: how we are called where no lock is held
PLAIN = "postgres-backup"
_BOOT = "/proc/sys/kernel/random/boot_id"
#: where abstract sockets have their names
_NAMES = "/proc/self/ns/net"
#: letters of server and database; with mark and number PostgreSQL keeps 63 of a name
_WHOSE = 21
#: from the outermost lock that is held to the innermost: (mark, number)
_held: list[tuple[str, str, str]] = []


@contextmanager
def of_lock(handle: int | None, settings: Settings, database: str) -> Iterator[None]:
    """While the block runs, our sessions bear the mark of this lock.

    :param handle: the lock's file, open; None: there is none, and a name of this machine's holds.
    """
    which = settings.state_dir if handle is None else ""
    with contextlib.suppress(OSError):
        found = os.stat(_NAMES) if handle is None else os.fstat(handle)
        which += f"{found.st_dev}.{found.st_ino}"
    server = settings.server_name
    told = "\0".join((_boot(), which, server, database))
    mark = hashlib.sha256(told.encode(errors="replace")).hexdigest()[:16]
    # other letters the server would replace, each major in its way
    whose = re.sub(r"[^ -~]", "?", f"{server}/{database}")[:_WHOSE]
    one = (whose, mark, secrets.token_hex(4))
    _held.append(one)
    try:
        yield
    finally:
        _held.remove(one)


def name() -> str:
    """The ``application_name`` of a session that is opened now."""
    if not _held:
        return PLAIN
    whose, mark, number = _held[-1]
    return f"{PLAIN} {whose} {mark}.{number}"


def of_the_dead() -> str:
    """A regular expression of PostgreSQL's for the names of sessions of runs that held our lock
    before us; empty where we hold none.
    """
    if not _held:
        return ""
    _, mark, number = _held[-1]
    return rf"^{PLAIN} .* {mark}\.(?!{number})[0-9a-f]{{8}}$"


def _boot() -> str:
    try:
        with open(_BOOT, "rb") as file:
            return file.read().hex()
    except OSError:  # no Linux: then the file alone says it
        return ""
