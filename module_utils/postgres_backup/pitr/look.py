"""Look whether every second is kept, as whoever may, and leave what was seen in a file that
others may read.

Every two minutes what this machine knows; each hour what the bucket has.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from ..clock import format_timestamp, parse_timestamp, utc_now
from ..errors import PostgresBackupError
from ..findings import Finding
from ..health import archiving
from ..health.archiving import Look
from ..machine import state
from ..postgresql.log_pieces import number_of
from ..settings import Settings
from . import boxed, gaps, repository
from . import cluster as clusters
from .cluster import Cluster
from .drilled import DRILL
from .side_cluster import SIDE

LOOK = state.Kept(archiving.NAME, Look)
#: how long what the bucket has is believed; where it did not answer, how soon it is asked again
_HOUR, _SOON = timedelta(hours=1), timedelta(minutes=10)
#: how long the worst is remembered
_OF_LATE = timedelta(days=7)
#: letters of a sentence
_QUOTED = 900


def look(settings: Settings, ask_store: bool = False) -> tuple[Look, list[Finding]]:
    """Look and write it down.

    :param ask_store: ask the store too, however lately it was asked.
    :return: what was seen; findings: STATE_NOT_WRITTEN.
    """
    now = utc_now()
    before = state.read(settings, LOOK)
    seen = _nothing(now, before if len(before) else None)
    found: Cluster | None = None
    try:
        found = clusters.ask(settings)
        seen["stopped"] = _why_not(settings, found)
        _count(settings, seen, found)
    except PostgresBackupError as error:  # that is what there is to tell
        seen["stopped"] = settings.hide(error.message)[:_QUOTED]
    worst_is_old = now - parse_timestamp(seen["worst_at"]) > _OF_LATE
    _tell_drill(settings, seen, before if len(before) else None)
    if len(side := state.read(settings, SIDE)):
        seen["beside"] = {
            "at": side["at"],
            "target": side["target"],
            "directory": side["directory"],
            "ready": side["ready"],
        }
    if seen["oldest_seconds"] >= seen["worst_seconds"] or worst_is_old:
        seen["worst_seconds"], seen["worst_at"] = seen["oldest_seconds"], format_timestamp(now)
    if found and (ask_store or _is_due(seen, now)):
        try:
            _ask_store(settings, seen, found)
            seen["backups_at"], seen["unasked"] = format_timestamp(now), ""
        except PostgresBackupError as error:
            seen["unasked"] = settings.hide(error.message)[:_QUOTED]
    return seen, state.write(settings, LOOK, seen)


def _nothing(now: datetime, before: Look | None) -> Look:
    """Nothing of this machine was seen yet; what the bucket had."""
    at = format_timestamp(now)
    return {
        "at": at,
        "running": time.monotonic(),
        "stopped": "",
        "waiting": 0,
        "waiting_bytes": 0,
        "oldest_seconds": 0.0,
        "log_bytes": 0,
        "free_bytes": 0,
        "worst_seconds": before["worst_seconds"] if before else 0.0,
        "worst_at": before["worst_at"] if before else at,
        "backups_at": before["backups_at"] if before else None,
        "unasked": before["unasked"] if before else "",
        "newest_at": before["newest_at"] if before else None,
        "newest_full_at": before["newest_full_at"] if before else None,
        "gaps": before["gaps"] if before else [],
        "first_at": before.get("first_at") if before else None,
        "backups": before.get("backups", 0) if before else 0,
        "stored_bytes": before.get("stored_bytes", 0) if before else 0,
    }


def _tell_drill(settings: Settings, seen: Look, before: Look | None) -> None:
    """The last drill that came to its end; while one is made, the one before."""
    last = state.read(settings, DRILL)
    if len(last) and not last["running"]:
        seen["drill"] = {
            "at": last["at"],
            "passed": last["passed"],
            "seconds": last["seconds"],
            "said": last["said"],
        }
    elif before and (earlier := before.get("drill")):
        seen["drill"] = earlier


def _why_not(settings: Settings, found: Cluster) -> str:
    if not found.archives:
        if settings.db_container:
            return f"archive_mode is off in the container: {boxed.PAGE}"
        return f"PostgreSQL was not started anew since: systemctl restart {found.unit}"
    if not clusters.is_archived_by_us(settings, found):
        return f"archive_command is {found.archive_command!r}"[:_QUOTED]
    return ""


def _count(settings: Settings, seen: Look, found: Cluster) -> None:
    """What waits in PostgreSQL's log."""
    log = clusters.waiting(settings)
    seen["log_bytes"], seen["free_bytes"] = log.log_bytes, clusters.free_bytes(settings, found)
    seen["waiting"], seen["waiting_bytes"] = log.pieces, log.pieces * found.segment_bytes
    seen["oldest_seconds"] = round(max(log.oldest_seconds, 0.0), 1)


def _is_due(seen: Look, now: datetime) -> bool:
    if seen["backups_at"] is None:
        return True
    patience = _SOON if seen["unasked"] else _HOUR
    return now - parse_timestamp(seen["backups_at"]) >= patience


def _ask_store(settings: Settings, seen: Look, found: Cluster) -> None:
    """:raises PostgresBackupError: the store does not answer."""
    there = repository.look(settings)
    if there.code not in (repository.WELL, repository.EMPTY):
        archived(settings, found)  # whoever lists is told why; whoever asks is told "other"
        raise PostgresBackupError(
            f"Failed to ask for the backups of the cluster: {there.message}",
            "Run `ansible-playbook setup.yml`, which says what is wrong",
        )
    oldest, newest, full = there.oldest_full, there.newest, there.newest_full
    seen["first_at"] = format_timestamp(oldest.ended) if oldest else None
    seen["newest_at"] = format_timestamp(newest.ended) if newest else None
    seen["newest_full_at"] = format_timestamp(full.ended) if full else None
    log, seen["gaps"] = repository.log(settings), []
    if full:
        have = gaps.segments(log, found.segment_bytes)
        since = number_of(full.first_segment, found.segment_bytes)
        lost = gaps.missing(have, since, found.segment_bytes)
        seen["gaps"] = [first if first == last else f"{first} to {last}" for first, last in lost]
    seen["backups"] = len(there.backups)
    seen["stored_bytes"] = sum(one.stored_bytes for one in there.backups) + sum(log.values())


def archived(settings: Settings, found: Cluster) -> dict[int, set[int]]:
    """Timeline -> numbers of the pieces that the archive has.

    :raises StoreError: the store does not answer.
    """
    return gaps.segments(repository.log(settings), found.segment_bytes)


def lines(seen: Look) -> list[str]:
    """What that says to a person."""
    if seen["stopped"]:
        return [f"nothing is archived: {seen['stopped']}"]
    told = [f"{seen['waiting']} pieces of the log wait, the first for {seen['oldest_seconds']} s"]
    told += [f"missing in the archive: {gap}" for gap in seen["gaps"]]
    return told + ([seen["unasked"]] if seen["unasked"] else [])
