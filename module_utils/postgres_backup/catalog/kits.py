"""The server kits in the bucket: their names, their manifests, and whose they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast

from ..clock import parse_time
from ..errors import BadBackupError, PostgresBackupError
from ..findings import Finding, finding
from ..s3 import calls
from ..s3.store import Store
from ..settings import Settings
from ..signing.judge import BY_NOBODY, TRUSTED, UNSIGNED, WRONG, Standing
from ..text import printable
from . import dated, signed
from .manifest import KitManifest, answer, parse_kit
from .names import own_folder

_NAME = re.compile(
    r"postgres-backup-kit-(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})\.tar\.gz(?P<age>\.age)?",
    re.ASCII,
)

#: bytes of a kit's manifest at most; it names paths and recipients
MOST_BYTES = 1024 * 1024
#: kits that a finding names
_NAMED = 3


class KitLine(TypedDict):
    """The newest kit, for a listing; ``files`` is None where its manifest does not say."""

    kit: str
    paths: list[str]
    files: int | None
    encrypted: bool


@dataclasses.dataclass(frozen=True)
class Kit:
    """One kit in the bucket, as ``retention.plan`` and a restore need it.

    :param problem: why its manifest cannot be read, or is none of this kit; None where all is well,
        or where there is none.
    :param standing: what the signature of its manifest is worth.
    :param passed_over: nobody vouches for it, and this server has signed others.
    :param modified: when it was written, by the store's clock; None where that is not known.
    """

    name: str
    key: str
    bytes: int
    taken_at: datetime
    manifest: KitManifest | None
    ours: bool
    problem: BadBackupError | None = None
    standing: Standing = BY_NOBODY
    passed_over: bool = False
    modified: datetime | None = None

    @property
    def ahead(self) -> bool:
        """A clock that was ahead has named it, see :mod:`.dated`."""
        return dated.is_ahead(self.taken_at, self.modified)

    @property
    def dated_at(self) -> datetime:
        """When it was taken, as far as the store's clock bears that out."""
        return dated.dated_at(self.taken_at, self.modified)

    @property
    def trusted(self) -> bool:
        return self.standing.kind == TRUSTED

    @property
    def whole(self) -> bool:
        """As far as can be told without reading it."""
        agrees = self.manifest is not None and self.manifest["bytes"] == self.bytes
        return agrees and not self.problem and not self.forged

    @property
    def good(self) -> bool:
        return self.whole and not self.passed_over

    @property
    def was_read(self) -> bool:
        return False

    @property
    def forged(self) -> bool:
        """It has a signature, of other bytes."""
        return self.standing.kind == WRONG

    @property
    def proven(self) -> bool:
        return False

    @property
    def restored(self) -> bool:
        return False

    @property
    def unvouched(self) -> bool:
        """``adopt`` offers to vouch for it: it is ours, and nobody has signed it."""
        return self.ours and self.whole and self.standing.kind == UNSIGNED

    @property
    def waits_for_adoption(self) -> bool:
        return False

    @property
    def encrypted(self) -> bool:
        return self.name.endswith(".age")


def root_of(settings: Settings) -> str:
    """The key under which the kits of every server lie, with ``/`` at its end."""
    prefix = settings.s3_prefix.strip("/")
    return f"{prefix}/kit/" if prefix else "kit/"


def list_kits(settings: Settings, store: Store) -> list[Kit]:
    """The kits of every server under the prefix, newest first."""
    root = root_of(settings)
    objects = {item.key: item for item in store.list(root)}
    names = [dated for key in objects if (dated := _dated(key.removeprefix(root)))]
    described = objects.keys() & {manifest_key(settings, known) for known, _ in names}
    believed = signed.Believed.by(settings)
    signatures = signed.signatures(store, described, objects.keys())

    def parsed(
        key: str, data: bytes | PostgresBackupError | None
    ) -> tuple[str, tuple[KitManifest | BadBackupError | None, Standing]]:
        found = answer(key, data, parse_kit)
        server = found["server"]["name"] if isinstance(found, dict) else ""
        standing = (
            believed.judge(data, signatures.get(key), server)
            if isinstance(data, bytes)
            else BY_NOBODY
        )
        return key, (found, standing)

    manifests = dict(store.get_many(described, parsed, MOST_BYTES))
    kits = []
    for name, taken_at in names:
        item = objects[root + name]
        found, standing = manifests.get(manifest_key(settings, name), (None, BY_NOBODY))
        manifest = None if isinstance(found, BadBackupError) else found
        problem = found if isinstance(found, BadBackupError) else None
        if manifest is not None and manifest.get("name", name) != name:
            problem = _swapped(name, str(manifest["name"]))
        ours = manifest is not None and manifest["server"]["name"] == settings.server_name
        whose = (manifest, ours, problem, standing)
        kits.append(Kit(name, item.key, item.bytes, taken_at, *whose, modified=item.modified))
    if any(kit.ours and kit.trusted for kit in kits):
        kits = [dataclasses.replace(k, passed_over=k.ours and not k.trusted) for k in kits]
    return sorted(kits, key=lambda kit: kit.dated_at, reverse=True)


def find_kits(settings: Settings, store: Store) -> list[Kit]:
    """The same for whoever restores one: where none of this server lies under the prefix, those of
    its own folder too, for the settings may name the prefix of all servers.
    """
    there = list_kits(settings, store)
    if settings.server_name and not any(kit.ours for kit in there):
        own = own_folder(settings.s3_prefix, settings.server_name)
        there += list_kits(dataclasses.replace(settings, s3_prefix=own), store)
    return there


def undescribed(settings: Settings, store: Store) -> list[int]:
    """The bytes of each kit that has no manifest, of every server under the prefix."""
    root = root_of(settings)
    there = {item.key: item.bytes for item in store.list(root, call=calls.COUNT_LEFT)}
    return [
        size
        for key, size in there.items()
        if _dated(name := key.removeprefix(root)) and manifest_key(settings, name) not in there
    ]


def _dated(text: str) -> tuple[str, datetime] | None:
    """A kit's name and its time; None where it is not exactly one (a date that does not exist is
    none).
    """
    match = _NAME.fullmatch(text)
    if not match:
        return None
    try:
        return text, parse_time(match["time"])
    except ValueError:
        return None


def _swapped(name: str, other: str) -> BadBackupError:
    told = f"the manifest of {name} is for {printable(other)}"
    return BadBackupError(
        f"{told[0].upper()}{told[1:]}",
        "Restore another kit. And ask who else has a key to the bucket",
        [finding("MANIFEST_OF_ANOTHER", told)],
    )


def findings_of(kits: Sequence[Kit]) -> list[Finding]:
    """That manifests of kits cannot be read, are forged, or of other kits; empty where none is."""
    spoiled = [kit.name for kit in kits if kit.problem and not kit.manifest and not kit.forged]
    swapped = [kit.name for kit in kits if kit.problem and kit.manifest and not kit.forged]
    forged = [kit.name for kit in kits if kit.forged]
    return [
        *_told(
            "KIT_UNREADABLE",
            spoiled,
            "cannot be read: whose kit it is cannot be told, so it neither counts nor goes",
        ),
        *_told("SIGNATURE_WRONG", forged, "has a wrong signature: it neither counts nor goes"),
        *_told("MANIFEST_OF_ANOTHER", swapped, "is for another: it neither counts nor goes"),
    ]


def _told(code: str, names: Sequence[str], what: str) -> list[Finding]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [finding(code, f"the manifest of {', '.join(names[:_NAMED])}{more} {what}")]


def manifest_key(settings: Settings, name: str) -> str:
    """Where the manifest of the kit of that name lies."""
    return f"{root_of(settings)}{name.split('.')[0]}.json"


def newest_kit(settings: Settings) -> KitLine | None:
    """The newest kit of this server; None where none was saved."""
    mine = [kit for kit in find_kits(settings, Store(settings)) if kit.ours]
    for kit in dated.timely([kit for kit in mine if kit.manifest]):
        manifest = kit.manifest or cast("KitManifest", {})
        return {
            "kit": kit.name,
            "paths": manifest.get("paths", []),
            "files": manifest.get("files"),
            "encrypted": kit.encrypted,
        }
    return None
