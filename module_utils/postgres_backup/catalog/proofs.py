"""Proofs: that somebody read a backup to its end, or restored it, and that it was what its manifest
says. Each is a small object of its own, ``proofs/<backup>-<time>.json``, because a manifest is
written once.

A proof names the SHA-256 of the manifest, and counts for no other one.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, TypedDict

from ..clock import format_timestamp
from ..errors import PostgresBackupError
from ..findings import Finding
from ..s3 import calls
from ..s3.store import Store
from ..shapes.kinds import Moment, OneOf, Sha256, Text
from ..shapes.reader import Unfit, fitted, load
from ..signing.judge import TRUSTED, WRONG
from ..text import printable
from . import signed
from .listed_once import Listings
from .manifest import Manifest, Proof
from .names import BackupName, Layout

#: how it was proven: every byte was read and compared; or loaded into a server too. ``stored`` is
#: less: the object is what was uploaded, and nobody has looked inside, for it is encrypted
Kind = Literal["read", "restored", "stored"]
#: of one backup, the newest that stay
KEPT = 2
#: of one backup, the newest that are looked at
_MOST_LOOKED_AT = 8
#: objects under ``proofs/`` that a listing goes through
_MOST_PROOFS = 500_000
_MOST_BYTES = 16 * 1024
_TIME = r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}"
_KEY = re.compile(rf"(?P<stem>postgres-backup-{_TIME})-{_TIME}\.json", re.ASCII)


class ProofRecord(TypedDict):
    """A proof as it lies in the bucket; ``by``: the server that did it."""

    backup: Annotated[str, Text(255)]
    database: Annotated[str, Text(255)]
    #: the backup's, as its manifest says
    server: Annotated[str, Text(1000)]
    kind: Annotated[str, OneOf("read", "restored", "stored")]
    at: Annotated[str, Moment()]
    by: Annotated[str, Text(1000)]
    manifest_sha256: Annotated[str, Sha256()]


@dataclasses.dataclass(frozen=True)
class Noted:
    """The proofs that lie beside one backup, whether they count or not.

    :param keys: of all of them.
    :param read: those that could be read, each with its key, newest first.
    :param unread: why others could not; a signature that is wrong is a reason.
    :param vouched: keys of those that are signed by whoever proved, whom this server believes.
    """

    keys: tuple[str, ...] = ()
    read: tuple[tuple[str, ProofRecord], ...] = ()
    unread: tuple[str, ...] = ()
    vouched: frozenset[str] = frozenset()

    def counting(self, name: BackupName, manifest_sha256: str, signed_only: bool) -> Noted:
        """Those that prove this backup with this manifest.

        :param signed_only: the manifest is signed; then nobody else's word is taken for it.
        """
        return dataclasses.replace(
            self,
            read=tuple(
                (key, record)
                for key, record in self.read
                if record["backup"] == str(name)
                and record["manifest_sha256"] == manifest_sha256
                and (key in self.vouched or not signed_only)
            ),
        )

    @property
    def proofs(self) -> list[Proof]:
        """As they once stood in manifests, newest last."""
        return [
            {"kind": record["kind"], "at": record["at"], "by": record["by"]}
            for _, record in reversed(self.read)
        ]


class Listed(NamedTuple):
    """What a listing shows of proofs.

    :param keys: newest first, by the stem of the backup that they are of.
    :param signatures: keys of those beside them.
    """

    keys: dict[str, list[str]]
    signatures: set[str]


def listed(listings: Listings, layout: Layout) -> Listed:
    """The keys under ``proofs/``."""
    found: dict[str, list[str]] = {}
    signatures = set()
    folder = f"{layout.root}proofs/"
    for item in listings.below(folder, _MOST_PROOFS):
        if match := _KEY.fullmatch(item.key[len(folder) :]):
            found.setdefault(match["stem"], []).insert(0, item.key)
        elif item.key.endswith(signed.SUFFIX):
            signatures.add(item.key)
    return Listed(found, signatures)


def look(
    store: Store, there: Listed, stems: Collection[str], believed: signed.Believed
) -> dict[str, Noted]:
    """What the proofs of these backups say, by stem; two requests each."""
    keys = there.keys
    wanted = {key for stem in stems for key in keys.get(stem, ())[:_MOST_LOOKED_AT]}
    signatures = signed.signatures(store, wanted, there.signatures)
    vouched = set()

    def judged(
        key: str, data: bytes | PostgresBackupError | None
    ) -> tuple[str, ProofRecord | str | None]:
        _, found = _parsed(key, data)
        if isinstance(found, dict) and isinstance(data, bytes):
            standing = believed.judge(data, signatures.get(key), found["by"])
            if standing.kind == WRONG:
                return key, f"{key} does not count: {standing.says}"
            if standing.kind == TRUSTED:
                vouched.add(key)
        return key, found

    answers = dict(store.get_many(wanted, judged, _MOST_BYTES))
    noted = {}
    for stem in stems & keys.keys():
        found = [(key, answers[key]) for key in keys[stem] if key in answers]
        read = [(key, one) for key, one in found if isinstance(one, dict)]
        read.sort(key=lambda pair: (pair[1]["at"], pair[0]), reverse=True)
        unread = tuple(why for _, why in found if isinstance(why, str))
        noted[stem] = Noted(tuple(keys[stem]), tuple(read), unread, frozenset(vouched))
    return noted


def _parsed(
    key: str, data: bytes | PostgresBackupError | None
) -> tuple[str, ProofRecord | str | None]:
    """A key with its proof, with why it cannot be read, or with None where it has gone."""
    if data is None:
        return key, None
    if isinstance(data, PostgresBackupError):
        return key, f"{key} cannot be read: {data.message}"
    try:
        return key, fitted(load(data, _MOST_BYTES), ProofRecord)
    except Unfit as error:
        return key, f"{key} cannot be read: {printable(str(error))}"


def read_one(store: Store, key: str) -> ProofRecord | None:
    """One proof; None where it cannot be read."""
    [(_, found)] = store.get_many([key], _parsed, _MOST_BYTES)
    return found if isinstance(found, dict) else None


def write(
    store: Store,
    layout: Layout,
    name: BackupName,
    manifest: Manifest,
    manifest_sha256: str,
    kind: Kind,
    at: datetime,
) -> list[Finding]:
    """Write down that a backup was proven.

    :param manifest: with which it was compared, and its SHA-256 as it lies in the bucket.
    :return: why the proof is not signed; empty where it is.
    :raises StoreError: it could not be written.
    """
    record: ProofRecord = {
        "backup": str(name),
        "database": manifest["database"],
        "server": manifest["server"].get("name", ""),
        "kind": kind,
        "at": format_timestamp(at),
        "by": store.settings.server_name,
        "manifest_sha256": manifest_sha256,
    }
    body = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    data = body.encode(errors="backslashreplace")
    return signed.put(store, calls.PROOF, layout.proof(name, at), data)
