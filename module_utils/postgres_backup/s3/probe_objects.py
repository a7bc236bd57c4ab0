"""What a store does with objects: the rows of ``store-check`` that backups and restores live by."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from ..text import human_bytes
from .canaries import ODD_NAME, Probing
from .client import content_md5, md5
from .errors import Refused
from .probe import Outcome, Try, refused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestTypeDef,
    )

#: bytes of the first part, the least that S3 takes, and of the last
_PARTS = (5 * 1024 * 1024, 1024)
_OBJECT = 1000
#: objects on a page, and pages after which a listing has no end
_PAGE, _MOST_PAGES = 2, 5


def put(probing: Probing) -> Outcome:
    """What is written is there, and what is written over it takes its place."""
    first, second = secrets.token_bytes(_OBJECT), secrets.token_bytes(_OBJECT)
    for data in (first, second):
        probing.put("put.json", data)
        found = probing.holds("put.json")
        if found is None:
            return Outcome("ignores", "it says that it wrote, and there is nothing")
        if found != data:
            older = ": those of before" if found == first else ""
            return Outcome("ignores", f"it holds other bytes than were written{older}")
    return Outcome("works")


def multipart(probing: Probing) -> Outcome:
    """An object of two parts holds both, in their order."""
    key, name = probing.note("multipart"), "multipart"
    bucket = probing.s3.bucket
    doing = f"write the canary {key} in 2 parts"
    upload = probing.ask(
        doing, lambda client: client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    )
    block = secrets.token_bytes(1024)
    whole = hashlib.sha256()
    done: list[CompletedPartTypeDef] = []
    for number, size in enumerate(_PARTS, 1):
        data = block[number:] + block * (size // 1024 - 1) + block[:number]
        whole.update(data)

        def send(client: S3Client, number: int = number, data: bytes = data) -> str:
            return client.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=probing.body(data),
                ContentMD5=content_md5(md5(data)),
            )["ETag"]

        done.append({"PartNumber": number, "ETag": probing.ask(doing, send)})
    probing.ask(
        doing,
        lambda client: client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
        ),
    )
    found = probing.holds(name)
    if found is None:
        return Outcome("ignores", "it says that it wrote, and there is nothing")
    if len(found) != sum(_PARTS):
        return Outcome("ignores", f"it holds {human_bytes(len(found))}, not what was sent")
    if hashlib.sha256(found).digest() != whole.digest():
        return Outcome("ignores", "it holds other bytes than were sent")
    return Outcome("works")


def pages(probing: Probing) -> Outcome:
    """A listing of several pages has an end, each key once, in order, and knows folders."""
    names = ["pages/1", "pages/2", "pages/3"]
    for name in [*names, "pages/below/4"]:
        probing.put(name, name.encode())
    folder = probing.key("pages/1")[:-1]
    wanted = sorted(map(probing.key, names))
    asked: ListObjectsV2RequestTypeDef = {
        "Bucket": probing.s3.bucket,
        "Prefix": folder,
        "MaxKeys": _PAGE,
    }
    seen: list[str] = []
    tokens: set[str] = set()
    try:
        while True:
            found, more, token = probing.ask(
                f"list {folder}", lambda client: _page(client.list_objects_v2(**asked))
            )
            seen += [key for key, _ in found]
            if any(size != len("pages/1") for key, size in found if key in wanted):
                return Outcome("lacks", "it tells wrong sizes")
            if not more:
                break
            if not token or token in tokens or len(tokens) == _MOST_PAGES:
                return Outcome("lacks", "it says that there is more, and not where", unfit=True)
            tokens.add(token)
            asked["ContinuationToken"] = token
    except Refused as error:
        # a key that may not list takes backups all the same
        return refused(error, unfit=error.status != 403)
    all_of = sorted([*wanted, probing.key("pages/below/4")])
    if seen != all_of:
        what = "not in the order of their keys" if sorted(seen) == all_of else "not what is there"
        return Outcome("lacks", f"it lists {what}", unfit=True)
    found, _, _ = probing.ask(
        f"list {folder}",
        lambda client: _page(
            client.list_objects_v2(Bucket=probing.s3.bucket, Prefix=folder, Delimiter="/")
        ),
    )
    if [key for key, _ in found] != wanted:
        return Outcome("works", "it shows what lies deeper too: listings take longer")
    return Outcome("works")


def _page(answer: ListObjectsV2OutputTypeDef) -> tuple[list[tuple[str, int]], bool, str]:
    """Keys and sizes, whether there are more, and where."""
    found = [(entry["Key"], entry["Size"]) for entry in answer.get("Contents", [])]
    return found, answer.get("IsTruncated", False), answer.get("NextContinuationToken", "")


def head(probing: Probing) -> Outcome:
    """It tells the size of what is there, and of nothing else that it is."""
    probing.put("head", b"x" * _OBJECT)
    key, bucket = probing.key("head"), probing.s3.bucket
    size = probing.ask(
        f"look at {key}",
        lambda client: client.head_object(Bucket=bucket, Key=key)["ContentLength"],
    )
    if size != _OBJECT:
        return Outcome("lacks", f"it tells of {size} bytes, not {_OBJECT}", True)
    probing.delete("head")
    try:
        probing.ask(f"look at {key}", lambda client: client.head_object(Bucket=bucket, Key=key))
    except Refused as error:
        if error.status == 404:
            return Outcome("works")
        return Outcome("lacks", f"what is not there is answered by {error.status}, not 404")
    return Outcome("works", "a deleted object is still told of")


def ranged(probing: Probing) -> Outcome:
    """It gives the bytes of an object that were asked for, and no others."""
    data = secrets.token_bytes(_OBJECT)
    probing.put("range", data)
    key, bucket = probing.key("range"), probing.s3.bucket
    for asked, wanted in (("bytes=500-", data[500:]), ("bytes=100-199", data[100:200])):

        def read(client: S3Client, asked: str = asked) -> tuple[bytes, str]:
            answer = client.get_object(Bucket=bucket, Key=key, Range=asked)
            return answer["Body"].read(), answer.get("ContentRange", "")

        found, of = probing.ask(f"read a part of {key}", read)
        if found == data and not of:
            return Outcome("ignores", "it sends the whole")
        if found != wanted or not of:
            return Outcome("lacks", f"for {asked} it sends something else", unfit=True)
    return Outcome("works")


def delete(probing: Probing) -> Outcome:
    """What it says to have deleted is gone."""
    probing.put("delete", b"x")
    probing.delete("delete")
    if probing.holds("delete") is not None:
        return Outcome("ignores", "it says that it deleted, and the object is still there")
    return Outcome("works")


def delete_many(probing: Probing) -> Outcome:
    """Likewise two objects by one request."""
    names = ("delete-many-1", "delete-many-2")
    for name in names:
        probing.put(name, b"x")
    answer = probing.ask(
        "delete two canaries by one request",
        lambda client: client.delete_objects(
            Bucket=probing.s3.bucket,
            Delete={"Objects": [{"Key": probing.key(name)} for name in names]},
        ),
    )
    if failed := answer.get("Errors"):
        return Outcome("lacks", str(failed[0].get("Code", "")))
    if any(probing.holds(name) is not None for name in names):
        return Outcome("ignores", "it says that it deleted, and the objects are still there")
    return Outcome("works")


def copy(probing: Probing) -> Outcome:
    """It copies an object by itself: the bytes do not come through this machine."""
    data = secrets.token_bytes(_OBJECT)
    probing.put("copy-from", data)
    target, bucket = probing.note("copy-to"), probing.s3.bucket
    probing.ask(
        f"copy a canary to {target}",
        lambda client: client.copy_object(
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": probing.key("copy-from")},
        ),
    )
    if probing.holds("copy-to") != data:
        return Outcome("ignores", "it says that it copied, and the object is not there")
    return Outcome("works")


def names(probing: Probing) -> Outcome:
    """A key of odd letters holds its own object, and a listing shows it by that name."""
    name = ODD_NAME
    data = secrets.token_bytes(_OBJECT)
    probing.put(name, data)
    if probing.holds(name) != data:
        return Outcome("ignores", "it says that it wrote, and the object is not there")
    try:
        seen = probing.listed()
    except Refused as error:
        return Outcome("works", f"not seen in a listing: {error.message}")
    if probing.key(name) not in seen:
        return Outcome("lacks", "a listing shows it under another name")
    return Outcome("works")


#: row -> how it is tried
TRIES: dict[str, Try] = {
    "put": put,
    "multipart": multipart,
    "list": pages,
    "head": head,
    "range": ranged,
    "delete": delete,
    "delete_many": delete_many,
    "copy": copy,
    "names": names,
}
