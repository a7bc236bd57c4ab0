"""The numbers for Prometheus of a server that keeps every second: a file of their own beside the
others, for they are renewed every two minutes and without the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..findings import Finding, finding
from ..settings import Settings
from . import metrics
from .archiving import Look
from .metrics import Metrics, Sample, seconds_of

METRICS: Metrics = {
    "postgres_backup_pitr_last_look_timestamp_seconds": (
        (),
        "When it was last looked whether every second is kept.",
    ),
    "postgres_backup_pitr_lag_seconds": (
        (),
        "For how long the oldest piece of PostgreSQL's log waits to be archived.",
    ),
    "postgres_backup_pitr_waiting_bytes": ((), "Bytes of the log that wait to be archived."),
    "postgres_backup_pitr_log_bytes": ((), "Bytes of all that lies in pg_wal."),
    "postgres_backup_pitr_free_bytes": ((), "Bytes that are free on the disk of pg_wal."),
    "postgres_backup_pitr_rpo_limit_seconds": (
        (),
        "Seconds of work that may be lost (backup_pitr_rpo_seconds).",
    ),
    "postgres_backup_pitr_gaps": (
        (),
        "Gaps in what is archived since the newest full backup of the cluster.",
    ),
    "postgres_backup_pitr_first_timestamp_seconds": (
        (),
        "The first moment that can be recovered.",
    ),
    "postgres_backup_pitr_last_backup_timestamp_seconds": (
        (),
        "When the newest backup of the cluster was taken.",
    ),
    "postgres_backup_pitr_last_full_timestamp_seconds": (
        (),
        "When the newest full backup of the cluster was taken.",
    ),
    "postgres_backup_pitr_stored_bytes": (
        (),
        "Bytes of the archive in the bucket: backups of the cluster, and its log.",
    ),
    "postgres_backup_pitr_last_drill_timestamp_seconds": (
        (),
        "When the last drill of every second ended.",
    ),
    "postgres_backup_pitr_last_drill_success": (
        (),
        "Whether the last drill of every second passed: 1 or 0.",
    ),
    "postgres_backup_pitr_last_drill_duration_seconds": (
        (),
        "Seconds that the last drill of every second took.",
    ),
}


def path_of(settings: Settings) -> str:
    """Where the file lies: beside the other one."""
    stem, ending = os.path.splitext(metrics.path_of(settings))
    return f"{stem}-pitr{ending}"


def renew(settings: Settings, seen: Look | None) -> list[Finding]:
    """Write the numbers as they are now, or take away those of what is no longer asked for.

    :param seen: what ``archiving.known`` gives.
    :return: findings: METRICS_NOT_WRITTEN, or none.
    """
    path = path_of(settings)
    if seen:
        return metrics.replace(settings, path, METRICS, settings.server_name, _told(settings, seen))
    try:
        os.unlink(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [finding("METRICS_NOT_WRITTEN", f"Failed to remove {path}: {error.strerror}")]
    return []


def _told(settings: Settings, seen: Look) -> Iterator[Sample]:
    lag = seen["oldest_seconds"] if seen["waiting"] else 0.0
    numbers: dict[str, float | None] = {
        "last_look_timestamp_seconds": seconds_of(seen["at"]),
        "lag_seconds": lag,
        "waiting_bytes": seen["waiting_bytes"],
        "log_bytes": seen["log_bytes"],
        "free_bytes": seen["free_bytes"],
        "rpo_limit_seconds": settings.pitr_rpo_seconds,
    }
    if seen["backups_at"]:  # the store has answered
        numbers |= {
            "gaps": len(seen["gaps"]),
            "first_timestamp_seconds": seconds_of(seen.get("first_at")),
            "last_backup_timestamp_seconds": seconds_of(seen["newest_at"]),
            "last_full_timestamp_seconds": seconds_of(seen["newest_full_at"]),
            "stored_bytes": seen.get("stored_bytes"),
        }
    if drill := seen.get("drill"):
        numbers |= {
            "last_drill_timestamp_seconds": seconds_of(drill["at"]),
            "last_drill_success": int(drill["passed"]),
            "last_drill_duration_seconds": drill["seconds"],
        }
    for name, value in numbers.items():
        yield f"postgres_backup_pitr_{name}", (), value
