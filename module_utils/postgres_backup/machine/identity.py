"""Which server this is, told by marks that no two have in common: what a name in the settings
cannot say, since a copied machine or inventory has the same name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import socket

from ..findings import Finding
from ..settings import Settings
from . import state

#: which server the last backup was taken of: a :class:`Mark`, and ``since``
_STATE = state.Kept("identity.json", dict[str, str])
_MACHINE_ID = "/etc/machine-id"


@dataclasses.dataclass(frozen=True)
class Mark:
    """A PostgreSQL server and the machine that backs it up; empty is what nobody could say.

    :param identifier: PostgreSQL's system identifier. A rebuilt server has another one; a machine
        whose disk was copied has the same.
    :param started: when its postmaster started, in microseconds since 1970. Of two copies that run
        at one time each has its own, and one that ended never comes back.
    :param machine: a hash of the machine's own id.
    :param host: the machine's name, for people.
    """

    identifier: str = ""
    started: str = ""
    machine: str = ""
    host: str = ""

    def __str__(self) -> str:
        told = [f"system identifier {self.identifier}"] if self.identifier else []
        told += [f"machine {self.machine}"] if self.machine else []
        where = f" on {self.host}" if self.host else ""
        return (", ".join(told) or "an unknown system identifier") + where


@functools.lru_cache(maxsize=4)
def machine_id(path: str = _MACHINE_ID) -> str:
    """The machine's id, hashed as ``machine-id(5)`` asks for; empty where it has none (a container
    often has none).
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read().strip()
    except OSError:
        return ""
    if len(text) != 32:  # "uninitialized", or empty
        return ""
    return hashlib.sha256(b"postgres-backup:" + text.encode()).hexdigest()[:12]


def mark_of(identifier: str, started: str) -> Mark:
    """The mark of a server that this machine backs up."""
    return Mark(identifier, started, machine_id(), socket.gethostname())


def remember(settings: Settings, mark: Mark, since: str) -> list[Finding]:
    """Note whose backups this machine takes. A note that cannot be written fails nothing.

    :param since: when the first of them was taken, a timestamp.
    :return: findings: what the state could not do.
    """
    return state.write(settings, _STATE, {**dataclasses.asdict(mark), "since": since})


def since(settings: Settings, mark: Mark) -> str:
    """When this machine took its first backup of that server, a timestamp; empty where it does not
    know.
    """
    known = state.read(settings, _STATE)
    return known.get("since", "") if known.get("identifier") == mark.identifier else ""


def remembered(settings: Settings) -> Mark:
    """The server of the last backup; without an identifier where none was taken from here."""
    # when it started is left out: it may have started anew since
    return mark_of(state.read(settings, _STATE).get("identifier", ""), "")
