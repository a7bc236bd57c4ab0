"""The bucket itself: is it there, is it private, does it forget unfinished uploads.

Stores differ most here: everything is tried and looked at again, nothing is assumed. Each setting
answers with one of

* ``set``: it was not so, and now is (with ``check``: it would be tried)
* ``unchanged``: it was so already
* ``unsupported``: this store cannot do it, or does not let this key
* ``forbidden``: it does not let this key even ask
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import botocore.exceptions

from ..errors import StoreError
from ..findings import Finding, finding
from .client import QUICK, S3, anonymous
from .errors import FAILURES, Refused, explain

#: ID of our lifecycle rule; rules with another are not ours
RULE_ID = "postgres-backup-unfinished-uploads"
_PRIVATE = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
#: how stores say that they do not know a setting of buckets; the last two do not look at what is to
#: be set, and believe that the bucket is to be made (nanio)
_UNKNOWN = {
    "NotImplemented",
    "MethodNotAllowed",
    "NotSupported",
    "UnsupportedOperation",
    "XNotImplemented",
    "BucketAlreadyOwnedByYou",
    "BucketAlreadyExists",
}


#: what is worth knowing about an answer: code -> message
_FINDINGS = {
    "PRIVATE_UNSUPPORTED": (
        "the store has no public access block; a stranger was refused all the same"
    ),
    "PRIVATE_FORBIDDEN": (
        "this key may not see whether public access is blocked; a stranger was refused all the same"
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


def make_ready(s3: S3, unfinished_days: int, check: bool = False) -> Readiness:
    """Create the bucket where it is missing, close it to the public, let unfinished uploads expire.

    :param unfinished_days: after how many days the store removes what nobody finished.
    :param check: change nothing, say what would be.
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
    unfinished = _allowed(lambda: expire_unfinished_uploads(s3, unfinished_days, check))
    codes = (f"PRIVATE_{private}".upper(), f"UNFINISHED_UPLOADS_{unfinished}".upper())
    return {
        "changed": created or "set" in (private, unfinished),
        "bucket": s3.bucket,
        "created": created,
        "private": private,
        "unfinished_uploads": unfinished,
        "findings": [finding(code, _FINDINGS[code]) for code in codes if code in _FINDINGS],
    }


def _allowed(ask: Callable[[], str]) -> str:
    """The answer, or ``forbidden`` where this key may not ask."""
    try:
        return ask()
    except Refused as error:
        if error.status != 403:
            raise
        return "forbidden"


def _cannot(error: Refused) -> bool:
    return error.code in _UNKNOWN or error.status in (403, 405, 501)


def probe(s3: S3) -> None:
    """Ask for one key under the prefix, as every command does later, and give up soon.

    :raises StoreError: in one sentence what is wrong: endpoint, key, secret, region, bucket, clock
        or certificate.
    """
    doing = f"reach the bucket {s3.bucket}"
    answer = s3.call(
        "list_objects_v2", doing, patience=QUICK, Prefix=s3.settings.s3_prefix, MaxKeys=1
    )
    if not {"Name", "KeyCount", "MaxKeys", "Contents"} & set(answer):
        hint = "Check backup_s3_endpoint_url: the address of the S3 service, not of its web console"
        raise StoreError(
            f"Failed to {doing}: {s3.settings.s3_endpoint_url} answers, but not as S3 does", hint
        )


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
    try:
        s3.call("create_bucket", doing)
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
        s3.call(
            "create_bucket",
            doing,
            CreateBucketConfiguration={"LocationConstraint": s3.settings.s3_region},
        )
    return True


def make_private(s3: S3, check: bool = False) -> str:
    """Block public access where the store can, and see for ourselves that a stranger gets nothing.

    :param check: change nothing, say what would be.
    :raises StoreError: a stranger may list the bucket or read from it.
    """
    state = _block_public_access(s3, check)
    open_to_all = [] if check and state == "set" else strangers_may(s3)
    if open_to_all:
        raise StoreError(
            f"Failed to make the bucket {s3.bucket} private: anybody may {' and '.join(open_to_all)} it without a key",
            "Remove its public policy or ACL in the provider's console, then run this again",
        )
    return state


def _block_public_access(s3: S3, check: bool) -> str:
    doing = f"read whether the bucket {s3.bucket} is private"
    try:
        answer = s3.call("get_public_access_block", doing)
        if answer.get("PublicAccessBlockConfiguration") == _PRIVATE:
            return "unchanged"
    except Refused as error:
        if _cannot(error):
            return "unsupported"
        if error.code != "NoSuchPublicAccessBlockConfiguration":
            raise
    if check:
        return "set"
    try:
        s3.call(
            "put_public_access_block",
            f"make the bucket {s3.bucket} private",
            PublicAccessBlockConfiguration=_PRIVATE,
        )
        again = s3.call("get_public_access_block", doing)
    except Refused as error:
        if _cannot(error):
            return "unsupported"
        raise
    return "set" if again.get("PublicAccessBlockConfiguration") == _PRIVATE else "unsupported"


def strangers_may(s3: S3) -> list[str]:
    """What anybody may do without a key: ``list``, ``read from``, or nothing.

    :raises StoreError: it could not be found out.
    """
    stranger = anonymous(s3.settings)
    may = []
    found = s3.call("list_objects_v2", f"list {s3.bucket}", MaxKeys=1).get("Contents", [])
    tries = [("list", "list_objects_v2", {"MaxKeys": 1})]
    tries += [("read from", "head_object", {"Key": entry["Key"]}) for entry in found]
    for what, operation, parameters in tries:
        try:
            getattr(stranger, operation)(Bucket=s3.bucket, **parameters)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise explain(
                    error, f"see whether the bucket {s3.bucket} is private", s3.settings
                ) from error
        except FAILURES as error:
            raise explain(
                error, f"see whether the bucket {s3.bucket} is private", s3.settings
            ) from error
        else:
            may.append(what)
    return may


def expire_unfinished_uploads(s3: S3, days: int, check: bool = False) -> str:
    """A lifecycle rule by which the store drops parts of uploads that nobody finished, ``days``
    after their begin.

    Only under our prefix, and beside whatever rules there are: they are read and put back with
    ours.

    :param check: change nothing, say what would be.
    """
    doing = f"let unfinished uploads in the bucket {s3.bucket} expire"
    before = _lifecycle(s3, doing)
    if before is None:
        return "unsupported"
    prefix = s3.settings.s3_prefix.strip("/")
    ours = {
        "ID": RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/" if prefix else ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }
    rules = before.get("Rules", [])
    if any(_same_rule(rule, ours) for rule in rules):
        return "unchanged"
    if check:
        return "set"
    others = [rule for rule in rules if rule.get("ID") != RULE_ID]
    keep = {
        name: before[name] for name in ("TransitionDefaultMinimumObjectSize",) if name in before
    }
    try:
        s3.call(
            "put_bucket_lifecycle_configuration",
            doing,
            LifecycleConfiguration={"Rules": [*others, ours]},
            **keep,
        )
    except Refused as error:
        # MinIO knows lifecycles, but not this rule, and calls it invalid.
        if _cannot(error) or error.code in ("InvalidArgument", "InvalidRequest", "MalformedXML"):
            return "unsupported"
        raise
    after = (_lifecycle(s3, doing) or {}).get("Rules", [])
    lost = [rule for rule in others if not any(_same_rule(rule, other) for other in after)]
    if lost:
        raise StoreError(
            f"Failed to {doing}: the store changed the rule {lost[0].get('ID', '')!r} that was there before",
            "Look at the bucket's lifecycle rules in the provider's console",
        )
    return "set" if any(_same_rule(rule, ours) for rule in after) else "unsupported"


def _lifecycle(s3: S3, doing: str) -> dict | None:
    """The rules as they are; None where the store knows no lifecycle."""
    try:
        return s3.call("get_bucket_lifecycle_configuration", doing)
    except Refused as error:
        if _cannot(error):
            return None
        if error.code == "NoSuchLifecycleConfiguration":
            return {}
        raise


def _same_rule(one: dict, other: dict) -> bool:
    """Whether two rules say the same; a prefix may stand in the filter or, as it used to, beside
    it.
    """

    def plain(rule: dict) -> dict:
        prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
        return {name: value for name, value in rule.items() if name not in ("Filter", "Prefix")} | {
            "prefix": prefix,
            "filter": {n: v for n, v in rule.get("Filter", {}).items() if n != "Prefix"},
        }

    return plain(one) == plain(other)
