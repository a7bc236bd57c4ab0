"""The dumps that were taken out of recovered clusters, as a list and the costs tell of them."""

from __future__ import annotations

from collections.abc import Iterable

from ..catalog import recovered
from ..catalog.backups import Backup, Catalog
from ..errors import StoreError
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes


def ours(settings: Settings, store: Store) -> list[Backup]:
    """Those of this server; none where not every second is kept.

    :raises StoreError: the store does not show them.
    """
    if not settings.pitr:
        return []
    place = recovered.place(settings)
    return [
        backup
        for database in settings.databases
        for backup in Catalog(place, store, database).backups()
        if backup.ours
    ]


def lines(settings: Settings, store: Store) -> list[str]:
    """How many there are, for a person; nothing where there are none."""
    try:
        return told(settings, ours(settings, store))
    except StoreError as refused:
        return [settings.hide(f"{folder(settings)} was not looked at: {refused.message}")]


def told(settings: Settings, backups: Iterable[Backup]) -> list[str]:
    """What they take, and until when."""
    sizes = [backup.bytes for backup in backups]
    if not sizes:
        return []
    count = f"{len(sizes)} dump{'s' if len(sizes) != 1 else ''} of recovered databases"
    days = f"deleted after {settings.retention_days} days"
    return [f"{folder(settings)}: {count}, {human_bytes(sum(sizes))}; {days}"]


def folder(settings: Settings) -> str:
    """Where they lie."""
    return f"{recovered.place(settings).s3_prefix.strip('/')}/"
