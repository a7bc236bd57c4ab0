"""What surrounds the objects: the bucket's rules, which are read and never set, its uploads, the
store's clock, the way to it, and strangers.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import calls
from .canaries import Probing
from .client import anonymous, fetch
from .clock_skew import clock_fault, difference
from .errors import Refused
from .probe import Outcome, Try
from .unfinished import abort, unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef

#: seconds for which a link is good
_LINK = 60


def lifecycle(probing: Probing) -> Outcome:
    """No rule of the bucket deletes backups, or moves them to where they cannot be read at once."""
    bucket = probing.s3.bucket
    try:
        rules = probing.ask(
            f"read the lifecycle rules of the bucket {bucket}",
            lambda client: client.get_bucket_lifecycle_configuration(Bucket=bucket).get(
                "Rules", []
            ),
        )
    except Refused as error:
        if error.code == "NoSuchLifecycleConfiguration":
            return Outcome("works", "there are none")
        raise
    for rule in rules:
        if told := _deletes(rule, probing.settings.s3_prefix.strip("/")):
            return Outcome("warns", told)
    ends = any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    return Outcome("works", "" if ends else "none ends unfinished uploads")


def _deletes(rule: LifecycleRuleOutputTypeDef, prefix: str) -> str:
    """What a rule does to backups; empty where it leaves them alone."""
    if rule.get("Status") != "Enabled":
        return ""
    of = rule.get("Filter", {}).get("Prefix") or rule.get("Prefix") or ""
    of = of or rule.get("Filter", {}).get("And", {}).get("Prefix") or ""
    ours = f"{prefix}/" if prefix else ""
    if not (of.startswith(ours) or ours.startswith(of)):
        return ""
    name = f"the rule {rule.get('ID', '')!r}"
    ends = rule.get("Expiration", {})
    if "Days" in ends or "Date" in ends:
        when = f"after {ends['Days']} days" if "Days" in ends else "at a date"
        return f"{name} deletes objects under {of or 'every prefix'} {when}"
    if rule.get("Transitions"):
        return f"{name} moves objects under {of or 'every prefix'} to colder storage"
    return ""


def uploads(probing: Probing) -> Outcome:
    """An upload that nobody finished is listed, and gone once it is aborted."""
    bucket, key = probing.s3.bucket, probing.note("unfinished")
    begun = probing.ask(
        f"begin an upload of the canary {key}",
        lambda client: client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"],
    )
    try:
        seen = _seen(probing, key, begun)
    finally:
        abort(probing.s3, calls.PROBE, key, begun, f"abort an unfinished upload of {key}", 1.0)
    if not seen:
        return Outcome("lacks", "it does not list them")
    if _seen(probing, key, begun):
        return Outcome("ignores", "one that was aborted is still listed")
    return Outcome("works")


def _seen(probing: Probing, key: str, begun: str) -> bool:
    return any(
        upload.upload_id == begun for upload in unfinished(probing.s3, calls.PROBE, key, 1.0)
    )


def clock(probing: Probing) -> Outcome:
    """The store's clock and this machine's tell the same time."""
    wrong = clock_fault(difference(probing.s3, calls.PROBE))
    return Outcome("warns", wrong) if wrong else Outcome("works")


def link(probing: Probing) -> Outcome:
    """A link that was signed here gives the object to whoever has no key."""
    data = secrets.token_hex(100).encode()
    probing.put("link", data)
    address = probing.s3.client.generate_presigned_url(
        "get_object", {"Bucket": probing.s3.bucket, "Key": probing.key("link")}, _LINK
    )
    try:
        status, found = fetch(probing.settings, address, probing.s3.timeout)
    except OSError:
        return Outcome("lacks", "nothing answers at the link")
    if status != 200:
        return Outcome("lacks", f"the link is answered by {status}")
    return Outcome("works") if found == data else Outcome("lacks", "the link gives something else")


def public(probing: Probing) -> Outcome:
    """Whoever has no key and no link gets nothing."""
    probing.put("public", b"nobody without a key may read this")
    stranger, bucket = anonymous(probing.settings, probing.s3.timeout), probing.s3.bucket
    may = []
    doing = f"see whether the bucket {bucket} is private"
    for what, request in (
        ("list", lambda client: client.list_objects_v2(Bucket=bucket, MaxKeys=1)),
        ("read from", lambda client: client.head_object(Bucket=bucket, Key=probing.key("public"))),
    ):
        try:
            probing.s3.call(calls.PROBE, doing, request, patience=1.0, client=stranger)
        except Refused as error:
            if error.status >= 500:
                raise
        else:
            may.append(what)
    if may:
        return Outcome("warns", f"anybody may {' and '.join(may)} the bucket without a key")
    return Outcome("works")


def tls(probing: Probing) -> Outcome:
    """The way to the store is encrypted, unless it does not leave this machine."""
    address = urlsplit(probing.settings.s3_endpoint_url)
    if address.scheme == "https":
        return Outcome("works")
    try:
        here = ipaddress.ip_address(address.hostname or "").is_loopback
    except ValueError:
        here = address.hostname == "localhost"
    if here:
        return Outcome("works", "plain http, on this machine")
    return Outcome("warns", "plain http")


#: row -> how it is tried
TRIES: dict[str, Try] = {
    "lifecycle": lifecycle,
    "unfinished": uploads,
    "clock": clock,
    "link": link,
    "public": public,
    "tls": tls,
}
