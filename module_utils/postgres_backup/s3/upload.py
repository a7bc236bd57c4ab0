"""A stream into the store: equal parts, bounded memory, and nothing left behind by a failure."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import PostgresBackupError, StoreError
from ..findings import finding
from ..machine import signals
from ..machine.carried import Carried
from . import calls
from .client import QUICK, S3, StoredObject, content_md5
from .errors import CallFailed, Refused, may_fail
from .parts import BUFFER_BYTES, MIB, MOST_BUFFER_BYTES, PartBody, plan_parts
from .unfinished import abort, unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the pieces that an object was sent in: its bytes, and their SHA-256 (hexadecimal)."""

    bytes: int
    sha256: str


#: how stores say that an upload may have no such part
_TOO_MANY = ("TooManyParts", "InvalidPartNumber")


class NameTaken(CallFailed):
    """Somebody else has an object of that name since; it is as it was."""


class Upload:
    """An object being written. It exists under its key after :meth:`complete`, and not before.

    A context manager: left by an exception, or without ``complete``, nothing of it stays in the
    store. Not for several threads at once.

    :ivar bytes: written so far.
    """

    def __init__(self, s3: S3, key: str, expected_bytes: int) -> None:
        self.s3, self.key = s3, key
        self.max_parts = s3.settings.s3_max_parts
        self.plan = plan_parts(expected_bytes, self.max_parts)
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._part_bytes = self.plan.part_bytes
        self._double_at = math.ceil(self.max_parts * 3 / 4)
        self._buffer: bytearray | None = None
        self._filled = 0
        self._upload_id = ""
        self._begun = self._finishing = self._ended = False
        self._new = False
        self._etags: dict[int, str] = {}
        self._parts: dict[int, Part] = {}
        self._number = 0
        # shared with the threads, under _changed
        self._changed = signals.Condition()
        self._free: list[bytearray] = []
        self._held = 0
        self._in_flight = 0
        self._failure = Carried()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(self.plan.workers, thread_name_prefix="upload")

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of everything written so far."""
        return self._hash.hexdigest()

    @property
    def parts(self) -> list[Part]:
        """The pieces of the whole object, in order, once it is complete; one that was sent by a
        single request is one piece, an empty one none.
        """
        if self._upload_id:
            return [self._parts[number] for number in sorted(self._parts)]
        return [Part(self.bytes, self.sha256)] if self.bytes else []

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended:
            return
        try:
            self.abort()
        except StoreError as not_aborted:
            if error is None:
                raise
            # The first error is the one to show; a sweep removes what is left.
            told = finding("UPLOAD_NOT_ABORTED", not_aborted.message)
            heard = error.findings if isinstance(error, PostgresBackupError) else self.s3.refused
            heard.append(told)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take these bytes; waits while all buffers are on their way.

        :raises StoreError: now, or an earlier part could not be stored.
        """
        if self._ended:
            raise ValueError("write to an upload that has ended")
        self._hash.update(data)
        with memoryview(data) as whole, whole.cast("B") as view:
            done = 0
            while done < len(view):
                if self._buffer is None:
                    self._buffer = self._acquire()
                elif self._filled == len(self._buffer):
                    # only now that more follows: the last part is sent by complete
                    self._send_buffer()
                    continue
                count = min(len(view) - done, len(self._buffer) - self._filled)
                with memoryview(self._buffer) as target:
                    target[self._filled : self._filled + count] = view[done : done + count]
                self._filled += count
                done += count
            self.bytes += len(view)
        self._failure.check()

    def complete(self) -> StoredObject:
        """Make the object visible, and look at it again.

        :returns: the object as the store tells of it, its size compared.
        :raises NameTaken: an object of that name is there.
        :raises StoreError: it could not be stored, or is there with another size (it is deleted
            then).
        """
        if self._ended:
            raise ValueError("complete of an upload that has ended")
        if self._upload_id:
            if self._filled:
                self._send_buffer()
            with self._changed:
                self._changed.wait_for(
                    lambda: not self._in_flight or self._failure.error is not None
                )
            self._failure.check()
            self._begin_finishing()
            self._complete_parts()
        else:
            body = PartBody(self._buffer or bytearray(), self._filled, self._stop)
            digest = content_md5(body.md5())
            self._begin_finishing()
            self.s3.call(
                calls.PUT,
                self._doing,
                lambda client: client.put_object(
                    Bucket=self.s3.bucket,
                    Key=self.key,
                    Body=body.from_start(),
                    ContentMD5=digest,
                    ContentType="application/octet-stream",
                ),
            )
        stored = self._look()
        self._ended = True
        self._pool.shutdown()
        self._buffer = None
        self._free.clear()
        return stored

    def give_up(self) -> None:
        """From another thread: nothing more is tried, so that :meth:`write` raises soon;
        :meth:`abort` is still to come.
        """
        self._stop.set()

    def abort(self) -> None:
        """Give up: waits for the threads, then removes every part. A second call does nothing.

        :raises StoreError: the store did not let go of the parts; a later sweep will find them.
        """
        if self._ended:
            return
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._buffer = None
        self._free.clear()
        doing = f"abort the upload of {self.key}"
        ids = [self._upload_id] if self._upload_id else []
        if self._begun and not ids:
            # The answer that held the id was lost, or an exception came in between.
            ids = [
                upload.upload_id
                for upload in unfinished(self.s3, calls.FIND_OWN, self.key, patience=QUICK)
                if upload.key == self.key
            ]
        for upload_id in ids:
            abort(self.s3, calls.GIVE_UP, self.key, upload_id, doing, patience=QUICK)
        if self._finishing:
            # The store may have finished it although we never heard so.
            stored = self.s3.head(calls.SEE, self.key, patience=QUICK)
            if stored is not None and stored.bytes == self.bytes:
                if not self._new:
                    raise CallFailed(calls.SEE, f"Failed to {doing}: whose it is cannot be told")
                self.s3.delete(calls.TAKE_BACK, self.key, doing, patience=QUICK)
        self._ended = True

    @property
    def _doing(self) -> str:
        return f"upload {self.key}"

    def _begin_finishing(self) -> None:
        """From here on the object may appear, whatever we hear of it; so nothing may lie there now:
        where names cannot be claimed, another server may have chosen the same.
        """
        with may_fail(self.s3.refused):
            if self.s3.head(calls.IS_TAKEN, self.key):
                raise NameTaken(
                    calls.COMPLETE,
                    f"Failed to {self._doing}: somebody else has written an object of that name",
                    "Try again",
                )
            self._new = True
        self._finishing = True

    def _acquire(self) -> bytearray:
        """A buffer of one part; waits for one that is on its way."""
        size = self._part_bytes
        room = max(BUFFER_BYTES, self.plan.buffers * self.plan.part_bytes, size)
        most = min(room, self.plan.buffers * size)
        found: list[bytearray] = []

        def take() -> bool:
            self._failure.check()
            fitting = [buffer for buffer in self._free if len(buffer) == size]
            if fitting:
                self._free.remove(fitting[0])
                found.append(fitting[0])
                return True
            self._held -= sum(len(buffer) for buffer in self._free)
            self._free.clear()
            if self._held and self._held + size > most:
                return False
            self._held += size
            found.append(bytearray(size))
            return True

        with self._changed:
            self._changed.wait_for(take)
        return found[0]

    def _send_buffer(self) -> None:
        """Hand the filled buffer to a thread, as the next part."""
        if not self._upload_id:
            self._begun = True
            self._upload_id = self.s3.call(
                calls.BEGIN,
                self._doing,
                lambda client: client.create_multipart_upload(
                    Bucket=self.s3.bucket, Key=self.key, ContentType="application/octet-stream"
                )["UploadId"],
                stop=self._stop,
            )
        self._failure.check()
        self._number += 1
        if self._number > self.max_parts:
            raise StoreError(
                f"Failed to {self._doing}: it grew beyond {self.max_parts} parts "
                f"of {self.plan.part_bytes // MIB} MiB",
                "Raise backup_s3_max_parts if the store takes more; "
                "for a database of this size pgBackRest is the right tool",
            )
        if self._number == self._double_at:
            # The stream outgrows its plan. Unequal parts are the last resort: most stores take
            # them.
            self._part_bytes = min(self._part_bytes * 2, max(MOST_BUFFER_BYTES, self._part_bytes))
            self._double_at = self._number + max(1, (self.max_parts - self._number) // 2)
        buffer, length = self._buffer, self._filled
        self._buffer, self._filled = None, 0
        assert buffer is not None
        with self._changed:
            self._in_flight += 1
        try:
            with signals.hold:  # it may start a thread
                self._pool.submit(self._send, self._number, buffer, length)
        except BaseException:
            with self._changed:
                self._in_flight -= 1
            raise

    def _send(self, number: int, buffer: bytearray, length: int) -> None:
        """In a thread of the pool: one part."""
        body = PartBody(buffer, length, self._stop)
        try:
            with self._failure:
                digest = content_md5(body.md5())
                # before it is sent: what the store gives back is held against what was made here
                self._parts[number] = Part(length, body.sha256())
                self._etags[number] = self._sent(number, body, digest)
        finally:
            with self._changed:
                self._in_flight -= 1
                self._free.append(buffer)
                self._changed.notify_all()

    def _sent(self, number: int, body: PartBody, digest: str) -> str:
        """The ETag of a part that the store took."""
        doing = f"upload part {number} of {self.key}"
        try:
            return self.s3.call(
                calls.SEND,
                doing,
                lambda client: client.upload_part(
                    Bucket=self.s3.bucket,
                    Key=self.key,
                    UploadId=self._upload_id,
                    PartNumber=number,
                    Body=body.from_start(),
                    ContentMD5=digest,
                )["ETag"],
                stop=self._stop,
            )
        except Refused as error:
            about_number = error.code in _TOO_MANY or "part number" in error.message.lower()
            if number == 1 or error.status != 400 or not about_number:
                raise
            raise CallFailed(
                calls.SEND,
                f"Failed to {doing}: the store takes no more than {number - 1} parts",
                self.s3.settings.named(
                    f"Set backup_s3_max_parts (in the config: S3_MAX_PARTS) to {number - 1}: "
                    "the parts are larger then"
                ),
            ) from error

    def _complete_parts(self) -> None:
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": self._etags[number]} for number in sorted(self._etags)
        ]
        try:
            self.s3.call(
                calls.COMPLETE,
                self._doing,
                lambda client: client.complete_multipart_upload(
                    Bucket=self.s3.bucket,
                    Key=self.key,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": parts},
                ),
            )
        except StoreError:
            # The answer to a first, successful attempt may have been lost; then the object is
            # there.
            stored = self.s3.head(calls.SEE, self.key) if self._new else None
            if stored is None or stored.bytes != self.bytes:
                raise

    def _look(self) -> StoredObject:
        for attempt in range(5):
            stored = self.s3.head(calls.SEE, self.key)
            if stored is not None:
                break
            time.sleep(attempt)
        else:
            raise StoreError(
                f"Failed to {self._doing}: the store took it, and does not show it",
                "Try again; if it lasts, ask the provider",
                passes=True,
            )
        if stored.bytes != self.bytes:
            self.s3.delete(calls.DISCARD, self.key, self._doing)
            raise StoreError(
                f"Failed to {self._doing}: {self.bytes} bytes were sent, "
                f"the store shows {stored.bytes}",
                "Try again; if it lasts, ask the provider",
                passes=True,
            )
        return stored
