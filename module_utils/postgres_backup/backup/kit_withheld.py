"""What is in no kit, whatever ``backup_paths`` names: the private keys that this server signs with,
and has signed with.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re

from ..errors import UsageError
from ..machine.files import read_bounded
from ..settings import Settings
from ..signing import keys

#: a private key as OpenSSH writes it; its public half stands in it in the clear, passphrase or not
_PRIVATE = re.compile(
    rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL
)
_PUBLIC = re.compile(rb"\0\0\0\x0bssh-ed25519\0\0\0 (.{32})", re.DOTALL)


class Withheld:
    """Tells the files that are left out.

    :param settings: of the server whose keys they are.
    """

    def __init__(self, settings: Settings) -> None:
        path = settings.signing_key_file
        self._path = _place(path) if path else ""
        self._known = _own(settings) if path else frozenset()

    def by_name(self, path: str) -> bool:
        """The key, or what was made or put aside beside it (``signing.key.broken``)."""
        if not self._path or not os.path.basename(path).startswith(os.path.basename(self._path)):
            return False
        place = _place(path)
        beside = place.startswith(f"{self._path}.") and not place.endswith(".pub")
        return place == self._path or beside

    def by_content(self, data: bytes) -> bool:
        """One of the keys is in it, wherever it was copied to."""
        return not self._known.isdisjoint(_public_halves(data))


def _place(path: str) -> str:
    """A path without links on the way; what it is itself stays."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _own(settings: Settings) -> frozenset[bytes]:
    """The public halves of all keys that this server has or had.

    A key that cannot be used, for others may read it, is one as well.
    """
    found: set[bytes] = set()
    for known in (keys.own_public_keys, keys.old_public_keys):
        with contextlib.suppress(UsageError):
            found.update(key.raw for key in known(settings))
    with contextlib.suppress(OSError):
        data, _mode = read_bounded(settings.signing_key_file, keys.MAX_BYTES)
        found.update(_public_halves(data))
    return frozenset(found)


def _public_halves(data: bytes) -> set[bytes]:
    """Of the private keys that a file holds."""
    found: set[bytes] = set()
    for match in _PRIVATE.finditer(data):
        with contextlib.suppress(ValueError):
            found.update(_PUBLIC.findall(base64.b64decode(match[1])))
    return found
