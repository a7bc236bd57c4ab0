"""The lifecycle rule by which a store forgets unfinished uploads, beside the rules of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreError
from . import calls, canary
from .client import S3
from .errors import Refused, lacks_setting

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import TransitionDefaultMinimumObjectSizeType
    from mypy_boto3_s3.type_defs import (
        LifecycleRuleFilterTypeDef,
        LifecycleRuleOutputTypeDef,
        LifecycleRuleTypeDef,
        LifecycleRuleUnionTypeDef,
        PutBucketLifecycleConfigurationRequestTypeDef,
    )

#: ID of our lifecycle rule; rules with another are not ours
RULE_ID = "postgres-backup-unfinished-uploads"


def expire_unfinished_uploads(s3: S3, days: int, check: bool = False) -> str:
    """A lifecycle rule by which the store drops parts of uploads that nobody finished, ``days``
    after their begin.

    Only under our prefix, and beside whatever rules there are: they are read and put back with
    ours.

    :param check: change nothing, say what would be.
    :returns: an answer as in ``s3/bucket``, and besides ``taken_back``: with the rule the store
        refuses to write, and the rules are as they were.
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
    able = canary.trial(s3)
    try:
        s3.call(
            calls.MAKE_EXPIRE,
            doing,
            lambda client: client.put_bucket_lifecycle_configuration(**wanted),
        )
    except Refused as error:
        # MinIO knows lifecycles, but not this rule, and calls it invalid.
        if lacks_setting(error) or error.code in (
            "InvalidArgument",
            "InvalidRequest",
            "MalformedXML",
        ):
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
    if not any(_same_rule(rule, ours) for rule in after):
        return "unsupported"
    if canary.trial(s3).can >= able.can:
        return "set"
    _put_back(s3, before, doing)
    return "taken_back"


def _put_back(s3: S3, before: _Lifecycle, doing: str) -> None:
    """The rules that were there, or none."""

    def change(client: S3Client) -> None:
        if not before.rules:
            client.delete_bucket_lifecycle(Bucket=s3.bucket)
            return
        rules: PutBucketLifecycleConfigurationRequestTypeDef = {
            "Bucket": s3.bucket,
            "LifecycleConfiguration": {"Rules": [*before.rules]},
        }
        if before.minimum is not None:
            rules["TransitionDefaultMinimumObjectSize"] = before.minimum
        client.put_bucket_lifecycle_configuration(**rules)

    s3.call(calls.MAKE_EXPIRE, f"take back the rule to {doing}", change)


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
        if lacks_setting(error):
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
