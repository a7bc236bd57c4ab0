"""Small objects of fixed names, by which is tried what a store can do.

They lie under ``store-check/`` of our prefix, are overwritten by the next look where they could not
be taken away, and nothing else of ours ever lies there.
"""

from __future__ import annotations

import dataclasses
import secrets
import urllib.parse
from collections.abc import Callable

from ..findings import finding
from ..settings import Settings
from . import calls
from .client import QUICK, S3, content_md5, md5
from .errors import CallFailed, Refused

FOLDER = "store-check/"
#: what a backup needs of a bucket, in the order in which it is tried
STEPS = ("write", "read", "delete")


def key_of(settings: Settings, name: str) -> str:
    """The key of a canary of this server; others of the same prefix may look at the same time."""
    prefix = settings.s3_prefix.strip("/")
    server = urllib.parse.quote(settings.server_name or "server", safe="-_~").replace(".", "%2E")
    return f"{prefix}/{FOLDER}{server}/{name}" if prefix else f"{FOLDER}{server}/{name}"


@dataclasses.dataclass(frozen=True)
class Trial:
    """What this key may do in a bucket.

    :param refused: step of :data:`STEPS` -> why it did not go; empty: all goes.
    """

    refused: dict[str, CallFailed]

    @property
    def can(self) -> frozenset[str]:
        """The steps that go."""
        return frozenset(STEPS) - frozenset(self.refused)


def trial(s3: S3) -> Trial:
    """Write a canary, read it and delete it.

    :raises StoreError: the store does not answer; what it refuses is the result. What could not be
        taken away is among ``s3.refused``.
    """
    key, data = key_of(s3.settings, "canary"), secrets.token_bytes(32)
    refused: dict[str, CallFailed] = {}

    def tried(step: str, doing: Callable[[], str]) -> str:
        try:
            return doing()
        except Refused as error:
            refused[step] = error
            return ""

    def write() -> str:
        return s3.call(
            calls.CANARY,
            f"write the canary {key}",
            lambda client: client.put_object(
                Bucket=s3.bucket, Key=key, Body=data, ContentMD5=content_md5(md5(data))
            ).get("VersionId", ""),
            patience=QUICK,
        )

    def read() -> str:
        doing = f"read the canary {key}"
        found = s3.call(
            calls.CANARY,
            doing,
            lambda client: client.get_object(Bucket=s3.bucket, Key=key)["Body"].read(),
            patience=QUICK,
        )
        if found != data:
            message = f"Failed to {doing}: it holds other bytes than were written"
            refused["read"] = CallFailed(calls.CANARY, message, "Ask the provider")
        return ""

    version = tried("write", write)
    if "write" in refused:
        return Trial(dict.fromkeys(STEPS, refused["write"]))
    tried("read", read)
    tried("delete", lambda: remove(s3, key, version))
    if "delete" in refused:
        s3.refused.append(finding("CANARY_LEFT", refused["delete"].message))
    return Trial(refused)


def remove(s3: S3, key: str, version: str = "") -> str:
    """Delete a canary; where the bucket keeps versions, that one, so that nothing of it stays."""

    def whole(of_version: str) -> None:
        s3.call(
            calls.CANARY,
            f"delete the canary {key}",
            lambda client: (
                client.delete_object(Bucket=s3.bucket, Key=key, VersionId=of_version)
                if of_version
                else client.delete_object(Bucket=s3.bucket, Key=key)
            ),
            patience=QUICK,
        )

    try:
        whole(version if version != "null" else "")
    except Refused as error:
        if error.status == 404:
            return ""
        if not version:
            raise
        whole("")  # a key may delete, and not delete versions
    return ""
