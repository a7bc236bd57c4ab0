"""What cron calls: back up every database, prune what each backup makes superfluous, save the
server kit; then tell all who should know how it went.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

from ..backup.database import BackupResult, create_backup
from ..backup.kit import KitResult, create_kit
from ..backup.prune import PrunedLine, prune_backups
from ..catalog.backups import Backup
from ..catalog.history import LAST_RUN, LastRun
from ..catalog.names import BackupName
from ..clock import format_timestamp, utc_now
from ..errors import LockedError, PostgresBackupError, StoppedError, UsageError, in_words
from ..findings import Finding, each_once, finding
from ..health import (
    alarms,
    clocks,
    housekeeping,
    metrics,
    outcome,
    ping,
    rows_gone,
    status,
    trend,
    verdict,
)
from ..health.alarm_kinds import Alarm, key
from ..job import Job
from ..machine import lock, signals, state
from ..machine.progress import Progress, Recorder
from ..settings import Settings
from ..text import human_bytes, human_seconds

_TRENDS = ("ROWS_DROPPED", "ROWS_JUMPED", "SIZE_DROPPED", "SIZE_JUMPED")
#: what a night tells beside them, without waiting for the watch
_AT_ONCE = ("ROWS_GONE", "TWO_SERVERS", "BACKUP_FROM_THE_FUTURE")
#: findings of a backup that a night tells in its log
_TOLD = housekeeping.CODES | clocks.CODES
#: the lock of the whole run; no database can have this name in the settings of a server that has
#: one more
_LOCK = "the nightly run"


class NightOfDatabase(TypedDict):
    """What became of one database; ``backup`` is None where there is none, ``error`` is empty where
    all went well.
    """

    backup: BackupResult | None
    deleted: list[PrunedLine]
    error: str


class Night(TypedDict):
    """How a night went, as the state keeps it too; ``kit`` is None where there are no paths, or
    where it failed.
    """

    changed: bool
    started_at: str
    seconds: float
    databases: dict[str, NightOfDatabase]
    kit: KitResult | None
    kit_error: str
    exit_status: int
    findings: list[Finding]


def run_night(settings: Settings, progress: Progress, scheduled: bool = False) -> Night:
    """One night. A database that fails does not keep the others from their backup, and is not
    pruned; nor does a kit that fails.

    :param scheduled: the schedule itself has called, at its time.
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


def _run(settings: Settings, progress: Recorder, scheduled: bool) -> Night:
    began, started = time.monotonic(), utc_now()
    signals.defer()  # it ends what is at work; that is told, and nothing else is begun
    findings = ping.send(settings, "start")
    databases: dict[str, NightOfDatabase] = {}
    failures = []
    for name in settings.databases:
        databases[name], failed, told = _back_up_and_prune(Job(settings, name, progress=progress))
        failures += failed
        findings += told
    saved, kit_error, failed = _save_kit(Job(settings, progress=progress))
    failures += failed
    if scheduled:
        findings += alarms.settle(settings, [key("NIGHT_SKIPPED")])
    night: Night = {
        "changed": True,
        "started_at": format_timestamp(started),
        "seconds": round(time.monotonic() - began, 1),
        "databases": databases,
        "kit": saved,
        "kit_error": kit_error,
        "exit_status": _exit_status(failures, len(databases) + bool(settings.paths)),
        "findings": findings,
    }
    findings += state.write(settings, LAST_RUN, cast(LastRun, night))
    findings += _seen_back(settings, databases)
    if progress.log_trouble:
        findings.append(finding("LOG_NOT_WRITTEN", progress.log_trouble))
    night["findings"] = findings = each_once(findings + state.troubles(settings))
    last_line = _last_line(settings, night)
    event, body = "fail" if night["exit_status"] else "", "\n".join([*progress.lines, last_line])
    findings += ping.send(settings, event, body)
    for found in findings:
        progress.step(settings.hide(f"{found['code']}: {found['message']}"))
    progress.step(last_line)
    return night


def _back_up_and_prune(job: Job) -> tuple[NightOfDatabase, list[int], list[Finding]]:
    """One database: what became of it, the exit status of what failed, and what could not be told
    of that.
    """
    done: NightOfDatabase = {"backup": None, "deleted": [], "error": ""}
    if signals.asked():
        error = _not_begun()
        done["error"] = f"backup: {error.message}"
        told = outcome.failed(job.settings, "backup", job.database, error)
        return done, [error.exit_status], told
    try:
        result = _attempt(job, done)
        signals.defer()
        return result
    except KeyboardInterrupt as stop:
        step, error = "prune" if done["backup"] else "backup", signals.stopped(stop)
        done["error"] = f"{step}: {error.message}"
        _tell_failure(job, f"{job.database}: {step} failed", error)
        return done, [error.exit_status], list(error.findings)


def _attempt(job: Job, done: NightOfDatabase) -> tuple[NightOfDatabase, list[int], list[Finding]]:
    step = "backup"
    try:
        # what the night looks back at once it looks for itself
        done["backup"] = taken = create_backup(job, look_back=False)
        for found in taken["findings"]:
            if found["code"] in _TOLD:  # nobody reads the result of a night
                told = f"{job.database}: {found['code']}: {found['message']}"
                job.progress.step(job.settings.hide(told))
        if job.settings.prune_nightly and not signals.asked():
            step = "prune"
            done["deleted"] = prune_backups(job)["deleted"]
    except Exception as any_error:  # noqa: BLE001 - whatever it is, it must not keep the other databases from their backup
        findings: list[Finding] = []
        error = in_words(any_error)
        if isinstance(any_error, (UsageError, LockedError)):
            # an answer to whoever asks; at night nobody does
            findings = outcome.failed(job.settings, step, job.database, error)
        done["error"] = job.settings.hide(f"{step}: {error.message}")
        _tell_failure(job, f"{job.database}: {step} failed", error)
        # what is in the bucket was touched, whatever kept the prune from going on
        return done, [1 if done["backup"] else error.exit_status], findings
    return done, [], []


def _not_begun() -> StoppedError:
    return StoppedError(f"Not begun, for {signals.asked()} came")


def _tell_failure(job: Job, what: str, error: PostgresBackupError) -> None:
    hint = f" ({error.hint})" if error.hint else ""
    job.progress.step(job.settings.hide(f"{what}: {error.message}{hint}"))


def _seen_back(settings: Settings, databases: Mapping[str, NightOfDatabase]) -> list[Finding]:
    """:func:`_look_back`, which a signal ends, and with it nothing else."""
    if stopped := signals.asked():
        return [finding("TREND_NOT_KNOWN", f"nobody looked, for {stopped} came")]
    try:
        signals.heed()
        found = _look_back(settings, databases)
        signals.defer()  # in here: what has come by now is seen at a call, this one too
        return found
    except KeyboardInterrupt as stop:
        return [finding("TREND_NOT_KNOWN", signals.stopped(stop).message)]


def _look_back(settings: Settings, databases: Mapping[str, NightOfDatabase]) -> list[Finding]:
    """What the night has left in the bucket, looked at once: is each new backup what its
    predecessors let one expect, and the metrics.

    :return: findings: the trend's, and what could not be told or written. What keeps it from
        looking leaves the questions for tomorrow.
    """
    try:
        seen, backups = status.look(settings)
    except Exception as any_error:  # noqa: BLE001 - whatever it is, the backups are in the bucket
        error = in_words(any_error)
        return [
            finding("TREND_NOT_KNOWN", settings.hide(error.message)),
            *metrics.renew(settings, None),
        ]
    findings: list[Finding] = []
    for name, done in databases.items():
        if done["backup"]:
            taken = BackupName.parse(done["backup"]["backup"])
            findings += _tell_at_once(settings, name, seen["findings"])
            findings += _hold_against_the_others(settings, name, taken, backups[name])
    return findings + metrics.renew(settings, seen)


def _tell_at_once(settings: Settings, name: str, found: Sequence[Finding]) -> list[Finding]:
    """What the watch would tell within the hour anyway."""
    told = [one for one in found if one["code"] in _AT_ONCE and one.get("database") == name]
    raised = verdict.alarms_of(name, told)
    alarms_now = [alarm for code in _AT_ONCE if (alarm := raised[code])]
    return told + alarms.settle(settings, [key(code, name) for code in _AT_ONCE], alarms_now)


def _hold_against_the_others(
    settings: Settings, name: str, taken: BackupName | None, backups: Sequence[Backup]
) -> list[Finding]:
    """What is out of the ordinary in the backup just taken, and told as such."""
    whole = [backup for backup in backups if backup.ours and backup.whole]
    good = [backup for backup in whole if backup.good]
    newest = next((backup for backup in good if backup.name == taken), None)
    if newest is None or newest.manifest is None:
        return []
    if len(good) <= trend.FEWEST:  # the first that are signed
        good = whole
    told = {one.table for one in rows_gone.gone(settings.server_name, name, backups, utc_now())}
    unusual = trend.findings(
        newest.manifest,
        [b.manifest for b in good if b.manifest and b.dated_at < newest.dated_at],
        settings.size_drop_percent,
        settings.size_jump_percent,
        told,
    )
    raised = [Alarm(found["code"], name, found["message"]) for found in unusual]
    return unusual + alarms.settle(settings, [key(code, name) for code in _TRENDS], raised)


def _save_kit(job: Job) -> tuple[KitResult | None, str, list[int]]:
    """:return: the kit's result, why it failed, and the exit status of that."""
    if not job.settings.paths:
        return None, "", []
    if signals.asked():
        late = _not_begun()
        outcome.failed(job.settings, "kit", "", late)
        return None, late.message, [late.exit_status]
    try:
        result = _attempt_kit(job)
        signals.defer()
        return result
    except KeyboardInterrupt as stop:
        ended = signals.stopped(stop)
        _tell_failure(job, "kit: failed", ended)
        return None, ended.message, [ended.exit_status]


def _attempt_kit(job: Job) -> tuple[KitResult | None, str, list[int]]:
    try:
        saved = create_kit(job)
    except Exception as any_error:  # noqa: BLE001 - the databases' backups are in the bucket whatever it is
        error = in_words(any_error)
        if isinstance(any_error, (UsageError, LockedError)):
            outcome.failed(job.settings, "kit", "", error)
        _tell_failure(job, "kit: failed", error)
        return None, job.settings.hide(error.message), [error.exit_status]
    for found in saved["findings"]:
        job.progress.step(job.settings.hide(f"kit: {found['code']}: {found['message']}"))
    return saved, "", []


def _exit_status(failures: Sequence[int], parts: int) -> int:
    """What all parts of a night have in common (each was locked, say), else 1: not all was done."""
    if not failures:
        return 0
    return failures[0] if len(failures) == parts and len(set(failures)) == 1 else 1


def _last_line(settings: Settings, night: Night) -> str:
    """The last line of the log of a night: OK or FAILED, and why."""
    failed = [
        f"{name}: {done['error']}"
        + (f" (its backup {done['backup']['backup']} is in the bucket)" if done["backup"] else "")
        for name, done in night["databases"].items()
        if done["error"]
    ] + ([f"kit: {night['kit_error']}"] if night["kit_error"] else [])
    if failed:
        return f"FAILED {settings.server_name}: " + "; ".join(failed)
    size = sum(done["backup"]["bytes"] for done in night["databases"].values() if done["backup"])
    return (
        f"OK {settings.server_name}: {len(night['databases'])} database(s), "
        f"{human_bytes(size)} in {human_seconds(night['seconds'])}"
    )
