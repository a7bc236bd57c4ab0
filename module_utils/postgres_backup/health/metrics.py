"""Numbers for Prometheus: a text file that node_exporter reads (its textfile collector), replaced
whole or not at all.

A number stands there only if what it tells of has happened: no restore, no time of a restore. What
a name means is its line in :data:`METRICS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..clock import parse_timestamp
from ..errors import in_words
from ..findings import finding
from ..machine import state
from ..machine.files import replace_file, sweep_halves
from ..settings import Settings

FILE = "postgres-backup.prom"
#: name -> its labels after ``server``, and what it is; names that end in _total only ever grow
METRICS = {
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
    "postgres_backup_open_alarms": (("code",), "Alarms that are open, by code."),
}


def path_of(settings: Settings) -> str:
    """Where the file lies: as the settings say, else under the state directory."""
    return settings.metrics_file or os.path.join(settings.state_dir, FILE)


def write(settings: Settings, facts: dict) -> list[dict]:
    """Replace the file. What it tells of has happened, so a file that cannot be written makes a
    finding and no failure.

    :param facts: ``server``, ``now``, ``fresh_hours``; ``run``: the last nightly run's result, or
        empty; ``watched_at`` (datetime or None); ``databases``: per name ``last``
        (``catalog.Backup.describe`` or None), ``kept``, ``bytes``, ``oldest``; ``counters``:
        ``pruned`` and ``failures``; ``restores``: per name ``at`` and ``downtime_seconds``;
        ``alarms``: each with its ``code``. Any but ``server`` may be missing.
    :return: findings: METRICS_NOT_WRITTEN, or none.
    """
    path = path_of(settings)
    try:
        text = _text(facts)
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


def _text(facts: dict) -> bytes:
    """The file's content, in Prometheus' text format."""
    from prometheus_client import (
        CollectorRegistry,
        generate_latest,
    )  # only here: most calls of the program need none of it
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    values: dict[str, list] = {}
    for name, labels, value in _samples(facts):
        if value is not None:
            values.setdefault(name, []).append(([facts["server"], *labels], value))

    class Collector:
        def collect(self) -> Iterator:
            for name, found in values.items():
                labels, help_text = METRICS[name]
                family = (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(
                    name, help_text, labels=("server", *labels)
                )
                for texts, value in found:
                    family.add_metric(texts, value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _samples(facts: dict) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    """Name, labels after ``server``, value; None where there is nothing to tell."""
    for database, one in facts.get("databases", {}).items():
        last = one.get("last") or {}
        seconds, dump_bytes = last.get("seconds"), last.get("dump_bytes")
        yield (
            "postgres_backup_last_success_timestamp_seconds",
            (database,),
            _moment(last.get("taken_at")),
        )
        yield "postgres_backup_last_size_bytes", (database,), last.get("bytes")
        yield "postgres_backup_last_dump_bytes", (database,), dump_bytes
        yield "postgres_backup_last_rows", (database,), last.get("rows")
        yield "postgres_backup_last_duration_seconds", (database,), seconds
        yield (
            "postgres_backup_last_rate_bytes_per_second",
            (database,),
            dump_bytes / seconds if dump_bytes is not None and seconds else None,
        )
        yield "postgres_backup_kept_backups", (database,), one.get("kept")
        yield "postgres_backup_kept_bytes", (database,), one.get("bytes")
        yield "postgres_backup_oldest_timestamp_seconds", (database,), _moment(one.get("oldest"))
    counters = facts.get("counters", {})
    for database, count in counters.get("pruned", {}).items():
        yield "postgres_backup_pruned_total", (database,), count
    for database, reasons in counters.get("failures", {}).items():
        for why, count in reasons.items():
            yield "postgres_backup_failures_total", (database, why), count
    for database, restored in facts.get("restores", {}).items():
        yield (
            "postgres_backup_last_restore_timestamp_seconds",
            (database,),
            _moment(restored.get("at")),
        )
        yield (
            "postgres_backup_last_restore_downtime_seconds",
            (database,),
            restored.get("downtime_seconds"),
        )
    yield from _of_the_server(facts)


def _of_the_server(facts: dict) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    watched, run, hours = facts.get("watched_at"), facts.get("run") or {}, facts.get("fresh_hours")
    yield "postgres_backup_fresh_limit_seconds", (), hours and hours * 3600
    yield "postgres_backup_last_watch_timestamp_seconds", (), watched and watched.timestamp()
    yield "postgres_backup_last_run_timestamp_seconds", (), _moment(run.get("started_at"))
    yield (
        "postgres_backup_last_run_success",
        (),
        int(run["exit_status"] == 0) if "exit_status" in run else None,
    )
    yield from ((name, (code,), count) for name, code, count in _open(facts.get("alarms", [])))


def _open(alarms: Iterable[dict]) -> Iterator[tuple[str, str, int]]:
    codes = [alarm["code"] for alarm in alarms]
    for code in sorted(set(codes)):
        yield "postgres_backup_open_alarms", code, codes.count(code)


def _moment(text: str | None) -> float | None:
    """Seconds since 1970 of a timestamp as manifests have them."""
    return parse_timestamp(text).timestamp() if text else None
