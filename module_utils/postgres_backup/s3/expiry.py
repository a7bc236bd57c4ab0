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

#: ID of our lifecycle rule, and how that of a further prefix in the same bucket begins; rules with
#: another are not ours
RULE_ID = "postgres-backup-unfinished-uploads"
#: how stores call a rule that they do not know
_INVALID = ("InvalidArgument", "InvalidRequest", "MalformedXML")
#: characters of an ID at most (LifecycleRule, API Reference of Amazon S3)
_LONGEST_ID = 255


def expire_unfinished_uploads(
    s3: S3, days: int, check: bool = False, prefix: str | None = None
) -> str:
    """A lifecycle rule by which the store drops parts of uploads that nobody finished, ``days``
    after their begin.

    Only under our prefix, and beside whatever rules there are: they are read and put back with
    ours. A rule of ours for what lies above our prefix is enough.

    :param check: change nothing, say what would be.
    :param prefix: that of all servers, where each has a folder of its own in it: a store takes so
        many rules and no more. Without it that of the settings.
    :returns: an answer as in ``s3/bucket``, and besides ``taken_back``: with the rule the store
        refuses to write, and the rules are as they were.
    """
    doing = f"let unfinished uploads in the bucket {s3.bucket} expire"
    before = _lifecycle(s3, doing)
    if before is None:
        return "unsupported"
    ours = _rule(before.rules, s3.settings.s3_prefix if prefix is None else prefix, days)
    if any(_same_rule(rule, ours) for rule in before.rules):
        return "unchanged"
    if check:
        return "set"
    others = [rule for rule in before.rules if rule.get("ID") != ours["ID"]]
    wanted: PutBucketLifecycleConfigurationRequestTypeDef = {
        "Bucket": s3.bucket,
        "LifecycleConfiguration": {"Rules": [*others, ours]},
    }
    if before.minimum is not None:
        wanted["TransitionDefaultMinimumObjectSize"] = before.minimum
    able = canary.trial(s3)
    if not _written(s3, doing, wanted):
        return "unsupported"
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


def _written(s3: S3, doing: str, wanted: PutBucketLifecycleConfigurationRequestTypeDef) -> bool:
    """Whether the store has taken these rules; not where it knows none such."""
    try:
        s3.call(
            calls.MAKE_EXPIRE,
            doing,
            lambda client: client.put_bucket_lifecycle_configuration(**wanted),
        )
    except Refused as error:
        # MinIO knows lifecycles, but not this rule, and calls it invalid.
        if lacks_setting(error) or error.code in _INVALID:
            return False
        raise
    return True


def _rule(
    there: Sequence[LifecycleRuleOutputTypeDef], prefix: str, days: int
) -> LifecycleRuleTypeDef:
    """Ours: in the place of one of ours that holds there too, else beside all others."""
    name = prefix.strip("/")
    of_us = {rule.get("ID", ""): _prefix_of(rule) for rule in there}
    of_us = {one: its for one, its in of_us.items() if one.partition(" ")[0] == RULE_ID}
    folder = f"{name}/" if name else ""
    own_id = next((one for one, its in of_us.items() if folder.startswith(its)), "")
    return {
        "ID": own_id or (f"{RULE_ID} {name}"[:_LONGEST_ID] if of_us else RULE_ID),
        "Status": "Enabled",
        "Filter": {"Prefix": of_us.get(own_id, folder)},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


def _prefix_of(rule: LifecycleRuleUnionTypeDef) -> str:
    """For what a rule holds; it may stand in the filter or, as it used to, beside it."""
    nothing: LifecycleRuleFilterTypeDef = {}
    return rule.get("Filter", nothing).get("Prefix", rule.get("Prefix", ""))


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
    """Whether two rules say the same."""

    def plain(rule: LifecycleRuleUnionTypeDef) -> dict[str, object]:
        nothing: LifecycleRuleFilterTypeDef = {}
        condition = rule.get("Filter", nothing)
        return {name: value for name, value in rule.items() if name not in ("Filter", "Prefix")} | {
            "prefix": _prefix_of(rule),
            "filter": {name: value for name, value in condition.items() if name != "Prefix"},
        }

    return plain(one) == plain(other)
