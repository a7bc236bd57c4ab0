"""The server kits in the bucket: their names, their manifests, and whose they are."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime

from ..clock import parse_time
from ..s3.store import Store
from ..settings import Settings

_NAME = re.compile(
    r"postgres-backup-kit-(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})\.tar\.gz(?P<age>\.age)?",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class Kit:
    """One kit in the bucket, as ``retention.plan`` and a restore need it."""

    name: str
    key: str
    bytes: int
    taken_at: datetime
    manifest: dict | None
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
    found = []
    for key, item in objects.items():
        match = _NAME.fullmatch(key[len(root) :])
        if not match:
            continue
        manifest_key = f"{root}{match.string.split('.')[0]}.json"
        data = store.get(manifest_key) if manifest_key in objects else None
        facts = _facts(data or b"")
        ours = facts is not None and facts["server"]["name"] == settings.server_name
        found.append(Kit(match.string, key, item.bytes, parse_time(match["time"]), facts, ours))
    return sorted(found, key=lambda kit: kit.taken_at, reverse=True)


def _facts(data: bytes) -> dict | None:
    """What a manifest says; None where it is damaged, so that one spoiled object does not hide the
    other kits. Such a kit is nobody's, and stays.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    right = (
        isinstance(found, dict)
        and isinstance(found.get("server"), dict)
        and isinstance(found["server"].get("name"), str)
    )
    return (
        found
        if right and isinstance(found.get("bytes"), int) and isinstance(found.get("sha256"), str)
        else None
    )


def newest_kit(settings: Settings) -> dict | None:
    """The newest kit of this server: ``kit paths files encrypted``; None where none was saved."""
    for kit in list_kits(settings, Store(settings)):
        if kit.ours and kit.manifest:
            return {
                "kit": kit.name,
                "paths": kit.manifest.get("paths", []),
                "files": kit.manifest.get("files"),
                "encrypted": kit.encrypted,
            }
    return None
