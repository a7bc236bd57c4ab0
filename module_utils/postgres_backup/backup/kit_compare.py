"""Is a kit what the one before it lets expect? A volume that is not mounted looks like a folder
that somebody emptied, and every night that passes so brings the last good kit nearer to its end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from ..catalog.kits import Kit
from ..catalog.manifest import FolderRecord, KitManifest
from ..findings import Finding, finding
from ..text import human_bytes, printable
from .kit_files import Entry

#: a folder below a named one that holds less may come and go unsaid
_FEW_FILES, _FEW_BYTES = 10, 1_000_000
#: folders below a named one that are counted by themselves, from so far above
_DEPTH = 2
#: folders counted, and folders remembered in a manifest
_MOST_COUNTED, _MOST_REMEMBERED = 50_000, 200
#: how long a kit that fell short is measured by the last that did not; then the new size counts
_PATIENCE = timedelta(days=7)


@dataclasses.dataclass
class Counts:
    """What there is to save.

    :ivar files: files, folders and links.
    :ivar file_bytes: of the files.
    :ivar folders: each named path, and folders a little below it -> files and links, and their
        bytes, in all of it.
    """

    files: int = 0
    file_bytes: int = 0
    folders: dict[str, FolderRecord] = dataclasses.field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count it in, and in the folders above it, down to a certain depth."""
        self.files += 1
        self.file_bytes += entry.bytes
        below = entry.path[len(entry.root) :].strip("/").split("/")
        above = below if entry.folder else below[:-1]
        for depth in range(min(len(above), _DEPTH) + 1):
            folder = "/".join([entry.root.rstrip("/"), *above[:depth]]).rstrip("/") or "/"
            if folder not in self.folders and len(self.folders) >= _MOST_COUNTED:
                break
            record = self.folders.setdefault(folder, {"files": 0, "bytes": 0})
            record["files"] += not entry.folder
            record["bytes"] += entry.bytes

    def remembered(self, roots: Sequence[str]) -> dict[str, FolderRecord]:
        """For the manifest: the roots, and the largest of the others."""
        largest = sorted(
            (path for path in self.folders if path not in roots and _is_large(self.folders[path])),
            key=lambda path: (-self.folders[path]["bytes"], path),
        )
        kept = [*(path for path in roots if path in self.folders), *largest[:_MOST_REMEMBERED]]
        return {path: self.folders[path] for path in kept if path.isprintable()}


def _is_large(record: FolderRecord) -> bool:
    return record["files"] >= _FEW_FILES or record["bytes"] >= _FEW_BYTES


def yardstick(kits: Sequence[Kit], now: datetime) -> Kit | None:
    """What tonight's kit is held against: our newest good one, or, where that fell short itself,
    the newest of the last days that did not. So an alarm lasts as long as its trouble.
    """
    good = [k for k in kits if k.ours and k.good and not k.ahead and k.taken_at <= now]
    for kit in good:
        if now - kit.taken_at < _PATIENCE and kit.manifest and not kit.manifest.get("fell_short"):
            return kit
    return good[0] if good else None


def compare(kit: Kit, counts: Counts, paths: Sequence[str]) -> list[Finding]:
    """``KIT_EMPTIED`` for folders that held something, ``KIT_SHRUNK`` for less than half of it.

    :param kit: by :func:`yardstick`.
    :param paths: what tonight's manifest names.
    """
    before = cast("KitManifest", kit.manifest or {})
    folders = before.get("folders", {})
    roots = set(before.get("paths", []))
    emptied = [
        f"{printable(path)} ({was['files']} files, {human_bytes(was['bytes'])})"
        for path, was in folders.items()
        if (now := counts.folders.get(path)) and _is_emptied(was, now, path in roots)
    ]
    found = []
    if emptied:
        more = f" and {len(emptied) - 3} more" if len(emptied) > 3 else ""
        told = f"Held something in {kit.name}, and nothing now: {', '.join(emptied[:3])}{more}"
        found.append(finding("KIT_EMPTIED", told))
    gone = [path for path in roots if path not in paths]
    if "files" not in before or "file_bytes" not in before or any(p not in folders for p in gone):
        return found
    files = before["files"]
    size = before["file_bytes"] - sum(folders[path]["bytes"] for path in gone)
    if (not gone and counts.files * 2 < files) or counts.file_bytes * 2 < size:
        found.append(
            finding(
                "KIT_SHRUNK",
                f"{counts.files} files, {human_bytes(counts.file_bytes)}, in {kit.name} "
                f"{files} files, {human_bytes(size)}: less than half",
            )
        )
    return found


def _is_emptied(was: FolderRecord, now: FolderRecord, root: bool) -> bool:
    if not root:
        return now["files"] == 0 and _is_large(was)
    return (now["files"] == 0 < was["files"]) or (now["bytes"] == 0 < was["bytes"])
