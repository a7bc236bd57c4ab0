"""The object storage, as the rest of the package knows it."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeVar

from ..errors import BadBackupError, PostgresBackupError, StoreError
from ..settings import Settings
from . import bucket
from .client import PATIENCE, S3, StoredObject, content_md5, md5
from .download import Download
from .errors import Refused
from .upload import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

#: seconds for which a store is asked again when all that is left to do is to clean up, or to note
#: that something failed
HASTY = 5.0
#: bytes of an object that is read into memory at once
SMALL = 64 * 1024 * 1024
#: small objects that are asked for at the same time
_AT_ONCE = 8

#: objects that a listing goes through at most
MOST_OBJECTS = 1_000_000

T = TypeVar("T")


class TooLarge(StoreError):
    """An object holds more than such a one may."""


#: one object cannot be read, which says nothing of the store or of the others
Unreadable = (Refused, TooLarge, BadBackupError)


class Store:
    """One bucket of an S3-compatible store. May be used by several threads.

    :param settings: endpoint, region, bucket, key, addressing style, CA bundle, most parts.
    :param patience: seconds for which a call to a silent or failing store is repeated before it
        counts as failed.
    :raises UsageError: the CA bundle cannot be read.

    Every method raises :class:`StoreError` when the store cannot be reached, and :class:`Refused`,
    a kind of it, when it says no.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self.settings = settings
        self.s3 = S3(settings, patience)

    def check(self) -> None:
        """Endpoint, key, bucket and region are right: asks for one page of the prefix, and gives up
        soon.
        """
        bucket.probe(self.s3)

    def list(
        self, prefix: str, delimiter: str = "", after: str = "", most: int = MOST_OBJECTS
    ) -> Iterator[StoredObject]:
        """Objects whose keys begin with ``prefix``, in the order of their keys, page by page.

        :param delimiter: ``/`` leaves out what lies under sub-prefixes.
        :param after: only keys that come after this one, where the store heeds it; so whoever needs
            that looks again.
        :param most: no program of ours makes more; somebody else fills the bucket.
        :raises StoreError: there are more than ``most``.
        """
        count = 0
        page: ListObjectsV2RequestTypeDef = {"Bucket": self.s3.bucket, "Prefix": prefix}
        if delimiter:
            page["Delimiter"] = delimiter
        if after:
            page["StartAfter"] = after
        while True:
            answer = self.s3.call(f"list {prefix}", lambda client: client.list_objects_v2(**page))
            found = answer.get("Contents", [])
            count += len(found)
            if count > most:
                raise StoreError(
                    f"Failed to list {prefix}: there are more than {most:,} objects, "
                    "far more than backups make",
                    "Look who else writes there, and remove what is none of ours; "
                    "or begin anew under another prefix (backup_s3_prefix)",
                )
            for entry in found:
                yield StoredObject(
                    entry["Key"],
                    entry["Size"],
                    entry["LastModified"].astimezone(timezone.utc),
                    entry.get("ETag", "").strip('"'),
                )
            if not answer.get("IsTruncated"):
                return
            token = answer.get("NextContinuationToken")
            if not token:
                raise StoreError(
                    f"Failed to list {prefix}: the store says that there is more, and not where",
                    "Ask the provider",
                )
            page["ContinuationToken"] = token

    def head(self, key: str) -> StoredObject | None:
        """What the store tells of one object; None when there is none."""
        return self.s3.head(key)

    def get(self, key: str, limit: int = SMALL) -> bytes | None:
        """A small object; None when there is none.

        :raises TooLarge: it holds more than ``limit`` bytes.
        """
        pieces = []
        with Download(self.s3, key) as download:
            try:
                for piece in download:
                    if download.total is not None and download.total > limit:
                        raise TooLarge(
                            f"Failed to read {key}: it holds {download.total} bytes, "
                            f"more than the {limit} that such an object may have",
                            "",
                        )
                    pieces.append(piece)
            except Refused as error:
                if error.code in ("NoSuchKey", "404"):
                    return None
                raise
        return b"".join(pieces)

    def get_many(
        self,
        keys: Iterable[str],
        parse: Callable[[str, bytes | PostgresBackupError | None], T],
        limit: int = SMALL,
    ) -> Sequence[T]:
        """Many small objects, several at a time: what ``parse`` makes of each key and its bytes (of
        None where there is no such object, of the error where that one alone cannot be read), in
        the order of the keys.

        :param limit: bytes that each of them may hold.
        """

        def one(key: str) -> T:
            try:
                data: bytes | PostgresBackupError | None = self.get(key, limit)
            except Unreadable as error:
                if isinstance(error, Refused) and error.status >= 500:
                    raise  # that is the store, and not this object
                data = error
            return parse(key, data)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(one, keys))

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Write a small object, replacing one of that name."""
        digest = content_md5(md5(data))
        self.s3.call(
            f"write {key}",
            lambda client: client.put_object(
                Bucket=self.s3.bucket,
                Key=key,
                Body=data,
                ContentMD5=digest,
                ContentType=content_type,
            ),
        )

    def link(self, key: str, seconds: int) -> str:
        """An address of an object for those without a key, good for so long; whoever has it can
        read the object. Nothing is asked of the store.
        """
        return self.s3.client.generate_presigned_url(
            "get_object", {"Bucket": self.s3.bucket, "Key": key}, seconds
        )

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, in this order; one that is not there counts as deleted.

        One by one: the call that deletes many is refused by some stores, and its checksum differs
        between them.

        :raises StoreError: at the first that cannot be deleted; those before it are gone.
        """
        for key in keys:
            try:
                self.s3.delete(key, f"delete {key}")
            except Refused as error:
                if error.code != "NoSuchKey":
                    raise

    def upload(self, key: str, expected_bytes: int) -> Upload:
        """Begin an object of at most about ``expected_bytes``; see :class:`Upload`."""
        return Upload(self.s3, key, expected_bytes)

    def download(self, key: str, expected_bytes: int | None = None) -> Download:
        """The bytes of an object in chunks; see :class:`Download`."""
        return Download(self.s3, key, expected_bytes)

    def clock_difference(self) -> float:
        """Seconds that this machine's clock is ahead of the store's (to about one second)."""
        doing = "compare the clock with the store's"
        before = time.time()
        try:
            answer = self.s3.call(
                doing,
                lambda client: client.list_objects_v2(
                    Bucket=self.s3.bucket, Prefix=self.settings.s3_prefix, MaxKeys=1
                ),
            )
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
        except Refused as error:
            if not error.headers.get("date"):
                raise
            headers = error.headers  # it may refuse just because of the clock
        if not headers.get("date"):
            raise StoreError(f"Failed to {doing}: it does not tell the time", "")
        theirs = email.utils.parsedate_to_datetime(headers["date"]).timestamp()
        return (before + time.time()) / 2 - theirs - 0.5

    def sweep_uploads(self, prefix: str, older_than_hours: float) -> int:
        """Abort uploads under ``prefix`` that began longer ago than that, by the store's clock.

        :returns: how many there were; 0 also where the store cannot list them.
        """
        oldest = (
            datetime.now(timezone.utc)
            - timedelta(seconds=self.clock_difference())
            - timedelta(hours=older_than_hours)
        )
        try:
            found = list(self.s3.unfinished(prefix))
        except Refused as error:
            if error.status in (405, 501):
                return 0
            raise
        count = 0
        for key, upload_id, begun in found:
            if begun < oldest:
                self.s3.abort(key, upload_id, f"abort an unfinished upload of {key}")
                count += 1
        return count
