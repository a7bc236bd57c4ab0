"""A stream out of the store that survives a broken link and notices a replaced object."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

import botocore.exceptions
import urllib3.exceptions

from ..errors import BadBackupError, StoreError
from ..findings import finding
from . import calls, somebody_else
from .client import S3
from .errors import Refused, SomebodyElse
from .explanations import explain

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

READ_BYTES = 1024 * 1024
#: times in a row that the link may break without a single byte in between
ATTEMPTS = 6
#: how proxies pack, and objects of ours that nothing packs
_PACKED = {"gzip", "x-gzip", "deflate", "br", "zstd"}
_PLAIN = (".json", ".sig")
_PLACE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _EndedEarly(Exception):
    """An answer was shorter than it said."""


class Packed(StoreError):
    """What comes is not what lies in the store."""


_BROKEN_LINK = (
    _EndedEarly,
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
    :ivar total: the object's size; None before the first chunk, and where the store does not say
        it before the last.
    """

    def __init__(self, s3: S3, key: str, expected_bytes: int | None = None) -> None:
        self.s3, self.key, self.expected_bytes = s3, key, expected_bytes
        self.bytes = 0
        self.total: int | None = None
        self._etag, self._to = "", 0
        self._packed = False
        self._headers: Mapping[str, str] = {}
        #: the object is known, and must be the same from then on
        self._met = False
        #: where to stop before the object's end
        self._end: int | None = None
        self._hash = hashlib.sha256()
        self._chunks = self._read()

    @property
    def etag(self) -> str:
        """What the store calls the object's content; empty where it does not."""
        return self._etag.strip('"')

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of everything read so far; of nothing that is, after a jump."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def jump(self, place: int) -> None:
        """Go on at that byte, which must lie ahead; what lies between is not asked for."""
        if self._met:
            self._to = place
        else:  # nothing was asked for yet
            self.bytes = place

    def close(self) -> None:
        """Let go of the connection before the end."""
        self._chunks.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def again(self, start: int, count: int) -> bytes:
        """So many bytes of the same object from that place, asked for once more by themselves.

        :raises StoreError: they do not come.
        """
        with Download(self.s3, self.key) as other:
            other.bytes, other.total, other._etag = start, self.total, self._etag
            other._met, other._end = self._met, start + count
            return b"".join(other)

    def _read(self) -> Generator[bytes, None, None]:
        broken = 0
        while True:
            before, jumped = self.bytes, False
            body: StreamingBody | None = None
            try:
                body, skip = self._open()
                while skip:
                    skip -= len(_some(body, min(READ_BYTES, skip)))
                while (left := self._left()) is None or left > 0:
                    if self._to > self.bytes:
                        self.bytes, self._to = self._to, 0
                        jumped = True
                        break
                    if left is None:
                        chunk = body.read(READ_BYTES)
                        if not chunk:
                            self._ended()
                            return
                    else:
                        chunk = _some(body, min(READ_BYTES, left))
                    if not self.bytes:
                        self._require_s3(chunk)
                    self._hash.update(chunk)
                    self.bytes += len(chunk)
                    yield chunk
                if not jumped:
                    return
            except _BROKEN_LINK as error:
                cause = error
            finally:
                if body is not None:
                    body.close()
            if jumped:
                broken = 0
                continue
            broken = 1 if self.bytes > before else broken + 1
            if broken > ATTEMPTS:
                of = f" of {self.total}" if self.total is not None else ""
                raise StoreError(
                    f"Failed to download {self.key}: the connection broke {broken} times "
                    f"at byte {self.bytes}{of}",
                    "Check the network; nothing was changed",
                    passes=True,
                ) from cause
            time.sleep(min(2.0 ** (broken - 1) / 2, 15.0))

    def _left(self) -> int | None:
        """Bytes that are still to come; None where only the end of the answer will tell."""
        end = self.total if self._end is None else self._end
        return None if end is None else end - max(self.bytes, self._to)

    def _ended(self) -> None:
        """The end of an answer that did not tell its length."""
        self.total = self.bytes
        self._require_expected(self.total)

    def _open(self) -> tuple[StreamingBody, int]:
        """The object from the next byte on, and how many bytes before that come first."""
        doing = f"download {self.key}"
        wanted: GetObjectRequestTypeDef = {"Bucket": self.s3.bucket, "Key": self.key}
        if self.bytes:
            wanted["Range"] = f"bytes={self.bytes}-"
            if self._end is not None:
                wanted["Range"] += str(self._end - 1)
        elif self._end is not None:
            wanted["Range"] = f"bytes=0-{self._end - 1}"
        if self._etag:
            wanted["IfMatch"] = self._etag
        try:
            answer = self.s3.call(calls.READ, doing, lambda client: client.get_object(**wanted))
        except Refused as error:
            if error.status in (412, 416):
                raise self._changed() from error
            raise
        body, etag = answer["Body"], answer.get("ETag", "")
        length: int | None = answer.get("ContentLength")
        first, self._met = not self._met, True
        try:
            self._headers = answer["ResponseMetadata"]["HTTPHeaders"]
            self._packed = answer.get("ContentEncoding", "").lower() in _PACKED
            page = somebody_else.called_page(self._headers)
            if self._packed and not page and self.key.endswith(_PLAIN):
                raise self._comes_packed()
            place = _PLACE.fullmatch(answer.get("ContentRange", ""))
            if place is None:  # the whole object, whether a part of it was wanted or not
                start, total = 0, length
            else:
                start, total = int(place[1]), int(place[2]) if place[2] != "*" else self.total
            if first:
                self._etag = etag
                self.total = total
                if total is not None:
                    self._require_expected(total)
            elif etag != self._etag or (None not in (total, self.total) and total != self.total):
                raise self._changed()
            elif self.total is None:
                self.total = total
            if start > self.bytes:
                raise StoreError(
                    f"Failed to {doing}: byte {self.bytes} was asked for, the store sends {start}",
                    "Ask the provider; nothing was changed",
                )
        except BaseException:
            body.close()
            raise
        # a store that ignores Range starts anew
        return body, self.bytes - start

    def _require_expected(self, total: int) -> None:
        if self.expected_bytes in (None, total):
            return
        if somebody_else.called_page(self._headers):
            raise self._is_no_s3(SomebodyElse("a web page", passes=False))
        if self._packed:
            raise self._comes_packed()
        message = f"it holds {total} bytes, not the {self.expected_bytes} of its manifest"
        raise BadBackupError(
            f"Failed to download {self.key}: {message}",
            "Choose another backup",
            [finding("OBJECT_SIZE", f"{self.key}: {message}")],
        )

    def _require_s3(self, begins: bytes) -> None:
        if self.total is not None and self.total == self.expected_bytes:
            return  # of that size an object was listed: what was stored may be a page
        try:
            somebody_else.require_no_page(self.key, self._headers, begins, passes=False)
        except SomebodyElse as error:
            raise self._is_no_s3(error) from error

    def _is_no_s3(self, error: SomebodyElse) -> StoreError:
        return explain(error, calls.READ, f"download {self.key}", self.s3.settings)

    def _comes_packed(self) -> StoreError:
        return Packed(
            f"Failed to download {self.key}: something on the way packs what the store sends "
            "(Content-Encoding)",
            "Switch compression off in the proxy, gateway or CDN in front of the store; "
            "nothing was changed",
        )

    def _changed(self) -> BadBackupError:
        message = "it was replaced while it was being read"
        return BadBackupError(
            f"Failed to download {self.key}: {message}",
            "Start again",
            [finding("OBJECT_CHANGED", f"{self.key}: {message}")],
        )


def _some(body: StreamingBody, count: int) -> bytes:
    """At least one byte of an answer, and at most so many.

    :raises _EndedEarly: it has none any more.
    """
    data = body.read(count)
    if not data:
        raise _EndedEarly
    return data
