"""What others have to know of this server's key, which is made where it is missing, and replaced
where somebody wants that. The private half is never among it.
"""

from __future__ import annotations

import os
from typing import TypedDict

from ..settings import Settings
from ..text import printable
from . import keys
from .signers import line_of, principal_of


class OwnKey(TypedDict):
    """This server's key.

    ``principal``: how the server is called in lists of those to believe; ``public_key`` and
    ``fingerprint``: empty where there is no key yet (check mode); ``public_keys``: that of now and
    those that it replaced, newest first, each as OpenSSH writes it; ``trusted_signers``: the line
    by which others believe it; ``replaced``: the fingerprint of the key that this call replaced.
    """

    changed: bool
    principal: str
    public_key: str
    fingerprint: str
    public_keys: list[str]
    trusted_signers: str
    replaced: str


def own_key(settings: Settings, rotate: bool = False, check: bool = False) -> OwnKey:
    """Make the key of this server where there is none, or a new one in its place.

    :param rotate: a new one; what the old one signed stays good.
    :param check: say what would be done, and do nothing.
    :raises UsageError: it cannot be used, or not be made: see ``signing/keys``.
    """
    path = settings.signing_key_file
    is_there = bool(path) and os.path.lexists(path)
    old = keys.load(settings).public if is_there else None
    changed, now = rotate or not is_there, old
    if not check:
        if rotate and is_there:
            now = keys.rotate(settings).public
        else:
            key, changed = keys.load_or_make(settings)
            now = key.public
    known = [now] if now else []
    earlier = keys.old_public_keys(settings) if path else []
    known += [key for key in reversed(earlier) if key != now]
    return {
        "changed": changed,
        "principal": principal_of(settings.server_name),
        "public_key": now.line if now else "",
        "fingerprint": now.fingerprint if now else "",
        "public_keys": list(dict.fromkeys(key.line for key in known)),
        "trusted_signers": line_of(settings.server_name, now) if now else "",
        "replaced": old.fingerprint if old and old != now else "",
    }


def lines(result: OwnKey, check: bool = False) -> list[str]:
    """:func:`own_key` for a person.

    :param check: nothing was done.
    """
    whose, now = printable(result["principal"]), result["fingerprint"]
    if not now:
        return [f"{whose}: would get a signing key"]
    if check and result["changed"]:
        done = f"would sign with a new key in the place of {now}"
    elif result["replaced"]:
        done = f"signs with a new key, {now}; what {result['replaced']} signed stays good"
    elif result["changed"]:
        done = f"got its signing key, {now}"
    else:
        done = f"signs with {now}"
    others = "To be believed by others, a line of their trusted_signers"
    return [
        f"{whose}: {done}",
        f"Its public half: {result['public_key']}",
        f"{others}: {printable(result['trusted_signers'])}",
    ]
