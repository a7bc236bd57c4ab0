"""Whose word it is: what a reader makes of some bytes and the signature beside them."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Final, Literal

from ..text import printable
from . import sshsig
from .keys import PublicKey
from .signers import Signers

Kind = Literal["trusted", "unsigned", "stranger", "wrong"]
#: signed by a key that is trusted for that server
TRUSTED: Final = "trusted"
#: there is no signature: of the old scripts, of 0.1.0, of anybody
UNSIGNED: Final = "unsigned"
#: well signed, by a key that is not trusted for that server
STRANGER: Final = "stranger"
#: there is a signature, and it is not one of these bytes: nothing makes it good
WRONG: Final = "wrong"


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a signature is worth.

    :param kind: one of the four above.
    :param fingerprint: of the key that signed, ``SHA256:...``; empty where nobody did, or where the
        signature is wrong: then the key that it names has not signed this.
    :param says: it in one sentence, for a person.
    """

    kind: Kind
    fingerprint: str
    says: str


#: of what has no signature
BY_NOBODY = Standing(UNSIGNED, "", "It is not signed")


def judge(
    data: bytes,
    signature: bytes | None,
    server_name: str,
    signers: Signers,
    now: datetime | None = None,
) -> Standing:
    """What the signature of ``data`` is worth.

    :param data: the whole object, byte for byte.
    :param signature: the object ``.sig`` beside it; None where there is none.
    :param server_name: the server whose word it must be.
    :param now: the time at which the key must be valid; None: the time now.
    """
    if signature is None:
        return BY_NOBODY
    found = signer_of(data, signature)
    if isinstance(found, Standing):
        return found
    return standing_of(found, server_name, signers, now)


def signer_of(data: bytes, signature: bytes) -> PublicKey | Standing:
    """The key that has signed ``data``, whoever believes it; or that the signature is wrong."""
    try:
        read = sshsig.parse(signature)
        read.require(data)
    except sshsig.SignatureError as error:
        return wrong(error.message)
    return PublicKey(read.public)


def wrong(why: str) -> Standing:
    """Of a signature that is none of the bytes that it stands beside."""
    return Standing(WRONG, "", why)


def standing_of(
    key: PublicKey, server_name: str, signers: Signers, now: datetime | None = None
) -> Standing:
    """What a signature of that key is worth; see :func:`judge`."""
    trusted = signers.trusts(server_name, key, now)
    # the name may be a stranger's, of his manifest
    whom = f"{'' if trusted else 'not '}trusted for {printable(server_name)}"
    says = f"It is signed by {key.fingerprint}, which is {whom}"
    return Standing(TRUSTED if trusted else STRANGER, key.fingerprint, says)
