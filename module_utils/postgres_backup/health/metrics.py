"""Numbers for Prometheus: a text file that node_exporter reads (its textfile collector), replaced
whole or not at all.

A number stands there only if what it tells of has happened: no restore, no time of a restore. What
a name means is its line in :data:`METRICS`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypedDict, cast

from ..catalog.history import LAST_RUN, LastRun
from ..clock import format_timestamp, parse_timestamp, utc_now
from ..errors import in_words
from ..findings import Finding, finding
from ..machine import state
from ..machine.counters import COUNTERS, Counters
from ..machine.files import replace_file, sweep_halves
from ..settings import Settings
from ..shapes.kinds import Moment
from . import alarms, failures, second_store, verdict
from .alarm_kinds import OpenAlarm
from .drills import LastDrill
from .outcome import LAST_RESTORES, LastRestore
from .second_store import Copied
from .status import BucketStatus

FILE = "postgres-backup.prom"
#: name -> its labels after ``server``, and what it is; names that end in _total only ever grow
Metrics = Mapping[str, tuple[tuple[str, ...], str]]
#: name, labels after ``server``, value; None where there is nothing to tell
Sample = tuple[str, tuple[str, ...], "float | None"]
METRICS: Metrics = {
    "postgres_backup_last_success_timestamp_seconds": (
        ("database",),
        "When the newest good backup was taken.",
    ),
    "postgres_backup_last_size_bytes": (
        ("database",),
        "Bytes of the newest good backup in the bucket.",
    ),
    "postgres_backup_last_dump_bytes": (
        ("database",),
        "Bytes of the newest good backup before compression.",
    ),
    "postgres_backup_last_rows": (("database",), "Rows in the newest good backup."),
    "postgres_backup_last_duration_seconds": (
        ("database",),
        "Seconds that the newest good backup took.",
    ),
    "postgres_backup_last_rate_bytes_per_second": (
        ("database",),
        "Bytes before compression that the newest good backup took a second.",
    ),
    "postgres_backup_kept_backups": (("database",), "Backups that are kept."),
    "postgres_backup_kept_bytes": (("database",), "Bytes of all backups that are kept."),
    "postgres_backup_oldest_timestamp_seconds": (
        ("database",),
        "When the oldest backup that is kept was taken.",
    ),
    "postgres_backup_pruned_total": (("database",), "Backups that the retention removed."),
    "postgres_backup_failures_total": (
        ("database", "reason"),
        "Backups, restores, prunes and kits that failed, by reason: store, database and so on.",
    ),
    "postgres_backup_last_restore_timestamp_seconds": (
        ("database",),
        "When the last restore ended.",
    ),
    "postgres_backup_last_restore_downtime_seconds": (
        ("database",),
        "Seconds for which the last restore held the application up.",
    ),
    "postgres_backup_last_restored_timestamp_seconds": (
        ("database",),
        "When a backup was restored last, by a drill or for good, as the proofs in the bucket say.",
    ),
    "postgres_backup_last_drill_timestamp_seconds": (
        ("database",),
        "When the last drill on this server ended.",
    ),
    "postgres_backup_last_drill_success": (
        ("database",),
        "Whether the last drill on this server passed: 1 or 0.",
    ),
    "postgres_backup_last_drill_duration_seconds": (
        ("database",),
        "Seconds that the last drill on this server took.",
    ),
    "postgres_backup_copied_timestamp_seconds": (
        ("database",),
        "When the newest backup in the second store was taken.",
    ),
    "postgres_backup_copied_backups": (("database",), "Backups in the second store."),
    "postgres_backup_copied_bytes": (("database",), "Bytes of all backups in the second store."),
    "postgres_backup_last_copy_success": (
        (),
        "Whether the last copying to the second store went well: 1 or 0.",
    ),
    "postgres_backup_fresh_limit_seconds": ((), "A newest good backup older than this is too old."),
    "postgres_backup_last_watch_timestamp_seconds": (
        (),
        "When the watch last looked into the bucket.",
    ),
    "postgres_backup_last_run_timestamp_seconds": ((), "When the last nightly run began."),
    "postgres_backup_last_run_success": (
        (),
        "Whether all of the last nightly run went well: 1 or 0.",
    ),
    "postgres_backup_healthy": (
        (),
        "Whether status says that all is well, or worth a look: 1; or not well: 0.",
    ),
    "postgres_backup_open_alarms": (("code",), "Alarms that are open, by code."),
}


def path_of(settings: Settings) -> str:
    """Where the file lies: as the settings say, else under the state directory."""
    return settings.metrics_file or os.path.join(settings.state_dir, FILE)


class _SeenBackup(TypedDict):
    """Of the newest good backup, what the numbers tell."""

    taken_at: Annotated[str, Moment()]
    bytes: int
    dump_bytes: int | None
    rows: int | None
    seconds: float | None


class _SeenAlways(TypedDict):
    """The same of a database."""

    last: _SeenBackup | None
    kept: int
    bytes: int
    oldest: Annotated[str, Moment()] | None


class _SeenDatabase(_SeenAlways, total=False):
    """And what earlier versions did not look at."""

    restored_at: Annotated[str, Moment()] | None
    drill: LastDrill | None


class _Look(TypedDict, total=False):
    """What the last look into the bucket has found, as the state keeps it: a
    ``status.DatabaseStatus`` each, of which no more is asked than is needed here.
    """

    watched_at: Annotated[str, Moment()] | None
    databases: dict[str, _SeenDatabase]


_LAST_LOOK = state.Kept("last-look.json", _Look)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the numbers tell of; nothing is told of what is left out.

    :param run: the last nightly run; may be empty.
    :param watched_at: when the watch last looked.
    :param restores: the last one of each database.
    :param healthy: the verdict.
    :param copied: what was copied to the second store last.
    """

    server: str
    fresh_hours: int | None = None
    run: LastRun | None = None
    watched_at: datetime | None = None
    databases: Mapping[str, _SeenDatabase] = dataclasses.field(default_factory=dict)
    counters: Counters = dataclasses.field(default_factory=Counters)
    restores: dict[str, LastRestore] = dataclasses.field(default_factory=dict)
    alarms: Sequence[OpenAlarm] = ()
    healthy: bool | None = None
    copied: Copied = dataclasses.field(default_factory=Copied)


def renew(settings: Settings, seen: BucketStatus | None, watched: bool = False) -> list[Finding]:
    """Write the numbers as they are now.

    :param seen: what ``status`` says; None where the store does not answer: what was last known of
        the bucket stays.
    :param watched: it is the hourly look that has seen it.
    :return: findings: what could not be written.
    """
    findings: list[Finding] = []
    last = state.read(settings, _LAST_LOOK, findings)
    watched_at = format_timestamp(utc_now()) if watched else last.get("watched_at")
    found = cast("dict[str, _SeenDatabase] | None", seen and seen["databases"])
    databases = last.get("databases", {}) if found is None else found
    look = _Look(watched_at=watched_at, databases=databases)
    findings += state.write(settings, _LAST_LOOK, look)
    run, open_now = state.read(settings, LAST_RUN, findings), alarms.open_alarms(settings)
    facts = Facts(
        server=settings.server_name,
        fresh_hours=settings.fresh_hours,
        run=run,
        watched_at=parse_timestamp(watched_at) if watched_at else None,
        databases=databases,
        counters=state.read(settings, COUNTERS, findings),
        restores=state.read(settings, LAST_RESTORES, findings),
        alarms=open_now,
        healthy=_healthy(seen, open_now, run),
        copied=second_store.remembered(settings),
    )
    return findings + write(settings, facts)


def _healthy(seen: BucketStatus | None, open_now: Sequence[OpenAlarm], run: LastRun) -> bool | None:
    """The verdict as it is now; None where the store does not answer, and no alarm is open yet."""
    if seen is None:
        return False if open_now else None
    waits = failures.waiting(run)
    return verdict.of_server(seen["databases"], seen["findings"], open_now, waits)["healthy"]


def write(settings: Settings, facts: Facts) -> list[Finding]:
    """Replace the file by what these facts tell.

    :return: findings: METRICS_NOT_WRITTEN, or none.
    """
    return replace(settings, path_of(settings), METRICS, facts.server, _samples(facts))


def replace(
    settings: Settings, path: str, known: Metrics, server: str, samples: Iterable[Sample]
) -> list[Finding]:
    """Replace a file of numbers. What it tells of has happened, so a file that cannot be written
    makes a finding and no failure.

    :param known: every name that ``samples`` may have.
    :return: findings: METRICS_NOT_WRITTEN, or none.
    """
    try:
        text = _text(known, server, samples)
        if not settings.metrics_file:
            state.directory(settings)
        sweep_halves(path)
        # node_exporter is another user, and cron's umask may be anything
        replace_file(path, text, mode=0o644, sync=True)
    except Exception as any_error:  # noqa: BLE001 - whatever it is, the backup is in the bucket
        cause = (
            any_error.strerror if isinstance(any_error, OSError) else in_words(any_error).message
        )
        return [finding("METRICS_NOT_WRITTEN", settings.hide(f"Failed to write {path}: {cause}"))]
    return []


def _text(known: Metrics, server: str, samples: Iterable[Sample]) -> bytes:
    """The file's content, in Prometheus' text format."""
    # only here: most calls of the program need none of it
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    told: dict[str, list[tuple[list[str], float]]] = {}
    for name, labels, value in samples:
        if value is not None:
            told.setdefault(name, []).append(([server, *labels], value))

    class Collector:
        def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
            for name, values in told.items():
                labels, help_text = known[name]
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                family = kind(name, help_text, labels=("server", *labels))
                for texts, value in values:
                    family.add_metric(texts, value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _samples(facts: Facts) -> Iterator[Sample]:
    for database, status in facts.databases.items():
        yield from _of_a_database((database,), status)
    for database, count in facts.counters.get("pruned", {}).items():
        yield "postgres_backup_pruned_total", (database,), count
    for database, reasons in facts.counters.get("failures", {}).items():
        for why, count in reasons.items():
            yield "postgres_backup_failures_total", (database, why), count
    for database, restore in facts.restores.items():
        at, downtime = seconds_of(restore["at"]), restore["downtime_seconds"]
        yield "postgres_backup_last_restore_timestamp_seconds", (database,), at
        yield "postgres_backup_last_restore_downtime_seconds", (database,), downtime
    yield from _of_the_server(facts)


def _of_a_database(label: tuple[str], status: _SeenDatabase) -> Iterator[Sample]:
    if last := status["last"]:
        seconds, dump_bytes = last["seconds"], last["dump_bytes"]
        rate = dump_bytes / seconds if dump_bytes is not None and seconds else None
        taken_at = seconds_of(last["taken_at"])
        yield "postgres_backup_last_success_timestamp_seconds", label, taken_at
        yield "postgres_backup_last_size_bytes", label, last["bytes"]
        yield "postgres_backup_last_dump_bytes", label, dump_bytes
        yield "postgres_backup_last_rows", label, last["rows"]
        yield "postgres_backup_last_duration_seconds", label, seconds
        yield "postgres_backup_last_rate_bytes_per_second", label, rate
    restored = seconds_of(status.get("restored_at"))
    yield "postgres_backup_last_restored_timestamp_seconds", label, restored
    if drill := status.get("drill"):
        yield "postgres_backup_last_drill_timestamp_seconds", label, seconds_of(drill["at"])
        yield "postgres_backup_last_drill_success", label, int(drill["passed"])
        yield "postgres_backup_last_drill_duration_seconds", label, drill["seconds"]
    yield "postgres_backup_kept_backups", label, status["kept"]
    yield "postgres_backup_kept_bytes", label, status["bytes"]
    yield "postgres_backup_oldest_timestamp_seconds", label, seconds_of(status["oldest"])


def _of_the_server(facts: Facts) -> Iterator[Sample]:
    for database, copied in facts.copied.get("databases", {}).items():
        at = seconds_of(copied["newest"])
        yield "postgres_backup_copied_timestamp_seconds", (database,), at
        yield "postgres_backup_copied_backups", (database,), len(copied["backups"])
        yield "postgres_backup_copied_bytes", (database,), copied["bytes"]
    if "at" in facts.copied:
        went_well = int(not facts.copied.get("error"))
        yield "postgres_backup_last_copy_success", (), went_well
    limit = facts.fresh_hours * 3600 if facts.fresh_hours else None
    yield "postgres_backup_fresh_limit_seconds", (), limit
    watched = facts.watched_at.timestamp() if facts.watched_at else None
    yield "postgres_backup_last_watch_timestamp_seconds", (), watched
    if facts.run:
        began, well = seconds_of(facts.run["started_at"]), facts.run["exit_status"] == 0
        yield "postgres_backup_last_run_timestamp_seconds", (), began
        yield "postgres_backup_last_run_success", (), int(well)
    yield "postgres_backup_healthy", (), facts.healthy
    codes = [alarm["code"] for alarm in facts.alarms]
    for code in sorted(set(codes)):
        yield "postgres_backup_open_alarms", (code,), codes.count(code)


def seconds_of(timestamp: str | None) -> float | None:
    """Since 1970, as Prometheus counts."""
    return parse_timestamp(timestamp).timestamp() if timestamp else None
