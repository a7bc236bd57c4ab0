"""What lies in the bucket and is no backup: objects and kits without their manifest, uploads that
nobody has finished. Counted for whoever asks; the next backup removes what is this server's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from ..catalog.backups import Backup
from ..catalog.kits import undescribed
from ..findings import Finding
from ..s3.errors import may_fail
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes


class Leftovers(TypedDict):
    """How many there are, and their bytes; under one prefix, whoever has left them."""

    objects: int
    object_bytes: int
    kits: int
    kit_bytes: int
    uploads: int
    upload_bytes: int


def count(
    settings: Settings,
    store: Store,
    backups: Mapping[str, Sequence[Backup]],
    findings: list[Finding],
) -> Leftovers:
    """What lies there now.

    :param backups: per database, as the catalog has them: one under a prefix that several
        databases share is counted once.
    :param findings: gets what the store does not show.
    """
    bare = {
        backup.key: backup.bytes
        for there in backups.values()
        for backup in there
        if backup.described is None and not backup.problem
    }
    kits: list[int] = []
    uploads: Sequence[int] = ()
    with may_fail(findings):
        kits = undescribed(settings, store)
    prefix = settings.s3_prefix.strip("/")
    with may_fail(findings):
        uploads = store.unfinished_bytes(f"{prefix}/" if prefix else "")
    return {
        "objects": len(bare),
        "object_bytes": sum(bare.values()),
        "kits": len(kits),
        "kit_bytes": sum(kits),
        "uploads": len(uploads),
        "upload_bytes": sum(uploads),
    }


def lines(left: Leftovers) -> list[str]:
    """The same for a person; nothing where there is nothing."""
    parts = [
        f"{number} {what} ({human_bytes(size)})"
        for number, what, size in (
            (left["objects"], "without a manifest", left["object_bytes"]),
            (left["kits"], "kits without one", left["kit_bytes"]),
            (left["uploads"], "unfinished uploads", left["upload_bytes"]),
        )
        if number
    ]
    return [f"in the bucket and no backup of this program: {', '.join(parts)}"] if parts else []
