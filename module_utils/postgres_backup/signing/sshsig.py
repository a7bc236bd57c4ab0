"""Signatures in OpenSSH's own format, so that a stock ``ssh-keygen -Y verify`` checks what we sign,
and we what ``ssh-keygen -Y sign`` did.

The format is that of ``PROTOCOL.sshsig`` of OpenSSH. Of what it allows, only this is made and
read: Ed25519, our own namespace, SHA-512 (SHA-256 is read too). A signature comes from the bucket,
so its bytes are anybody's: what is not exactly as we or ``ssh-keygen`` would write it is refused.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Callable

from ..errors import BadBackupError

#: what is signed is meant for us: a signature for e-mail or git is none of ours
NAMESPACE = "postgres-backup"
#: the only kind of key, in OpenSSH's words
KEY_TYPE = "ssh-ed25519"
#: bytes that a signature's object may have; one of ours has about 300
MAX_BYTES = 4096

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}
_BEGIN = b"-----BEGIN SSH SIGNATURE-----\n"
_END = b"\n-----END SSH SIGNATURE-----"
#: letters of a line of base64, as ssh-keygen breaks them
_COLUMNS = 70
#: bytes of an Ed25519 public key, and of what it signs
_KEY_BYTES, _VALUE_BYTES = 32, 64


class SignatureError(BadBackupError):
    """What should be a signature is none that could be ours, or not one of these bytes."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature that was read; whether it holds, and whose it is, is not yet said.

    :param public: the 32 bytes of the key that it says to be made with.
    :param hash_name: ``sha512`` or ``sha256``.
    :param value: the 64 bytes that the key has made.
    """

    public: bytes
    hash_name: str
    value: bytes

    def require(self, data: bytes) -> None:
        """The key that it names has signed these bytes.

        :raises SignatureError: it has not.
        """
        # loaded where it is needed, as it takes some MB
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(
                self.value, _signed(data, self.hash_name)
            )
        except (InvalidSignature, ValueError):
            raise SignatureError("The signature was not made of these bytes") from None


def sign(data: bytes, public: bytes, make: Callable[[bytes], bytes]) -> bytes:
    """The signature of ``data``, armored: what an object ``.sig`` holds.

    :param public: the 32 bytes of the public key.
    :param make: signs bytes with the private one.
    """
    value = make(_signed(data, "sha512"))
    return _armored(
        _MAGIC
        + _VERSION.to_bytes(4, "big")
        + _packed(
            key_blob(public),
            NAMESPACE.encode(),
            b"",
            b"sha512",
            _packed(KEY_TYPE.encode(), value),
        )
    )


def parse(armored: bytes) -> Signature:
    """The signature in an object's bytes.

    :raises SignatureError: they are anything else; one sentence says what.
    """
    try:
        return _parse(armored)
    except ValueError as error:
        raise SignatureError(f"Failed to read the signature: {error}") from None


def _parse(armored: bytes) -> Signature:
    if len(armored) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES} bytes")
    blob = _dearmored(armored)
    head = len(_MAGIC) + 4
    if not blob.startswith(_MAGIC) or len(blob) < head:
        raise ValueError("it does not begin as OpenSSH's signatures do")
    version = int.from_bytes(blob[len(_MAGIC) : head], "big")
    if version != _VERSION:
        raise ValueError(f"it is of version {version} of the format; known is {_VERSION}")
    key, namespace, reserved, hash_name, signature = _unpacked(blob[head:], 5)
    if namespace != NAMESPACE.encode():
        raise ValueError(f"it was made for {_shown(namespace)}, not for {NAMESPACE}")
    # ssh-keygen passes over what stands here: it is signed by nobody
    if reserved:
        raise ValueError("it says something in a field that must be empty")
    if hash_name.decode("ascii", "replace") not in _HASHES:
        raise ValueError(f"it uses the hash {_shown(hash_name)}, neither sha512 nor sha256")
    kind, value = _unpacked(signature, 2)
    if kind != KEY_TYPE.encode() or len(value) != _VALUE_BYTES:
        raise ValueError(f"it is of the kind {_shown(kind)}, or not of its length")
    return Signature(key_of(key), hash_name.decode("ascii"), value)


def key_blob(public: bytes) -> bytes:
    """An Ed25519 public key as OpenSSH writes it before base64."""
    return _packed(KEY_TYPE.encode(), public)


def key_of(blob: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key as OpenSSH writes it.

    :raises ValueError: it is something else, such as a key of another kind.
    """
    kind, public = _unpacked(blob, 2)
    if kind != KEY_TYPE.encode() or len(public) != _KEY_BYTES:
        raise ValueError(f"its key is of the kind {_shown(kind)}, or not of its length")
    return public


def decoded(text: bytes) -> bytes:
    """The bytes that base64 says, in the one way to say them.

    :raises ValueError: it is none, or these bytes are written differently.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("its base64 is broken") from None
    # bits that nothing reads would make many signatures of one
    if base64.b64encode(data) != text:
        raise ValueError("its base64 is broken")
    return data


def _signed(data: bytes, hash_name: str) -> bytes:
    """What the key really signs."""
    return _MAGIC + _packed(
        NAMESPACE.encode(), b"", hash_name.encode(), _HASHES[hash_name](data).digest()
    )


def _armored(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return _BEGIN + b"\n".join(lines) + _END + b"\n"


def _dearmored(armored: bytes) -> bytes:
    text = armored.removesuffix(b"\n")
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise ValueError("it does not begin and end with the lines of an SSH signature")
    blob = decoded(text[len(_BEGIN) : -len(_END)].replace(b"\n", b""))
    if _armored(blob) != text + b"\n":
        raise ValueError("its lines are not as long as ssh-keygen makes them")
    return blob


def _packed(*strings: bytes) -> bytes:
    """Strings as SSH writes them: each after its length."""
    return b"".join(len(string).to_bytes(4, "big") + string for string in strings)


def _unpacked(data: bytes, count: int) -> list[bytes]:
    """So many strings, and nothing after them."""
    found: list[bytes] = []
    at = 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise ValueError("it is cut")
        found.append(data[at + 4 : end])
        at = end
    if at != len(data):
        raise ValueError("something stands after its end")
    return found


def _shown(word: bytes) -> str:
    """A word of a stranger, short and in letters that a terminal can show."""
    return ascii(word[:40].decode("utf-8", "replace"))
