"""The server kits in the bucket: their names, their manifests, and whose they are."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from typing import TypedDict

from ..clock import parse_time
from ..errors import BadBackupError, PostgresBackupError
from ..s3.store import Store
from ..settings import Settings
from .manifest import KitManifest, parse_kit

_NAME = re.compile(
    r"postgres-backup-kit-(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})\.tar\.gz(?P<age>\.age)?",
    re.ASCII,
)

#: bytes of a kit's manifest at most; it names paths and recipients
_MOST_BYTES = 1024 * 1024


class KitLine(TypedDict):
    """The newest kit, for a listing; ``files`` is None where its manifest does not say."""

    kit: str
    paths: list[str]
    files: int | None
    encrypted: bool


@dataclasses.dataclass(frozen=True)
class Kit:
    """One kit in the bucket, as ``retention.plan`` and a restore need it."""

    name: str
    key: str
    bytes: int
    taken_at: datetime
    manifest: KitManifest | None
    ours: bool

    @property
    def good(self) -> bool:
        return self.manifest is not None and self.manifest["bytes"] == self.bytes

    @property
    def proven(self) -> bool:
        return False

    @property
    def waits_for_adoption(self) -> bool:
        return False

    @property
    def encrypted(self) -> bool:
        return self.name.endswith(".age")


def root_of(settings: Settings) -> str:
    prefix = settings.s3_prefix.strip("/")
    return f"{prefix}/kit/" if prefix else "kit/"


def list_kits(settings: Settings, store: Store) -> list[Kit]:
    """The kits of every server under the prefix, newest first."""
    root = root_of(settings)
    objects = {item.key: item for item in store.list(root)}
    names = [name for key in objects if (name := _NAME.fullmatch(key.removeprefix(root)))]
    described = objects.keys() & {manifest_key(settings, name[0]) for name in names}
    manifests = dict(store.get_many(described, _parse, _MOST_BYTES))
    kits = []
    for name in names:
        item, taken_at = objects[root + name[0]], parse_time(name["time"])
        manifest = manifests.get(manifest_key(settings, name[0]))
        ours = manifest is not None and manifest["server"]["name"] == settings.server_name
        kits.append(Kit(name[0], item.key, item.bytes, taken_at, manifest, ours))
    return sorted(kits, key=lambda kit: kit.taken_at, reverse=True)


def manifest_key(settings: Settings, name: str) -> str:
    """Where the manifest of the kit of that name lies."""
    return f"{root_of(settings)}{name.split('.')[0]}.json"


def _parse(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, KitManifest | None]:
    """A key with what its manifest says; with None where that cannot be read, so that one spoiled
    object does not hide the other kits. Such a kit is nobody's, and stays.
    """
    if not isinstance(data, bytes):
        return key, None
    try:
        return key, parse_kit(data, key)
    except BadBackupError:
        return key, None


def newest_kit(settings: Settings) -> KitLine | None:
    """The newest kit of this server; None where none was saved."""
    for kit in list_kits(settings, Store(settings)):
        if kit.ours and kit.manifest:
            return {
                "kit": kit.name,
                "paths": kit.manifest.get("paths", []),
                "files": kit.manifest.get("files"),
                "encrypted": kit.encrypted,
            }
    return None
