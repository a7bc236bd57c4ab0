"""Uploads that were begun and neither completed nor aborted: their parts are paid for and seen by
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from ..findings import finding
from . import calls
from .calls import Call
from .client import S3
from .clock_skew import difference
from .errors import CallFailed, Refused, may_fail

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        ListMultipartUploadsOutputTypeDef,
        ListMultipartUploadsRequestTypeDef,
    )

#: how stores say that they have none, or never list them; rclone's says 404 while there is none
_NONE = (404, 405, 501)
#: pages of such uploads that one look reads, uploads that one sweep removes, and refusals after
#: which it stops: what is left is the next one's
_MOST_PAGES, _MOST_REMOVED, _MOST_REFUSED = 20, 1000, 3


class Unfinished(NamedTuple):
    """One of them; ``begun`` is UTC, None where the store does not say."""

    key: str
    upload_id: str
    begun: datetime | None


class _Page(NamedTuple):
    uploads: list[Unfinished]
    #: where the next page begins; empty where this is the last
    key_marker: str
    id_marker: str


def unfinished(
    s3: S3, call: Call, prefix: str, patience: float | None = None
) -> Iterator[Unfinished]:
    """Uploads under a prefix, of at most so many pages."""
    page: ListMultipartUploadsRequestTypeDef = {"Bucket": s3.bucket, "Prefix": prefix}
    for _ in range(_MOST_PAGES):
        try:
            found = s3.call(
                call,
                f"list the unfinished uploads under {prefix}",
                lambda client: _read(client.list_multipart_uploads(**page)),
                patience=patience,
            )
        except Refused as error:
            if error.status in _NONE:
                return
            raise
        yield from (upload for upload in found.uploads if upload.key.startswith(prefix))
        if not found.key_marker:
            return
        page["KeyMarker"], page["UploadIdMarker"] = found.key_marker, found.id_marker


def _read(answer: ListMultipartUploadsOutputTypeDef) -> _Page:
    uploads = [
        Unfinished(
            upload["Key"],
            upload["UploadId"],
            upload["Initiated"].astimezone(timezone.utc) if "Initiated" in upload else None,
        )
        for upload in answer.get("Uploads", [])
    ]
    more = answer.get("NextKeyMarker", "") if answer.get("IsTruncated") else ""
    return _Page(uploads, more, answer.get("NextUploadIdMarker", ""))


def abort(
    s3: S3, call: Call, key: str, upload_id: str, doing: str, patience: float | None = None
) -> None:
    """Let go of the parts of an upload; one that is not there counts as aborted."""
    try:
        s3.call(
            call,
            doing,
            lambda client: client.abort_multipart_upload(
                Bucket=s3.bucket, Key=key, UploadId=upload_id
            ),
            patience=patience,
        )
    except Refused as error:
        if error.status != 404:
            raise


def bytes_of(s3: S3, call: Call, upload: Unfinished) -> int:
    """Of its parts, those of one page: 1,000 at most stores; 0 where it has gone meanwhile."""
    doing = f"list the parts of {upload.key}"
    try:
        return s3.call(
            call,
            doing,
            lambda client: sum(
                part["Size"]
                for part in client.list_parts(
                    Bucket=s3.bucket, Key=upload.key, UploadId=upload.upload_id
                ).get("Parts", [])
            ),
        )
    except Refused as error:
        if error.status != 404:
            raise
        return 0


def sweep(s3: S3, prefix: str, older_than_hours: float) -> int:
    """Abort uploads under ``prefix`` that began longer ago than that, by the store's clock.

    :returns: how many there were. What could not be done is among ``s3.refused``.
    """
    removed = 0
    with may_fail(s3.refused):
        found = list(unfinished(s3, calls.FIND_OLD, prefix))
        if not found:
            return 0
        now = datetime.now(timezone.utc) - timedelta(seconds=difference(s3, calls.TELL_TIME))
        oldest = now - timedelta(hours=older_than_hours)
        old = [upload for upload in found if upload.begun and upload.begun < oldest]
        if undated := sum(upload.begun is None for upload in found):
            told = f"of {undated} unfinished uploads the store does not say when they began"
            s3.refused.append(finding("UPLOADS_NOT_SWEPT", f"{told}; they stay"))
        refused: list[CallFailed] = []
        for upload in old[:_MOST_REMOVED]:
            doing = f"abort an unfinished upload of {upload.key}"
            try:
                abort(s3, calls.SWEEP, upload.key, upload.upload_id, doing)
                removed += 1
            except CallFailed as error:
                refused.append(error)
                if len(refused) == _MOST_REFUSED:
                    break
        if refused:
            raise refused[0]
    return removed
