"""An object copied by the store itself, within the bucket: nothing of it comes through here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import calls
from .client import S3, StoredObject, is_md5
from .download import Download
from .errors import CallFailed, NotAsS3, NotS3, Refused
from .unfinished import abort

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

#: bytes of an object that one request copies, as S3 has it
MOST_AT_ONCE = 5 * 1024**3
#: bytes of a part of a larger one
PART_BYTES = 1024**3
#: bytes of an object that is read, here and there, where nothing else tells whether both are equal
_SMALL = 1024 * 1024
#: HTTP statuses of a store that knows no such request
_UNKNOWN = (404, 405, 501)


class CopiesNothing(CallFailed):
    """The store does not copy objects by itself."""


def duplicate(s3: S3, item: StoredObject, target: str) -> None:
    """Copy an object; the copy is there when all of it is, and was looked at.

    :param target: the key of the copy; nothing may lie there.
    :raises CopiesNothing: the store does not do so.
    :raises StoreError: it does not answer, refuses, or what lies there is something else.
    """
    try:
        if item.bytes > MOST_AT_ONCE:
            _in_parts(s3, item, target)
        else:
            s3.call(
                calls.DUPLICATE,
                f"copy {item.key}",
                lambda client: client.copy_object(
                    Bucket=s3.bucket,
                    Key=target,
                    CopySource={"Bucket": s3.bucket, "Key": item.key},
                ),
            )
    except NotS3:
        raise
    except (Refused, NotAsS3) as error:
        if isinstance(error, Refused) and error.status not in _UNKNOWN:
            raise
        if isinstance(error, Refused) and error.code == "NoSuchKey":
            raise
        raise CopiesNothing(
            calls.DUPLICATE,
            f"Failed to copy {item.key}: the store does not copy objects by itself",
            "Nothing was changed: the backups stay where they are, and are used there",
        ) from error
    there = s3.head(calls.DUPLICATE, target)
    if there is None or not is_same(s3, item, there):
        raise CallFailed(
            calls.DUPLICATE,
            f"Failed to copy {item.key}: the store says that it did, and {target} is not the same",
            "Try again; if it lasts, ask the provider",
            passes=True,
        )


def is_same(s3: S3, one: StoredObject, other: StoredObject) -> bool:
    """Whether two objects hold the same: by their size and MD5, where the store tells that, and
    small ones by their bytes. Of a large one in parts the size must do.

    :raises StoreError: one cannot be read.
    """
    if one.bytes != other.bytes:
        return False
    told = is_md5(one.etag) and is_md5(other.etag)
    if told and one.etag == other.etag:
        return True
    if told or one.bytes <= _SMALL:  # an ETag that looks like one need not be one
        return _sha256(s3, one.key) == _sha256(s3, other.key)
    return True


def _sha256(s3: S3, key: str) -> str:
    with Download(s3, key) as download:
        for _ in download:
            continue
    return download.sha256


def _in_parts(s3: S3, item: StoredObject, target: str) -> None:
    size = max(PART_BYTES, -(-item.bytes // s3.settings.s3_max_parts))
    doing = f"copy {item.key}"
    upload_id = s3.call(
        calls.DUPLICATE,
        doing,
        lambda client: client.create_multipart_upload(Bucket=s3.bucket, Key=target)["UploadId"],
    )
    try:
        etags = [
            _part(s3, item, target, upload_id, number, first, min(first + size, item.bytes) - 1)
            for number, first in enumerate(range(0, item.bytes, size), 1)
        ]
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)
        ]
        s3.call(
            calls.DUPLICATE,
            doing,
            lambda client: client.complete_multipart_upload(
                Bucket=s3.bucket,
                Key=target,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            ),
        )
    except BaseException:
        abort(s3, calls.DUPLICATE, target, upload_id, f"give up copying {item.key}")
        raise


def _part(
    s3: S3, item: StoredObject, target: str, upload_id: str, number: int, first: int, last: int
) -> str:
    """Copy one part of an object, bytes ``first`` to ``last``; its ETag."""
    return s3.call(
        calls.DUPLICATE,
        f"copy part {number} of {item.key}",
        lambda client: client.upload_part_copy(
            Bucket=s3.bucket,
            Key=target,
            CopySource={"Bucket": s3.bucket, "Key": item.key},
            CopySourceRange=f"bytes={first}-{last}",
            PartNumber=number,
            UploadId=upload_id,
        )["CopyPartResult"].get("ETag", ""),
    )
