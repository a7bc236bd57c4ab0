"""This server's pair of keys: Ed25519, in OpenSSH's files, the private one for its owner alone.

``signing.key`` lies beside the config, ``signing.key.pub`` beside it, and ``signing.key.old.pub``
has the public halves of those that were replaced: what they signed stays this server's word. Who
must no longer believe one of them takes its line away.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..machine.files import (
    create_file,
    held,
    read_bounded,
    replace_file,
    sweep_halves,
    sync_folder,
)
from ..settings import Settings
from ..text import printable
from . import sshsig

if TYPE_CHECKING:  # else loaded where it is needed, as it takes some MB
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: bytes of a file of keys at most; that of one private key has about 400
MAX_BYTES = 64 * 1024
_SETUP = "ansible-playbook setup.yml"


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """The public half of a key.

    :param raw: its 32 bytes.
    """

    raw: bytes

    @property
    def line(self) -> str:
        """As OpenSSH writes it: ``ssh-ed25519 AAAA...``, without a comment."""
        blob = base64.b64encode(sshsig.key_blob(self.raw)).decode("ascii")
        return f"{sshsig.KEY_TYPE} {blob}"

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``, as ``ssh-keygen -l`` says it."""
        digest = hashlib.sha256(sshsig.key_blob(self.raw)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    @classmethod
    def of_line(cls, line: str) -> PublicKey:
        """The key of a line of a ``.pub`` file, whatever its comment.

        :raises ValueError: it is none, or of another kind.
        """
        kind, blob = (*line.split(None, 2), "", "")[:2]
        if kind != sshsig.KEY_TYPE:
            raise ValueError(f"it does not begin with {sshsig.KEY_TYPE}")
        return cls(sshsig.key_of(sshsig.decoded(blob.encode())))


class SigningKey:
    """A private key. It signs, and that is all that can be got out of it."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        from cryptography.hazmat.primitives import serialization

        self._private = private
        raw = private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.public = PublicKey(raw)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.fingerprint})"

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``: what its object ``.sig`` holds."""
        return sshsig.sign(data, self.public.raw, self._private.sign)


def load(settings: Settings) -> SigningKey:
    """The private key of this server.

    :raises UsageError: there is none, it may be read by others, has a passphrase, is of another
        kind or broken.
    """
    path = _path(settings)
    with _in_words(path):
        return _load(path)


def load_or_make(settings: Settings) -> tuple[SigningKey, bool]:
    """The private key of this server, made where it is missing, with its public half beside it.

    Of several processes that make one at the same time all get the same.

    :return: the key, and whether this call has made it.
    :raises UsageError: see :func:`load`; or there is none and the folder cannot be written.
    """
    path = _path(settings)
    with _in_words(path):
        made = not os.path.lexists(path) and create_file(path, _new(), 0o600)
        key = _load(path)
        if _laid(path) != [key.public]:
            try:
                with held(path):  # a rotation must not find its new half replaced by an old one
                    key = _load(path)
                    _lay_public(path, key, settings)
                    sweep_halves(path)
            except OSError:
                if made:
                    raise
                # its maker was killed in between; who cannot write here signs all the same
        return key, made


def rotate(settings: Settings) -> SigningKey:
    """A new key in place of the old one, whose public half is kept: what it signed stays good.

    :raises UsageError: see :func:`load`; or the key belongs to somebody else, or the folder cannot
        be written. The old key is still there then.
    """
    path = _path(settings)
    with _in_words(path), held(path) as owner:
        if owner != os.geteuid():
            raise UsageError(
                f"Failed to replace the signing key {path}: it belongs to user number {owner}, "
                "who could not read a new one",
                f"Do it as that user: sudo -u '#{owner}' ...",
            )
        old = _load(path).public
        sweep_halves(path)
        # before the old one is gone, so that whatever ends this half-way leaves both known
        _keep(path, old, settings)
        made = _new()
        replace_file(path, made, 0o600, sync=True)
    # whoever waited holds the new file by now, and may have replaced that in his turn: the public
    # half that lies there in the end is that of the last one
    with _in_words(path), held(path):
        _lay_public(path, _load(path), settings)
        sync_folder(path)
    return _private(made, path)


def own_public_keys(settings: Settings) -> frozenset[PublicKey]:
    """The keys whose word is this server's own: that of now, and those that were replaced.

    A machine without the private key believes the public half that lies there alone.

    :raises UsageError: a file is broken, or see :func:`load`.
    """
    path = settings.signing_key_file
    if not path:
        return frozenset()
    with _in_words(path):
        # the private one is asked first: a rotation that was killed may have left the other behind
        now = [_load(path).public] if os.path.lexists(path) else _public_keys(f"{path}.pub")
    return frozenset([*now, *old_public_keys(settings)])


def old_public_keys(settings: Settings) -> list[PublicKey]:
    """The public halves of the keys that were replaced, oldest first.

    :raises UsageError: their file cannot be read, or a line of it is none.
    """
    path = _old(_path(settings))
    with _in_words(path):
        return _public_keys(path)


def require_owner_writes(path: str, mode: int) -> None:
    """A file that says whom to believe is written by its owner alone.

    :raises UsageError: others may write it.
    """
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"Others than its owner may write {path}, which says whom to believe",
            f"Look through it, then: chmod 0644 {shlex.quote(path)}",
        )


def _path(settings: Settings) -> str:
    if not settings.signing_key_file:
        raise UsageError(
            "No file for the signing key is named",
            "Add it to the config: SIGNING_KEY_FILE=/etc/postgres-backup/signing.key",
        )
    return settings.signing_key_file


def _old(path: str) -> str:
    return f"{path}.old.pub"


@contextlib.contextmanager
def _in_words(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UsageError(
            f"There is no signing key {path}", f"Make it, and its folder: {_SETUP}"
        ) from None
    except OSError as error:
        raise UsageError(
            f"Failed to read or write the signing key {path}: {error.strerror}",
            f"It belongs to the user that backs up, and {_SETUP} makes it. Where its folder is "
            "somebody else's, name a file where that user may write: backup_signing_key_file "
            "(SIGNING_KEY_FILE)",
        ) from None


def _new() -> bytes:
    """The file of a new private key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _load(path: str) -> SigningKey:
    data, mode = read_bounded(path, MAX_BYTES)
    quoted = shlex.quote(path)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"The signing key {path} may be read or written by others than its owner",
            f"chmod 0600 {quoted}; where somebody may have read it, make a new one besides",
        )
    return _private(data, path)


def _private(data: bytes, path: str) -> SigningKey:
    """The private key in the bytes of a file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    quoted = shlex.quote(path)
    # what the library says is left out: nothing of the file must come into an error
    try:
        private = serialization.load_ssh_private_key(data, None)
    except TypeError:
        raise UsageError(
            f"The signing key {path} has a passphrase, which no nightly run can type",
            f"Take it away, by an empty new one: ssh-keygen -p -f {quoted}",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _useless(path, "is broken, or not an OpenSSH private key") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _useless(path, "is not an Ed25519 key")
    return SigningKey(private)


def _useless(path: str, why: str) -> UsageError:
    quoted = shlex.quote(path)
    return UsageError(
        f"The signing key {path} {why}",
        f"Put it away and make a new one: mv {quoted} {quoted}.broken && {_SETUP}",
    )


def _public_keys(path: str) -> list[PublicKey]:
    """The keys of a file of public lines; none where there is no file."""
    try:
        data, mode = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return []
    require_owner_writes(path, mode)
    found: list[PublicKey] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found.append(PublicKey.of_line(line))
        except ValueError as error:
            raise UsageError(
                f"Line {number} of {path} is not a public key: {error}",
                f"Take the line away; a good one begins with {sshsig.KEY_TYPE} AAAA",
            ) from None
    return found


def _file_line(key: PublicKey, settings: Settings) -> str:
    """A key as it stands in a file: with whose it is."""
    return f"{key.line} postgres-backup {printable(settings.server_name)}\n"


def _keep(path: str, key: PublicKey, settings: Settings) -> None:
    """Note a key among the old ones, whose file is replaced whole, with all that it says."""
    if key in old_public_keys(settings):
        return
    try:
        data, _mode = read_bounded(_old(path), MAX_BYTES)
    except FileNotFoundError:
        data = b""
    end = b"\n" if data and not data.endswith(b"\n") else b""
    line = _file_line(key, settings).encode()
    replace_file(_old(path), data + end + line, 0o644, sync=True)


def _laid(path: str) -> list[PublicKey]:
    """What lies as the public half of a key; nothing where that is no key."""
    try:
        return _public_keys(f"{path}.pub")
    except UsageError:
        return []


def _lay_public(path: str, key: SigningKey, settings: Settings) -> None:
    """Lay the public half beside the private one. What lies there of another, whose private half is
    lost, becomes one of the old ones: it was this server's word.
    """
    for other in _laid(path):
        if other != key.public:
            _keep(path, other, settings)
    replace_file(f"{path}.pub", _file_line(key.public, settings).encode(), 0o644, sync=True)
