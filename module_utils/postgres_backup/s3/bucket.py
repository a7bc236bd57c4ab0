"""The bucket itself: is it there, is it private, does it forget unfinished uploads.

Stores differ most here: everything is tried and looked at again, nothing is assumed. Each setting
answers with one of

* ``set``: it was not so, and now is (with ``check``: it would be tried)
* ``unchanged``: it was so already
* ``unsupported``: this store cannot do it, or does not let this key
* ``forbidden``: it does not let this key even ask
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from ..errors import StoreError, UsageError
from ..findings import Finding, finding
from . import calls
from .client import QUICK, S3, anonymous
from .errors import CallFailed, Refused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import (
        BucketLocationConstraintType,
        TransitionDefaultMinimumObjectSizeType,
    )
    from mypy_boto3_s3.type_defs import (
        LifecycleRuleFilterTypeDef,
        LifecycleRuleOutputTypeDef,
        LifecycleRuleTypeDef,
        LifecycleRuleUnionTypeDef,
        ListObjectsV2OutputTypeDef,
        PublicAccessBlockConfigurationTypeDef,
        PutBucketLifecycleConfigurationRequestTypeDef,
    )

#: ID of our lifecycle rule; rules with another are not ours
RULE_ID = "postgres-backup-unfinished-uploads"
_PRIVATE: PublicAccessBlockConfigurationTypeDef = {
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


def lines(result: Readiness, check: bool = False) -> list[str]:
    """:func:`make_ready` for a person.

    :param check: nothing was changed.
    """
    changed = [
        told
        for told, done in (
            ("created", result["created"]),
            ("closed to the public", result["private"] == "set"),
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


def _cannot(error: Refused) -> bool:
    return error.code in _UNKNOWN or error.status in (403, 405, 501)


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


def make_private(s3: S3, check: bool = False) -> str:
    """Block public access where the store can, and see for ourselves that a stranger gets nothing.

    :param check: change nothing, say what would be.
    :raises StoreError: a stranger may list the bucket or read from it.
    """
    state = _block_public_access(s3, check)
    open_to_all = [] if check and state == "set" else strangers_may(s3)
    if open_to_all:
        raise StoreError(
            f"Failed to make the bucket {s3.bucket} private: "
            f"anybody may {' and '.join(open_to_all)} it without a key",
            "Remove its public policy or ACL in the provider's console, then run this again",
        )
    return state


def _block_public_access(s3: S3, check: bool) -> str:
    doing = f"read whether the bucket {s3.bucket} is private"
    try:
        answer = s3.call(
            calls.ASK_PRIVATE,
            doing,
            lambda client: client.get_public_access_block(Bucket=s3.bucket),
        )
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
            calls.MAKE_PRIVATE,
            f"make the bucket {s3.bucket} private",
            lambda client: client.put_public_access_block(
                Bucket=s3.bucket, PublicAccessBlockConfiguration=_PRIVATE
            ),
        )
        again = s3.call(
            calls.ASK_PRIVATE,
            doing,
            lambda client: client.get_public_access_block(Bucket=s3.bucket),
        )
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
    doing = f"see whether the bucket {s3.bucket} is private"
    may = []

    def listing(client: S3Client) -> ListObjectsV2OutputTypeDef:
        return client.list_objects_v2(Bucket=s3.bucket, MaxKeys=1)

    def reading(key: str) -> Callable[[S3Client], object]:
        return lambda client: client.head_object(Bucket=s3.bucket, Key=key)

    found = s3.call(calls.AS_STRANGER, f"list {s3.bucket}", listing).get("Contents", [])
    tries: list[tuple[str, Callable[[S3Client], object]]] = [("list", listing)]
    tries += [("read from", reading(entry["Key"])) for entry in found]
    for what, request in tries:
        try:
            s3.call(calls.AS_STRANGER, doing, request, patience=QUICK, client=stranger)
        except Refused as error:
            if error.status >= 500:
                raise
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
    ours: LifecycleRuleTypeDef = {
        "ID": RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/" if prefix else ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }
    if any(_same_rule(rule, ours) for rule in before.rules):
        return "unchanged"
    if check:
        return "set"
    others = [rule for rule in before.rules if rule.get("ID") != RULE_ID]
    wanted: PutBucketLifecycleConfigurationRequestTypeDef = {
        "Bucket": s3.bucket,
        "LifecycleConfiguration": {"Rules": [*others, ours]},
    }
    if before.minimum is not None:
        wanted["TransitionDefaultMinimumObjectSize"] = before.minimum
    try:
        s3.call(
            calls.MAKE_EXPIRE,
            doing,
            lambda client: client.put_bucket_lifecycle_configuration(**wanted),
        )
    except Refused as error:
        # MinIO knows lifecycles, but not this rule, and calls it invalid.
        if _cannot(error) or error.code in ("InvalidArgument", "InvalidRequest", "MalformedXML"):
            return "unsupported"
        raise
    again = _lifecycle(s3, doing)
    after = again.rules if again else ()
    lost = [rule for rule in others if not any(_same_rule(rule, other) for other in after)]
    if lost:
        raise StoreError(
            f"Failed to {doing}: "
            f"the store changed the rule {lost[0].get('ID', '')!r} that was there before",
            "Look at the bucket's lifecycle rules in the provider's console",
        )
    return "set" if any(_same_rule(rule, ours) for rule in after) else "unsupported"


class _Lifecycle(NamedTuple):
    """A bucket's rules, and the size from which they move objects, where the store tells one."""

    rules: Sequence[LifecycleRuleOutputTypeDef]
    minimum: TransitionDefaultMinimumObjectSizeType | None


def _lifecycle(s3: S3, doing: str) -> _Lifecycle | None:
    """The rules as they are; None where the store knows no lifecycle."""
    try:
        answer = s3.call(
            calls.ASK_EXPIRY,
            doing,
            lambda client: client.get_bucket_lifecycle_configuration(Bucket=s3.bucket),
        )
    except Refused as error:
        if _cannot(error):
            return None
        if error.code == "NoSuchLifecycleConfiguration":
            return _Lifecycle((), None)
        raise
    return _Lifecycle(answer.get("Rules", []), answer.get("TransitionDefaultMinimumObjectSize"))


def _same_rule(one: LifecycleRuleUnionTypeDef, other: LifecycleRuleUnionTypeDef) -> bool:
    """Whether two rules say the same; a prefix may stand in the filter or, as it used to, beside
    it.
    """

    def plain(rule: LifecycleRuleUnionTypeDef) -> dict[str, object]:
        nothing: LifecycleRuleFilterTypeDef = {}
        condition = rule.get("Filter", nothing)
        return {name: value for name, value in rule.items() if name not in ("Filter", "Prefix")} | {
            "prefix": condition.get("Prefix", rule.get("Prefix", "")),
            "filter": {name: value for name, value in condition.items() if name != "Prefix"},
        }

    return plain(one) == plain(other)
