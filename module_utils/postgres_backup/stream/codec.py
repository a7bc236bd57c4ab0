"""Compression of streams, and the chain of compression and encryption, each way, in bounded memory.

gzip by ISA-L (any gunzip reads it), zstd with a checksum of its content.
Reading is suspicious: a stream that ends early, is damaged, or goes on after its end is reported
and never passed over, because psql would take the first part of a dump for all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import zstandard
from isal import isal_zlib

from ..errors import BadBackupError
from ..findings import finding
from .age import PIECE_BYTES, Coder, decrypt, encryptor

__all__ = [
    "Chain",
    "compressor",
    "decompress",
    "decrypt",
    "encryptor",
    "is_gzip",
    "is_zstd",
]

#: ISA-L's own default; on a dump 270 MB/s at a ratio of 0.36 (gzip -6: 21 MB/s at 0.32, on the same
#: core)
GZIP_LEVEL = 2
#: zstd's own default; 70 MB/s at 0.33
ZSTD_LEVEL = 3
_WITH_GZIP_HEADER = 31
#: bytes that go in at once: a piece of zstd may unpack to 32,000 times its size, and has no limit
#: of its own
_ZSTD_SLICE = 2048
_GZIP_SLICE = 64 * 1024
_GZIP_MOST_OUT = 256 * 1024


class _Plain:
    def compress(self, data: bytes | memoryview, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def compressor(compression: str) -> Coder:
    """A new packer: ``gzip``, ``zstd`` or ``none``. The same bytes in give the same bytes out: no
    time, no name.
    """
    if compression == "gzip":
        return isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _WITH_GZIP_HEADER)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    if compression == "none":
        return _Plain()
    raise ValueError(f"unknown compression {compression!r}")


class Chain:
    """Compress, then encrypt where there are recipients."""

    def __init__(self, compression: str, recipients: Sequence[str] = ()) -> None:
        self._compression = compression
        self._coders = [compressor(compression)] + ([encryptor(recipients)] if recipients else [])

    def write(self, data: bytes | memoryview) -> bytes:
        """What is ready after these bytes; may be empty."""
        for coder in self._coders:
            data = coder.compress(data)
        return bytes(data)

    def cut(self) -> bytes:
        """The rest so far; what comes next is a member (frame) of its own. Not with encryption."""
        data = self._coders[0].flush()
        self._coders[0] = compressor(self._compression)
        return data

    def finish(self) -> bytes:
        """The rest; the chain is at its end."""
        data = b""
        for coder in self._coders:
            data = (coder.compress(data) if data else b"") + coder.flush()
        return data


def decompress(chunks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    """The unpacked bytes in pieces of about a quarter of a megabyte. Reads ``chunks`` to their end.

    Several gzip members or zstd frames after one another are legal, and so are zeros behind the
    last (as for gunzip: tapes and disks pad).

    :raises BadBackupError: finding ``COMPRESSION_TRUNCATED``, ``COMPRESSION_CORRUPT`` or
        ``TRAILING_GARBAGE``.
    """
    if compression == "none":
        return _gathered(chunks)
    if compression == "gzip":
        return _gathered(_members(_Input(chunks), is_gzip, _gzip_member))
    if compression == "zstd":
        return _gathered(_members(_Input(chunks), is_zstd, _zstd_frame))
    raise ValueError(f"unknown compression {compression!r}")


class _Input:
    """Chunks as one stream, with a look ahead and a way to give back."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._ahead: deque[bytes | memoryview] = deque()

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end; they stay."""
        seen = b""
        at = 0
        while len(seen) < count:
            if at == len(self._ahead):
                more = next(self._chunks, None)
                if more is None:
                    break
                self._ahead.append(more)
            seen += bytes(self._ahead[at][: count - len(seen)])
            at += 1
        return seen

    def take(self, count: int) -> bytes:
        """At least one and at most ``count`` bytes; none at the end."""
        for piece in self._pieces():
            if len(piece) > count:
                self._ahead.appendleft(memoryview(piece)[count:])
            return bytes(piece[:count])
        return b""

    def back(self, data: bytes) -> None:
        """Put ``data`` in front again."""
        self._ahead.appendleft(data)

    def _pieces(self) -> Iterator[bytes | memoryview]:
        while True:
            piece = self._ahead.popleft() if self._ahead else next(self._chunks, None)
            if piece is None:
                return
            if piece:
                yield piece


def _members(
    source: _Input, is_member: Callable[[bytes], bool], unpack: Callable[[_Input], Iterator[bytes]]
) -> Iterator[bytes]:
    """Member after member to the end of the stream."""
    start = source.peek(4)
    if not start:
        raise _bad("COMPRESSION_TRUNCATED", "it is empty")
    if not is_member(start):
        raise _bad("COMPRESSION_CORRUPT", "it is not compressed as its name says")
    while is_member(source.peek(4)):
        yield from unpack(source)
    while data := source.take(PIECE_BYTES):
        if data.strip(b"\0"):
            raise _bad("TRAILING_GARBAGE", "something else follows its end")


def is_gzip(start: bytes) -> bool:
    """By the first two bytes of a member."""
    return start[:2] == b"\x1f\x8b"


def is_zstd(start: bytes) -> bool:
    """By the first four bytes of a frame."""
    # a frame, or one that readers pass over (RFC 8878, 3.1)
    return start == b"\x28\xb5\x2f\xfd" or (
        start[1:] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50
    )


def _gzip_member(source: _Input) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(_WITH_GZIP_HEADER)
    while not member.eof:
        data = source.take(_GZIP_SLICE)
        if not data:
            raise _bad("COMPRESSION_TRUNCATED", "it ends too early")
        try:
            piece = member.decompress(data, _GZIP_MOST_OUT)
            yield piece
            while not member.eof and (member.unconsumed_tail or len(piece) == _GZIP_MOST_OUT):
                piece = member.decompress(member.unconsumed_tail, _GZIP_MOST_OUT)
                yield piece
        except isal_zlib.error as error:  # type: ignore[misc]  # isal's types call it a value
            raise _bad("COMPRESSION_CORRUPT", f"it is damaged: {error}") from error
    source.back(member.unused_data)


def _zstd_frame(source: _Input) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    while not frame.eof:
        data = source.take(_ZSTD_SLICE)
        if not data:
            raise _bad("COMPRESSION_TRUNCATED", "it ends too early")
        try:
            yield frame.decompress(data)
        except zstandard.ZstdError as error:
            raise _bad("COMPRESSION_CORRUPT", f"it is damaged: {error}") from error
    source.back(frame.unused_data)


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces worth handing on."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _bad(code: str, cause: str) -> BadBackupError:
    return BadBackupError(
        f"Failed to read the backup: {cause}",
        "Choose another: postgres-backup list",
        [finding(code, cause)],
    )
