"""What cron calls: back up every database, prune what each backup makes superfluous, save the
server kit; then tell all who should know how it went.
"""

from __future__ import annotations

import time

from ..backup.database import create_backup
from ..backup.kit import create_kit
from ..backup.prune import prune_backups
from ..catalog.backups import Backup
from ..catalog.names import BackupName
from ..clock import format_timestamp, utc_now
from ..errors import LockedError, StoreError, UsageError, in_words
from ..findings import finding
from ..health import alarms, outcome, ping, status, trend
from ..job import Job
from ..machine import lock, state
from ..machine.progress import Progress, Recorder
from ..settings import Settings
from ..text import human_bytes, human_seconds

_TRENDS = ("ROWS_DROPPED", "ROWS_JUMPED", "SIZE_DROPPED", "SIZE_JUMPED")
#: the lock of the whole run; no database can have this name in the settings of a server that has
#: one more
_LOCK = "the nightly run"


def run_night(settings: Settings, progress: Progress, scheduled: bool = False) -> dict:
    """One night. A database that fails does not keep the others from their backup, and is not
    pruned; nor does a kit that fails.

    :param scheduled: the schedule itself has called, at its time.
    :return: ``databases``: per database ``backup``, ``deleted``, ``error``; ``kit``: its result
        (None where there are no paths) and ``kit_error``; ``exit_status``, ``findings``,
        ``seconds``, ``changed``.
    :raises LockedError: another such run is at work.
    """
    with lock.hold(settings, _LOCK, "nightly run"):
        return _run(settings, Recorder(progress), scheduled)


def is_running(settings: Settings) -> bool:
    """Whether a run is at work right now."""
    try:
        with lock.hold(settings, _LOCK, "look"):
            return False
    except LockedError:
        return True


def _run(settings: Settings, progress: Recorder, scheduled: bool) -> dict:
    began, started = time.monotonic(), utc_now()
    findings = ping.send(settings, "start")
    databases: dict[str, dict] = {}
    statuses = []
    for name in settings.databases:
        databases[name], failures = _one(settings, name, progress)
        statuses += failures
        findings += databases[name].pop("findings")
    saved, kit_error, kit_status = _save_kit(Job(settings, progress=progress))
    if scheduled:
        findings += alarms.settle(settings, [alarms.key("NIGHT_SKIPPED")])
    result = {
        "changed": True,
        "started_at": format_timestamp(started),
        "seconds": round(time.monotonic() - began, 1),
        "databases": databases,
        "kit": saved,
        "kit_error": kit_error,
        "exit_status": _exit_status(statuses + kit_status, len(databases) + bool(settings.paths)),
        "findings": findings,
    }
    try:
        state.write(settings, state.LAST_RUN, result)
    except UsageError as error:  # what is in the bucket is there all the same
        findings.append(finding("STATE_NOT_WRITTEN", error.message))
    findings += _look_back(settings, databases)
    verdict = _verdict(settings, result)
    findings += ping.send(
        settings, "fail" if result["exit_status"] else "", "\n".join([*progress.lines, verdict])
    )
    for one in findings:
        progress.step(settings.hide(f"{one['code']}: {one['message']}"))
    progress.step(verdict)
    return result


def _one(settings: Settings, name: str, progress: Progress) -> tuple[dict, list[int]]:
    """One database: ``backup deleted error findings``, and the exit status of what failed."""
    one: dict = {"backup": None, "deleted": [], "error": "", "findings": []}
    step = "backup"
    try:
        one["backup"] = create_backup(Job(settings, name, progress=progress))
        if settings.prune_nightly:
            step = "prune"
            one["deleted"] = prune_backups(Job(settings, name, progress=progress))["deleted"]
    except Exception as any_error:  # noqa: BLE001 - whatever it is, it must not keep the other databases from their backup
        error = in_words(any_error)
        if isinstance(
            any_error, (UsageError, LockedError)
        ):  # an answer to whoever asks; at night nobody does
            one["findings"] += outcome.failed(settings, step, name, error)
        one["error"] = settings.hide(f"{step}: {error.message}")
        progress.step(
            settings.hide(
                f"{name}: {step} failed: {error.message}"
                + (f" ({error.hint})" if error.hint else "")
            )
        )
        return one, [error.exit_status]
    return one, []


def _look_back(settings: Settings, databases: dict[str, dict]) -> list[dict]:
    """What the night has left in the bucket, looked at once: is each new backup what its
    predecessors let one expect, and the metrics.

    :return: findings: the trend's, and what could not be told or written. A store that no longer
        answers leaves the questions for tomorrow.
    """
    try:
        found, backups = status.look(settings)
    except StoreError as error:
        return [
            finding("TREND_NOT_KNOWN", error.message),
            *status.publish(settings, None),
        ]
    findings = []
    for name, one in databases.items():
        if one["backup"]:
            findings += _judge(
                settings,
                name,
                BackupName.parse(one["backup"]["backup"]),
                [b for b in backups[name] if b.ours and b.good],
            )
    return findings + status.publish(settings, found)


def _judge(
    settings: Settings, name: str, taken: BackupName | None, good: list[Backup]
) -> list[dict]:
    newest = next((backup for backup in good if backup.name == taken), None)
    if newest is None:
        return []
    earlier = [backup.manifest for backup in good if backup.taken_at < newest.taken_at]
    found = trend.findings(
        newest.manifest, earlier, settings.size_drop_percent, settings.size_jump_percent
    )
    troubles = [alarms.Trouble(one["code"], name, one["message"]) for one in found]
    return found + alarms.settle(settings, [alarms.key(code, name) for code in _TRENDS], troubles)


def _save_kit(job: Job) -> tuple[dict | None, str, list[int]]:
    """:return: the kit's result, what failed, and its exit status if it failed."""
    if not job.settings.paths:
        return None, "", []
    try:
        with outcome.noted(job.settings, "kit", ""):
            return create_kit(job), "", []
    except Exception as any_error:  # noqa: BLE001 - the databases' backups are in the bucket whatever it is
        error = in_words(any_error)
        if isinstance(any_error, (UsageError, LockedError)):
            outcome.failed(job.settings, "kit", "", error)
        job.progress.step(
            job.settings.hide(
                f"kit: failed: {error.message}" + (f" ({error.hint})" if error.hint else "")
            )
        )
        return None, job.settings.hide(error.message), [error.exit_status]


def _exit_status(failures: list[int], parts: int) -> int:
    """What all parts of a night have in common (each was locked, say), else 1: not all was done."""
    if not failures:
        return 0
    return failures[0] if len(failures) == parts and len(set(failures)) == 1 else 1


def _verdict(settings: Settings, result: dict) -> str:
    """The last line of the log of a night: OK or FAILED, and why."""
    failed = [
        f"{name}: {one['error']}"
        + (f" (its backup {one['backup']['backup']} is in the bucket)" if one["backup"] else "")
        for name, one in result["databases"].items()
        if one["error"]
    ] + ([f"kit: {result['kit_error']}"] if result["kit_error"] else [])
    if failed:
        return f"FAILED {settings.server_name}: " + "; ".join(failed)
    size = sum(one["backup"]["bytes"] for one in result["databases"].values())
    return f"OK {settings.server_name}: {len(result['databases'])} database(s), {human_bytes(size)} in {human_seconds(result['seconds'])}"
