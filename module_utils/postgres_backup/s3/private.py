"""Whether strangers may see a bucket, and the block that keeps them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from ..errors import StoreError
from . import calls, canary
from .client import QUICK, S3, anonymous
from .errors import Refused, lacks_setting

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        ListObjectsV2OutputTypeDef,
        PublicAccessBlockConfigurationTypeDef,
    )

_PRIVATE: PublicAccessBlockConfigurationTypeDef = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
#: with BlockPublicAcls Ceph RGW 16 refuses every PutObject, its owner's too, with 403; with each of
#: the others it does not. A public ACL is ignored then instead of refused, which is as private.
_BUT_ACLS: PublicAccessBlockConfigurationTypeDef = {**_PRIVATE, "BlockPublicAcls": False}
_Block = Optional["PublicAccessBlockConfigurationTypeDef"]
#: how much is blocked, by a name
_LEVELS: dict[str, _Block] = {"all": _PRIVATE, "but ACLs": _BUT_ACLS, "nothing": None}
#: the answer where a bucket is so already
_STAYS = {"all": "unchanged", "but ACLs": "partly"}
#: what a backup cannot do without
_NEEDED = {"write", "read"}


def make_private(s3: S3, check: bool = False) -> str:
    """Block public access where the store can, and see for ourselves that a stranger gets nothing.

    :param check: change nothing, say what would be.
    :returns: an answer as in ``s3/bucket``, and besides ``set_partly`` and ``partly`` (all but
        ``BlockPublicAcls``, with which this store refuses to write), ``taken_back`` (with any of it
        the store refuses; the bucket is as it was), ``removed`` (the same, and what was there
        before is gone: nobody could write).
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
    try:
        before = _block(s3)
    except Refused as error:
        if lacks_setting(error):
            return "unsupported"
        raise
    level = next((name for name, block in _LEVELS.items() if block == before), "another")
    if check:
        return _STAYS.get(level, "set")
    # also where nothing is to be set: an earlier release, or a run that was killed, may have set
    # what nobody can write with; and some stores heed a setting only after a while
    able = canary.trial(s3)
    if level in _STAYS:
        if not _NEEDED & able.refused.keys():
            return _STAYS[level]
        lower = ("but ACLs", "nothing") if level == "all" else ("nothing",)
        taken = _first_that_goes(s3, before, lower, lambda can: can > able.can)
        return {"but ACLs": "set_partly", "nothing": "removed"}.get(taken, _STAYS[level])
    taken = _first_that_goes(s3, before, ("all", "but ACLs"), lambda can: can >= able.can)
    return {"all": "set", "but ACLs": "set_partly", "": "taken_back"}.get(taken, taken)


def _first_that_goes(
    s3: S3, before: _Block, levels: Sequence[str], goes: Callable[[frozenset[str]], bool]
) -> str:
    """Set one after the other until a canary goes as wanted; where none does, all is as before.

    :returns: the level that it is now; ``unsupported``: the store does not do it; empty: none goes.
    """
    done = False
    try:
        for level in levels:
            try:
                _set(s3, _LEVELS[level])
            except Refused as error:
                if lacks_setting(error):
                    return "unsupported"
                raise
            if _block(s3) != _LEVELS[level]:
                return "unsupported"
            done = goes(canary.trial(s3).can)
            if done:
                return level
        return ""
    finally:
        if not done:
            _put_back(s3, before)


def _put_back(s3: S3, before: _Block) -> None:
    """:raises StoreError: says what to do by hand: nobody may be able to write into the bucket."""
    try:
        if _block(s3) != before:
            _set(s3, before)
    except Refused as error:
        if lacks_setting(error):
            return
        raise StoreError(
            f"Failed to take back the public access block of the bucket {s3.bucket}, with which "
            f"the store refuses to write: {error.message}",
            "Remove the block of public access in the provider's console, then run this again",
        ) from error


def _block(s3: S3) -> _Block:
    """What is set; None where nothing is blocked."""
    try:
        found = s3.call(
            calls.ASK_PRIVATE,
            f"read whether the bucket {s3.bucket} is private",
            lambda client: client.get_public_access_block(Bucket=s3.bucket),
        ).get("PublicAccessBlockConfiguration")
    except Refused as error:
        if error.code != "NoSuchPublicAccessBlockConfiguration":
            raise
        return None
    return found if found and any(found.values()) else None


def _set(s3: S3, wanted: _Block) -> None:
    def change(client: S3Client) -> None:
        if wanted is None:
            client.delete_public_access_block(Bucket=s3.bucket)
        else:
            client.put_public_access_block(Bucket=s3.bucket, PublicAccessBlockConfiguration=wanted)

    s3.call(calls.MAKE_PRIVATE, f"make the bucket {s3.bucket} private", change)


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
