"""The bucket itself: is it there, is it private, does it forget unfinished uploads.

Stores differ most here: everything is tried and looked at again, nothing is assumed. Each setting
answers with one of

* ``set``: it was not so, and now is (with ``check``: it would be tried)
* ``unchanged``: it was so already
* ``unsupported``: this store cannot do it, or does not let this key
* ``forbidden``: it does not let this key even ask
* ``taken_back``: with it the store refused to write, and the bucket is as it was
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, cast

from ..errors import StoreError, UsageError
from ..findings import Finding, each_once, finding
from . import calls
from .client import QUICK, S3
from .errors import CallFailed, Refused
from .expiry import expire_unfinished_uploads
from .private import make_private, strangers_may

if TYPE_CHECKING:
    from mypy_boto3_s3.literals import BucketLocationConstraintType

#: what is worth knowing about an answer: code -> message
_FINDINGS = {
    "PRIVATE_UNSUPPORTED": (
        "the store has no public access block; a stranger was refused all the same"
    ),
    "PRIVATE_FORBIDDEN": (
        "this key may not see whether public access is blocked; a stranger was refused all the same"
    ),
    "PRIVATE_PARTLY": (
        "with BlockPublicAcls this store refuses to write; the other three blocks are set, and a"
        " stranger was refused"
    ),
    "PRIVATE_TAKEN_BACK": (
        "with its block of public access this store refuses to write, so none is set; a stranger"
        " was refused all the same"
    ),
    "UNFINISHED_UPLOADS_TAKEN_BACK": (
        "with a rule for unfinished uploads this store refuses to write, so its rules are as they"
        " were; each backup removes those of its own that died"
    ),
    "UNFINISHED_UPLOADS_UNSUPPORTED": (
        "the store cannot let unfinished uploads expire; each backup removes those of its own that"
        " died"
    ),
    "UNFINISHED_UPLOADS_FORBIDDEN": (
        "this key may not set rules for unfinished uploads; each backup removes those of its own"
        " that died"
    ),
}
#: answers that tell what others tell
_AS_FINDING = {"set_partly": "partly", "removed": "taken_back"}
#: answers after which the bucket is another than before
_CHANGED = ("set", "set_partly", "removed")


class Readiness(TypedDict):
    """What :func:`make_ready` did to a bucket.

    ``created`` tells whether it was missing; ``private`` and ``unfinished_uploads`` are answers as
    above.
    """

    changed: bool
    bucket: str
    created: bool
    private: str
    unfinished_uploads: str
    findings: list[Finding]


def make_ready(
    s3: S3, unfinished_days: int, check: bool = False, prefix: str | None = None
) -> Readiness:
    """Create the bucket where it is missing, close it to the public, let unfinished uploads expire.

    :param unfinished_days: after how many days the store removes what nobody finished.
    :param check: change nothing, say what would be.
    :param prefix: under which uploads expire, see :func:`expire_unfinished_uploads`.
    :raises StoreError: a stranger may list the bucket or read from it, it could not be created, or
        the store did not answer.
    """
    if check and not exists(s3):
        return {
            "changed": True,
            "bucket": s3.bucket,
            "created": True,
            "private": "set",
            "unfinished_uploads": "set",
            "findings": [],
        }
    created = False if check else create(s3)
    private = _allowed(lambda: make_private(s3, check))
    if private == "forbidden" and strangers_may(s3):
        raise StoreError(
            f"Failed to make the bucket {s3.bucket} private: anybody may read it, and this key may"
            " not change that",
            "Close it to the public in the provider's console",
        )
    unfinished = _allowed(lambda: expire_unfinished_uploads(s3, unfinished_days, check, prefix))
    codes = (
        f"PRIVATE_{_AS_FINDING.get(private, private)}".upper(),
        f"UNFINISHED_UPLOADS_{unfinished}".upper(),
    )
    return {
        "changed": created or private in _CHANGED or unfinished in _CHANGED,
        "bucket": s3.bucket,
        "created": created,
        "private": private,
        "unfinished_uploads": unfinished,
        "findings": each_once(
            [
                *(finding(code, _FINDINGS[code]) for code in codes if code in _FINDINGS),
                *s3.refused,
            ]
        ),
    }


def lines(result: Readiness, check: bool = False) -> list[str]:
    """:func:`make_ready` for a person.

    :param check: nothing was changed.
    """
    changed = [
        told
        for told, done in (
            ("created", result["created"]),
            ("closed to the public", result["private"] in ("set", "set_partly")),
            ("freed of a block with which nobody can write", result["private"] == "removed"),
            ("told to forget unfinished uploads", result["unfinished_uploads"] == "set"),
        )
        if done
    ]
    what = (
        f"{'would be' if check else 'was'} {', '.join(changed)}"
        if changed
        else "is as it should be"
    )
    return [
        f"The bucket {result['bucket']} {what}",
        *(one["message"] for one in result["findings"]),
    ]


def _allowed(ask: Callable[[], str]) -> str:
    """The answer, or ``forbidden`` where this key may not ask."""
    try:
        return ask()
    except Refused as error:
        if error.status != 403:
            raise
        return "forbidden"


def probe(s3: S3) -> None:
    """Ask for one key under the prefix, as every command does later, and give up soon.

    :raises StoreError: in one sentence what is wrong: endpoint, key, secret, region, bucket, clock
        or certificate.
    """
    doing = f"reach the bucket {s3.bucket}"
    answer = s3.call(
        calls.REACH,
        doing,
        lambda client: client.list_objects_v2(
            Bucket=s3.bucket, Prefix=s3.settings.s3_prefix, MaxKeys=1
        ),
        patience=QUICK,
    )
    if not {"Name", "KeyCount", "MaxKeys", "Contents"} & set(answer):
        hint = "Check backup_s3_endpoint_url: the address of the S3 service, not of its web console"
        message = f"Failed to {doing}: {s3.settings.s3_endpoint_url} answers, but not as S3 does"
        raise CallFailed(calls.REACH, message, hint)


def exists(s3: S3) -> bool:
    """Whether the bucket is there and may be listed.

    :raises StoreError: the store did not answer, or refused for another reason.
    """
    try:
        probe(s3)
    except Refused as error:
        if error.code == "NoSuchBucket":
            return False
        raise
    return True


def create(s3: S3) -> bool:
    """Create the bucket.

    :returns: False when it was there already.
    :raises StoreError: it belongs to somebody else, or this key may not create buckets.
    """
    if exists(s3):
        return False
    doing = f"create the bucket {s3.bucket}"
    if s3.bucket != s3.bucket.lower():
        raise UsageError(
            f"Failed to {doing}: there is none, and the name of a new one has no capitals",
            f"Set backup_s3_bucket to {s3.bucket.lower()}",
        )
    try:
        s3.call(calls.CREATE, doing, lambda client: client.create_bucket(Bucket=s3.bucket))
    except Refused as error:
        if error.code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            if exists(s3):
                return False
            raise StoreError(
                f"Failed to {doing}: somebody else has a bucket of that name",
                "Choose another name for backup_s3_bucket",
            ) from error
        if error.code != "IllegalLocationConstraintException":
            raise
        # Only where the store asks for it (AWS outside us-east-1): others refuse a location they do
        # not know.
        # the SDK's list of regions is Amazon's; other stores have theirs
        region = cast("BucketLocationConstraintType", s3.settings.s3_region)
        s3.call(
            calls.CREATE,
            doing,
            lambda client: client.create_bucket(
                Bucket=s3.bucket, CreateBucketConfiguration={"LocationConstraint": region}
            ),
        )
    return True
