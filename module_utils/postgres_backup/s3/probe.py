"""How it is tried what a store can do: the rows of ``store-check``, and canaries to try them on.

Every row is read back: stores take headers and parameters and do not heed them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, TypedDict, TypeVar

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
#: ``ignores``: it takes the request, and does not do it; ``warns``: it works, and you should know;
#: ``untried``: nobody could, or may, look
State = Literal["works", "lacks", "ignores", "warns", "untried"]


class Row(TypedDict):
    """One thing that a store does or does not.

    ``does``: what was tried. ``said``: what came of it, where that is worth a word. ``lost``: what
    of ours falls away without it, ``todo``: what to set, both empty where it works. ``unfit``:
    without it there are no backups on this store.
    """

    row: str
    does: str
    state: State
    said: str
    lost: str
    todo: str
    unfit: bool


class Outcome(NamedTuple):
    """What came of trying one.

    :param unfit: it is wrong in a way that no backup can live with; None: as the row says.
    """

    state: State
    said: str = ""
    unfit: bool | None = None


def refused(error: Refused, unfit: bool | None = None) -> Outcome:
    """What is said of a store that says no."""
    if error.status == 403 and error.code in ("AccessDenied", "403", ""):
        return Outcome("lacks", "it does not allow it to this key", unfit)
    code = f" {error.code}" if error.code and error.code != str(error.status) else ""
    return Outcome("lacks", f"it answers {error.status}{code}", unfit)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is said of a row where it does not work; ``needed``: then there is no backup."""

    does: str
    lost: str
    todo: str
    needed: bool = False


_OTHER = "Choose another store"
_NONE = "Nothing"
#: in the order in which they are told
KINDS = {
    "put": Kind(
        "write an object, write over it, read it back",
        "there are no backups",
        "Give the key the rights to write and to read under the prefix; else choose another store",
        needed=True,
    ),
    "multipart": Kind(
        "write an object in 2 parts, read it back",
        "there are no backups of more than 8 MB",
        _OTHER,
        needed=True,
    ),
    "list": Kind(
        "list objects, page by page",
        "`list`, `status`, `prune` and `restore latest` fail",
        "Give the key the right to list the bucket",
        needed=True,
    ),
    "head": Kind(
        "tell of one object (HEAD), and that another is not there",
        "nothing: objects are asked for with GET instead",
        _NONE,
    ),
    "range": Kind(
        "read a part of an object",
        "a download that breaks off begins anew, and `restore --tables` reads the whole backup",
        "Nothing; restores take longer",
    ),
    "delete": Kind(
        "delete an object",
        "nothing is pruned, and what a failed backup has written stays",
        "Give the key the right to delete; or prune from another machine",
    ),
    "delete_many": Kind(
        "delete many objects by one request", "nothing: they are deleted one by one", _NONE
    ),
    "copy": Kind("copy an object within the store", "nothing: none is copied", _NONE),
    "md5": Kind(
        "refuse what was damaged on its way (Content-MD5)",
        "damage on the way is found by `verify` and drills, not when it happens",
        "An https:// address; and verify: `backup_verify_per_night`",
    ),
    "checksum": Kind(
        "refuse what was damaged on its way (x-amz-checksum-sha256)",
        "nothing: Content-MD5 is sent instead",
        "For newer AWS CLIs `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`, as in the config",
    ),
    "condition": Kind(
        "leave alone what is there already (If-None-Match)",
        "nothing: names are claimed in the journal",
        _NONE,
    ),
    "versions": Kind(
        "keep what is written over or deleted (versioning)",
        "whoever has a key can destroy backups for good",
        "Versioning in the provider's console, with a rule that ends old versions",
    ),
    "lock": Kind(
        "keep objects that nobody may delete (object lock)",
        "whoever has a key can destroy backups for good",
        "A new bucket with object lock in the provider's console, or a second store",
    ),
    "lifecycle": Kind(
        "tell its rules for old objects (lifecycle)",
        "the store may delete backups that the retention keeps",
        "Look at the bucket's rules in the provider's console",
    ),
    "unfinished": Kind(
        "list and abort unfinished uploads",
        "parts of backups that died stay, and are paid for",
        "A rule in the provider's console that aborts unfinished uploads after some days",
    ),
    "clock": Kind(
        "tell the same time as this machine",
        "nothing is pruned while the clocks differ",
        "`timedatectl set-ntp true`",
    ),
    "names": Kind(
        "keep blanks, per cent signs and letters beyond ASCII in keys",
        "databases with such names may not be found again",
        "Databases with plain names on this store",
    ),
    "link": Kind(
        "give out an object by a link, for a while",
        "the link of the published page",
        "Nothing; the page is read with a key",
    ),
    "public": Kind(
        "keep strangers out",
        "anybody can read your data",
        "Close the bucket to the public in the provider's console, then change every secret in it",
    ),
    "tls": Kind(
        "encrypt the way (https)",
        "whoever sits in between reads your data, and can change it",
        "An https:// address in `backup_s3_endpoint_url`",
    ),
}


def row_of(name: str, outcome: Outcome) -> Row:
    """A row as it is told."""
    kind = KINDS[name]
    failed = outcome.state in ("lacks", "ignores")
    unfit = kind.needed and failed if outcome.unfit is None else outcome.unfit
    fine = outcome.state in ("works", "untried")
    return {
        "row": name,
        "does": kind.does,
        "state": outcome.state,
        "said": outcome.said,
        "lost": "" if fine else kind.lost,
        "todo": "" if fine else kind.todo,
        "unfit": unfit,
    }


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


#: how a row is tried
Try = Callable[[Probing], Outcome]
