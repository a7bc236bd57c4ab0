"""A stream out of the store that survives a broken link and notices a replaced object."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import botocore.exceptions
import urllib3.exceptions

from ..errors import BadBackupError, StoreError
from ..findings import finding
from . import calls
from .client import S3
from .errors import Refused

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

READ_BYTES = 1024 * 1024
#: times in a row that the link may break without a single byte in between
ATTEMPTS = 6
_BROKEN_LINK = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    urllib3.exceptions.HTTPError,
)


class Download:
    """The bytes of an object, as an iterator of chunks of about 1 MiB.

    A broken link is taken up again at the byte where it broke (``Range``), as long as the object is
    still the same one (``If-Match``). Iterate once.

    :param expected_bytes: refuse the object when its size is another.
    :ivar bytes: read so far.
    :ivar total: the object's size; None before the first chunk.
    """

    def __init__(self, s3: S3, key: str, expected_bytes: int | None = None) -> None:
        self.s3, self.key, self.expected_bytes = s3, key, expected_bytes
        self.bytes = 0
        self.total: int | None = None
        self._etag, self._to = "", 0
        self._hash = hashlib.sha256()
        self._chunks = self._read()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of everything read so far; of nothing that is, after a jump."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def jump(self, place: int) -> None:
        """Go on at that byte, which must lie ahead, once something was read; what lies between is
        not asked for.
        """
        self._to = place

    def close(self) -> None:
        """Let go of the connection before the end."""
        self._chunks.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read(self) -> Generator[bytes, None, None]:
        broken = 0
        while True:
            body, total = self._open()
            before, jumped = self.bytes, False
            try:
                while max(self.bytes, self._to) < total:
                    if self._to > self.bytes:
                        self.bytes, self._to = self._to, 0
                        jumped = True
                        break
                    chunk = body.read(min(READ_BYTES, total - self.bytes))
                    self._hash.update(chunk)
                    self.bytes += len(chunk)
                    yield chunk
                if not jumped:
                    return
            except _BROKEN_LINK as error:
                cause = error
            finally:
                body.close()
            if jumped:
                broken = 0
                continue
            broken = 1 if self.bytes > before else broken + 1
            if broken > ATTEMPTS:
                raise StoreError(
                    f"Failed to download {self.key}: the connection broke {broken} times "
                    f"at byte {self.bytes} of {total}",
                    "Check the network; nothing was changed",
                ) from cause
            time.sleep(min(2.0 ** (broken - 1) / 2, 15.0))

    def _open(self) -> tuple[StreamingBody, int]:
        """The object from the next byte on, and its size."""
        doing = f"download {self.key}"
        wanted: GetObjectRequestTypeDef = {"Bucket": self.s3.bucket, "Key": self.key}
        if self.bytes:
            wanted["Range"] = f"bytes={self.bytes}-"
            wanted["IfMatch"] = self._etag
        try:
            answer = self.s3.call(calls.READ, doing, lambda client: client.get_object(**wanted))
        except Refused as error:
            if error.status == 412:
                raise self._changed() from error
            raise
        body, etag, length = answer["Body"], answer.get("ETag", ""), answer["ContentLength"]
        if self.total is None:
            self.total, self._etag = length, etag
            if self.expected_bytes not in (None, length):
                body.close()
                message = f"it holds {length} bytes, not the {self.expected_bytes} of its manifest"
                raise BadBackupError(
                    f"Failed to {doing}: {message}",
                    "Choose another backup",
                    [finding("OBJECT_SIZE", f"{self.key}: {message}")],
                )
            return body, length
        # A store that ignores Range starts anew, one that ignores If-Match sends another object.
        skip = self.bytes if "ContentRange" not in answer else 0
        if etag != self._etag or length + (0 if skip else self.bytes) != self.total:
            body.close()
            raise self._changed()
        while skip:
            skip -= len(body.read(min(READ_BYTES, skip)))
        return body, self.total

    def _changed(self) -> BadBackupError:
        message = "it was replaced while it was being read"
        return BadBackupError(
            f"Failed to download {self.key}: {message}",
            "Start again",
            [finding("OBJECT_CHANGED", f"{self.key}: {message}")],
        )
