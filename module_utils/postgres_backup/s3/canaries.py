"""The canaries on which a store is tried: written, read back, and taken away again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

from ..settings import Settings
from . import bucket, calls
from .canary import key_of
from .client import S3, content_md5, md5
from .errors import Refused
from .parts import PartBody
from .unfinished import Unfinished, abort, unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

_T = TypeVar("_T")

#: seconds that one answer may take, and for which a call is repeated: all rows together take less
#: than 20
_TIMEOUT, _PATIENCE = 4.0, 1.0

#: what a key may have to hold
ODD_NAME = "a blank, 100%41 & \u00fcn\u00efcode\u00f8+\u043a\u043b\u044e\u0447"
#: the canaries, all that there ever are
NAMES = (
    "put.json",
    "multipart",
    "pages/1",
    "pages/2",
    "pages/3",
    "pages/below/4",
    "head",
    "range",
    "delete",
    "delete-many-1",
    "delete-many-2",
    "copy-from",
    "copy-to",
    "md5",
    "checksum",
    "condition",
    "versions",
    "lock",
    "unfinished",
    "link",
    "public",
    ODD_NAME,
)


class Left(NamedTuple):
    """What of the canaries could not be taken away: keys that are still there, or whose versions
    are, and keys with an unfinished upload that is still listed.
    """

    keys: Sequence[str] = ()
    uploads: Sequence[str] = ()


class Probing:
    """One look at a store: what it writes, and what it takes away again.

    All keys are those of :data:`NAMES` below ``store-check/<server>/``: nothing else is ever
    written or deleted. May be used by several threads.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.s3 = S3(settings, _PATIENCE, _TIMEOUT)
        self._own = {self.key(name) for name in NAMES}
        self._written: set[str] = set()
        self._stop: threading.Event | None = threading.Event()

    @property
    def folder(self) -> str:
        """The prefix of this server's canaries."""
        return key_of(self.settings, "")

    def key(self, name: str) -> str:
        """The key of one of :data:`NAMES`."""
        if name not in NAMES:
            raise KeyError(f"{name} is no canary")
        return key_of(self.settings, name)

    def reach(self) -> None:
        """:raises StoreError: endpoint, key, bucket or region are wrong; a key that may only not
        list is right.
        """
        try:
            bucket.probe(self.s3)
        except Refused as error:
            if (error.status, error.code) != (403, "AccessDenied"):
                raise

    def ask(
        self, doing: str, request: Callable[[S3Client], _T], patience: float | None = None
    ) -> _T:
        """One request; see :meth:`S3.call`."""
        if self._stop is None:
            patience = 0.0
        return self.s3.call(calls.PROBE, doing, request, patience=patience, stop=self._stop)

    def body(self, data: bytes) -> IO[bytes]:
        """Many bytes to send, which :meth:`stop` cuts short."""
        return PartBody(bytearray(data), len(data), self._stop or threading.Event()).from_start()

    def stop(self) -> None:
        """Let every row that is not done yet give up soon."""
        if self._stop is not None:
            self._stop.set()

    def put(self, name: str, data: bytes) -> str:
        """Write a canary; the version that it became, empty where there are none."""
        self.note(name)
        return self.ask(
            f"write the canary {self.key(name)}",
            lambda client: client.put_object(
                Bucket=self.s3.bucket,
                Key=self.key(name),
                Body=data,
                ContentMD5=content_md5(md5(data)),
            ).get("VersionId", ""),
        )

    def note(self, name: str) -> str:
        """The key of a canary that is about to be written in another way than by :meth:`put`."""
        self._written.add(self.key(name))
        return self.key(name)

    def get(self, name: str) -> bytes:
        """Read one."""
        return self.ask(
            f"read the canary {self.key(name)}",
            lambda client: client.get_object(Bucket=self.s3.bucket, Key=self.key(name))[
                "Body"
            ].read(),
        )

    def holds(self, name: str) -> bytes | None:
        """The same; None where there is none."""
        try:
            return self.get(name)
        except Refused as error:
            if error.status != 404:
                raise
        return None

    def delete(self, name: str) -> None:
        """Delete one."""
        self.remove(self.key(name))

    def listed(self) -> set[str]:
        """The keys of our canaries that a listing shows."""
        return self._own & self.ask(
            f"list {self.folder}",
            lambda client: {
                entry["Key"]
                for entry in client.list_objects_v2(Bucket=self.s3.bucket, Prefix=self.folder).get(
                    "Contents", []
                )
            },
        )

    def clean(self) -> Left:
        """Take away every canary of this server, its versions too, and unfinished uploads.

        :raises StoreError: the store no longer answers.
        """
        self._stop = None
        failed: set[tuple[str, str]] = set()
        versions = self._versions()
        try:
            there = self.listed()
        except Refused:
            there = self._written
        unseen = there - {key for key, _ in versions}
        for key, version in [*versions, *((key, "") for key in sorted(unseen))]:
            try:
                self.remove(key, version)
            except Refused as error:
                if error.status != 404:
                    failed.add((key, version))
        with contextlib.suppress(Refused):  # what is listed after it is told
            for upload in self._uploads():
                doing = f"abort an unfinished upload of {upload.key}"
                abort(self.s3, calls.PROBE, upload.key, upload.upload_id, doing, _PATIENCE)
        uploads: list[Unfinished] = []
        with contextlib.suppress(Refused):  # the row of unfinished uploads tells of it
            uploads = self._uploads()
        try:  # of what was refused while it was written nothing may ever have been there
            left = self.listed() | {key for key, version in failed if version}
        except Refused:
            left = {key for key, _ in failed}
        return Left(sorted(left), sorted({upload.key for upload in uploads}))

    def _uploads(self) -> list[Unfinished]:
        """Unfinished uploads of our canaries."""
        found = unfinished(self.s3, calls.PROBE, self.folder, _PATIENCE)
        return [upload for upload in found if upload.key in self._own]

    def _versions(self) -> list[tuple[str, str]]:
        """Every version of our canaries, and the marks of those deleted: key and version, which is
        empty where the bucket keeps none.
        """
        try:
            found = self.ask(
                f"list the versions under {self.folder}",
                lambda client: _versions_of(
                    client.list_object_versions(Bucket=self.s3.bucket, Prefix=self.folder)
                ),
            )
        except Refused:
            return []
        return [
            (key, "" if version == "null" else version)
            for key, version in found
            if key in self._own
        ]

    def remove(self, key: str, version: str = "") -> None:
        """Delete one, or one of its versions."""
        self.ask(
            f"delete the canary {key}",
            lambda client: (
                client.delete_object(Bucket=self.s3.bucket, Key=key, VersionId=version)
                if version
                else client.delete_object(Bucket=self.s3.bucket, Key=key)
            ),
        )


def _versions_of(answer: ListObjectVersionsOutputTypeDef) -> list[tuple[str, str]]:
    return [
        *((entry["Key"], entry["VersionId"]) for entry in answer.get("Versions", [])),
        *((entry["Key"], entry["VersionId"]) for entry in answer.get("DeleteMarkers", [])),
    ]
