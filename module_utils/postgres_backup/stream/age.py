"""Encryption of streams with age, each way, in bounded memory; any ``age`` reads and writes the
same.

pyrage wants two files and works through them in one go. Its encryption therefore runs in a thread
that is fed piece by piece, its decryption in one that feeds.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import pyrage

from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..findings import finding
from ..machine import signals
from ..machine.carried import Carried
from .channel import Channel

#: bytes of a piece that comes out, about
PIECE_BYTES = 256 * 1024


class Coder(Protocol):
    """What packs a stream: pieces go in and out, ``flush`` gives the rest and ends it."""

    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


def encryptor(recipients: Sequence[str]) -> Coder:
    """A new age encryptor for public keys (``age1...`` or ``ssh-...``).

    :raises UsageError: a key is none.
    """
    return _Encryptor([_recipient(text) for text in recipients])


def decrypt(chunks: Iterable[bytes], identities: Sequence[str]) -> Iterator[bytes]:
    """The decrypted bytes, in pieces of about a quarter of a megabyte. ``chunks`` is read in
    another thread.

    :param identities: private keys: ``AGE-SECRET-KEY-1...``, or an OpenSSH private key as text.
    :raises UsageError: a key is none, or none of them opens it.
    :raises BadBackupError: finding ``ENCRYPTION_CORRUPT``: cut, damaged, or not encrypted at all.
    """
    return _decrypted(chunks, [_identity(text) for text in identities])


def _recipient(text: str) -> object:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageError(
            f"Failed to encrypt for {text!r}: {error}",
            "Check backup_age_recipients: "
            "public keys such as age1..., as `age-keygen -y` prints them",
        ) from error


def _identity(text: str) -> object:
    try:
        return (
            pyrage.ssh.Identity.from_buffer(text.encode())
            if text.startswith("-----")
            else pyrage.x25519.Identity.from_str(text.strip())
        )
    except pyrage.IdentityError as error:
        # without the key itself
        raise UsageError(
            f"Failed to decrypt: what was given is not a private key of age ({error})",
            "It begins with AGE-SECRET-KEY-1, or is an OpenSSH private key",
        ) from None


class _PullingFile:
    """What pyrage reads from: pieces fetched one after another. Keeps the error of the source,
    which pyrage would reword.
    """

    def __init__(self, fetch: Callable[[], bytes]) -> None:
        self._fetch, self._piece, self._at = fetch, b"", 0
        self.error: BaseException | None = None

    def read(self, count: int) -> bytes:
        while self._at == len(self._piece):
            try:
                self._piece, self._at = self._fetch(), 0
            except BaseException as error:
                self.error = error
                raise
            if not self._piece:
                return b""
        taken = self._piece[self._at : self._at + count]
        self._at += len(taken)
        return taken


class _PushingFile:
    """What pyrage writes to: a function takes the pieces, gathered."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._held.append(bytes(data))
        self._size += len(data)
        if self._size >= PIECE_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._held:
            self._take(b"".join(self._held))
            self._held, self._size = [], 0


class _Encryptor:
    """pyrage pulls its input, and we push: so it runs in a thread of its own, at most a few pieces
    behind.
    """

    def __init__(self, recipients: Sequence[object]) -> None:
        self._input = Channel(4 * PIECE_BYTES)
        self._output: deque[bytes] = deque()
        self._failure = Carried()
        self._thread = threading.Thread(
            target=_encrypt,
            args=(self._input, self._output, self._failure, recipients),
            name="encrypt",
            daemon=True,
        )
        with signals.hold:
            self._thread.start()
        # one that is dropped half-way must not leave its thread waiting
        weakref.finalize(self, self._input.close)

    def compress(self, data: bytes | memoryview, /) -> bytes:
        try:
            self._input.put(bytes(data))
        except BrokenPipeError:
            self._raise_failure()
            raise
        return self._ready()

    def flush(self) -> bytes:
        self._input.end()
        self._thread.join()
        self._raise_failure()
        return self._ready()

    def _ready(self) -> bytes:
        return b"".join(self._output.popleft() for _ in range(len(self._output)))

    def _raise_failure(self) -> None:
        if error := self._failure.error:
            raise PostgresBackupError(
                f"Failed to encrypt: {error}", "Try again; if it lasts, please report this line"
            ) from error


def _encrypt(
    source: Channel, output: deque[bytes], failure: Carried, recipients: Sequence[object]
) -> None:
    sink = _PushingFile(output.append)
    with failure:
        pyrage.encrypt_io(_PullingFile(source.get), sink, recipients)
        sink.flush()
    if failure.error is not None:
        source.close()


def _decrypted(chunks: Iterable[bytes], identities: Sequence[object]) -> Iterator[bytes]:
    source = iter(chunks)
    reader = _PullingFile(lambda: next((chunk for chunk in source if chunk), b""))
    output = Channel(4 * PIECE_BYTES)
    failure = Carried()

    def work() -> None:
        sink = _PushingFile(output.put)
        with failure:
            pyrage.decrypt_io(reader, sink, identities)
            sink.flush()
        output.end()

    thread = threading.Thread(target=work, name="decrypt", daemon=True)
    with signals.hold:
        thread.start()
    try:
        while piece := output.get():
            yield piece
    finally:
        output.close()
        thread.join()
    if reader.error is not None:
        raise reader.error
    if failure.error is not None:
        raise _explain(failure.error) from failure.error


def _explain(error: BaseException) -> BaseException:
    if isinstance(error, pyrage.DecryptError) and "No matching keys" in str(error):
        hint = "Give the private key that belongs to one of the backup_age_recipients of that time"
        return UsageError(
            "Failed to decrypt the backup: none of the private keys given opens it",
            hint,
            [finding("KEY_WRONG", "none of the private keys given opens it")],
        )
    if isinstance(error, (pyrage.DecryptError, OSError)):
        message = f"it is cut, damaged or not encrypted ({error})"
        return BadBackupError(
            f"Failed to decrypt the backup: {message}",
            "Choose another: postgres-backup list",
            [finding("ENCRYPTION_CORRUPT", message)],
        )
    return error
