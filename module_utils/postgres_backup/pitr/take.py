"""Take a backup of the cluster: in full each week, else of what has changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict

from ..clock import utc_now
from ..findings import Finding
from ..machine import lock, state
from ..machine.progress import Progress
from ..settings import Settings
from ..text import human_bytes
from . import cluster as clusters
from . import engine, repository
from .look import LOOK, look
from .repository import Repository

#: a full one is due so long after the last: a week, but for what a day's later start is
_WEEK = timedelta(days=6, hours=12)


class Taken(TypedDict):
    """:ivar label: as the engine calls it; empty where none was taken.
    :ivar bytes: of the cluster; ``stored_bytes`` were added to the bucket.
    """

    changed: bool
    label: str
    full: bool
    bytes: int
    stored_bytes: int
    archives: bool
    findings: list[Finding]


def take(settings: Settings, progress: Progress, full: bool = False) -> Taken:
    """A backup now.

    :param full: in full, however old the last full one is.
    :raises UsageError: PostgreSQL hands on nothing yet, without which it would be worth nothing.
    :raises StoreError: the store does not answer, or refuses.
    """
    with lock.hold(settings, "point-in-time", "backup"):
        found = clusters.ask(settings)
        clusters.require_archived(settings, found)
        # what is missing in the archive is behind us with the next full one
        before = state.read(settings, LOOK)
        torn = len(before) > 0 and len(before["gaps"]) > 0
        whole = full or torn or is_full_due(repository.look(settings), utc_now())
        progress.step(f"backup of the cluster, {'in full' if whole else 'of what has changed'}")
        kind = engine.option("type", "full" if whole else "incr")
        engine.call(settings, "Failed to back up the cluster: ", "backup", kind, patience=None)
        made = repository.look(settings).newest
        _, lost = look(settings, ask_store=True)
        return {
            "changed": True,
            "label": made.label if made else "",
            "full": made.is_full if made else whole,
            "bytes": made.bytes if made else 0,
            "stored_bytes": made.stored_bytes if made else 0,
            "archives": True,
            "findings": lost,
        }


def first(settings: Settings, progress: Progress, again: bool, check: bool) -> Taken:
    """See that what PostgreSQL writes arrives, and that there is a backup to begin from.

    :param again: the settings have changed: see it also where there is a backup.
    :raises PostgresBackupError: what is written does not arrive.
    """
    archives = clusters.ask(settings).archives
    nothing: Taken = {
        "changed": False,
        "label": "",
        "full": False,
        "bytes": 0,
        "stored_bytes": 0,
        "archives": archives,
        "findings": [],
    }
    if check and (again or not archives):
        return nothing
    if not archives:
        return {**nothing, "findings": look(settings)[1]}
    begun = repository.look(settings).newest is not None
    if check:
        return {**nothing, "changed": not begun, "full": True}
    if again or not begun:
        engine.call(settings, "Failed to see what is written arrive: ", "check")
    if begun:
        return {**nothing, "findings": look(settings, ask_store=True)[1]}
    return take(settings, progress, full=True)


def is_full_due(seen: Repository, now: datetime) -> bool:
    """Whether the last full backup is a week old, or there is none."""
    last = seen.newest_full
    return last is None or now - last.ended > _WEEK


def lines(result: Taken, check: bool = False) -> list[str]:
    """What that says to a person."""
    if not result["archives"]:
        return ["No backup of the cluster before PostgreSQL archives"]
    if check:
        return ["A first backup of the cluster would be taken"] if result["changed"] else []
    if not result["label"]:
        return []
    kind = "in full" if result["full"] else "of what has changed"
    size, stored = human_bytes(result["bytes"]), human_bytes(result["stored_bytes"])
    return [f"{result['label']} is in the bucket: the cluster {kind}, {size}, stored as {stored}"]
