"""What a store promises: headers that many stores take and do not heed. Each is held against what
lies there afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .canaries import Probing
from .client import content_md5, md5
from .errors import Refused, lacks_setting
from .probe import Outcome, Try, refused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: seconds for which a canary is locked, and after which it is tried whether it still is
_LOCKED, _AND_THEN = 3.0, 1.5


def _wrong_is_refused(
    probing: Probing, name: str, put: Callable[[S3Client, bytes, bytes], object]
) -> Outcome:
    """A right digest is taken, a wrong one is refused, and nothing of what it was of is kept.

    :param put: writes bytes with the digest of others.
    """
    right, wrong = secrets.token_bytes(100), secrets.token_bytes(100)
    key = probing.note(name)
    doing = f"write the canary {key} with a digest"
    probing.ask(doing, lambda client: put(client, right, right))
    if probing.holds(name) != right:
        return Outcome("ignores", "with a right digest it holds other bytes than were written")
    try:
        # not tried again: a wrong digest is what should be refused
        probing.ask(doing, lambda client: put(client, wrong, right), patience=0)
    except Refused as error:
        if error.status >= 500:
            raise
        if probing.holds(name) != right:
            return Outcome("ignores", "it refuses what is damaged, and keeps it all the same")
        return Outcome("works")
    kept = probing.holds(name) == wrong
    return Outcome("ignores", f"it takes a wrong digest{' and keeps the object' if kept else ''}")


def by_md5(probing: Probing) -> Outcome:
    """A body that does not have the MD5 it came with is refused."""
    key, bucket = probing.key("md5"), probing.s3.bucket
    return _wrong_is_refused(
        probing,
        "md5",
        lambda client, data, of: client.put_object(
            Bucket=bucket, Key=key, Body=data, ContentMD5=content_md5(md5(of))
        ),
    )


def by_checksum(probing: Probing) -> Outcome:
    """Likewise its SHA-256, which is S3's newer way."""
    key, bucket = probing.key("checksum"), probing.s3.bucket
    return _wrong_is_refused(
        probing,
        "checksum",
        lambda client, data, of: client.put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            ChecksumSHA256=base64.b64encode(hashlib.sha256(of).digest()).decode(),
        ),
    )


def condition(probing: Probing) -> Outcome:
    """What is to be written only where nothing is does not take the place of what is there."""
    key, bucket = probing.key("condition"), probing.s3.bucket
    first, second = secrets.token_bytes(100), secrets.token_bytes(100)
    probing.put("condition", first)
    taken = True
    try:
        probing.ask(
            f"write the canary {key} if there is none",
            lambda client: client.put_object(Bucket=bucket, Key=key, Body=second, IfNoneMatch="*"),
        )
    except Refused as error:
        if error.status not in (409, 412):
            return refused(error)
        taken = False
    kept = probing.holds("condition") == first
    if taken or not kept:
        return Outcome("ignores", "" if not kept else "it says that it wrote, and did not")
    return Outcome("works")


def versions(probing: Probing) -> Outcome:
    """Where the bucket keeps versions, one that was written over can be read."""
    bucket = probing.s3.bucket
    state = probing.ask(
        f"read whether the bucket {bucket} keeps versions",
        lambda client: client.get_bucket_versioning(Bucket=bucket).get("Status", ""),
    )
    key, old = probing.key("versions"), secrets.token_bytes(100)
    version = probing.put("versions", old)
    probing.put("versions", secrets.token_bytes(100))
    if state != "Enabled":
        return Outcome("lacks", "off in this bucket" if not state else f"{state} in this bucket")
    if not version:
        return Outcome("ignores", "it says that it keeps versions, and gives none")
    try:
        found = probing.ask(
            f"read an old version of the canary {key}",
            lambda client: client.get_object(Bucket=bucket, Key=key, VersionId=version)[
                "Body"
            ].read(),
        )
    except Refused as error:
        return Outcome("ignores", f"it says that it keeps versions: {error.message}")
    if found != old:
        return Outcome("ignores", "an old version holds other bytes than were written")
    return Outcome("works")


def lock(probing: Probing) -> Outcome:
    """Where the bucket locks objects, a locked one cannot be deleted."""
    bucket, key = probing.s3.bucket, probing.key("lock")
    known = True
    try:
        on = probing.ask(
            f"read whether the bucket {bucket} locks objects",
            lambda client: (
                client.get_object_lock_configuration(Bucket=bucket)
                .get("ObjectLockConfiguration", {})
                .get("ObjectLockEnabled")
            ),
        )
    except Refused as error:
        if error.code == "ObjectLockConfigurationNotFoundError":
            on = None
        elif not lacks_setting(error) or error.status == 403:
            return refused(error)
        else:
            on, known = None, False  # some that do not know the question know the header
    if known and on != "Enabled":
        return Outcome("lacks", "off in this bucket")
    return _locked(probing, key)


def _locked(probing: Probing, key: str) -> Outcome:
    """Write a canary that is locked for some seconds, and try to delete it before and after."""
    bucket, data = probing.s3.bucket, secrets.token_bytes(100)
    ahead = timedelta(seconds=probing.s3.ahead or 0)
    until = datetime.now(timezone.utc) - ahead + timedelta(seconds=_LOCKED)
    probing.note("lock")
    began = time.monotonic()
    try:
        version = probing.ask(
            f"write the locked canary {key}",
            lambda client: client.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                ContentMD5=content_md5(md5(data)),
                ObjectLockMode="GOVERNANCE",
                ObjectLockRetainUntilDate=until,
            ).get("VersionId", ""),
        )
    except Refused as error:
        return refused(error)
    try:
        probing.remove(key, version)
    except Refused:
        if probing.holds("lock") == data:
            pause = began + _LOCKED + _AND_THEN - time.monotonic()
            threading.Event().wait(max(pause, 0.0))
            return Outcome("works")
        return Outcome("ignores", "it refuses to delete a locked object, and it is gone")
    return Outcome("ignores", "a locked object can be deleted")


#: row -> how it is tried
TRIES: dict[str, Try] = {
    "md5": by_md5,
    "checksum": by_checksum,
    "condition": condition,
    "versions": versions,
    "lock": lock,
}
