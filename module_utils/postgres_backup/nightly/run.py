"""What cron calls: back up every database, prune what each backup makes superfluous, save the
server kit; tell all who should know how it went; then copy to the second store, and read again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict, cast

from ..backup.kit import KitResult
from ..catalog.backups import Backup
from ..catalog.history import LAST_RUN, LastRun
from ..catalog.names import BackupName
from ..clock import format_timestamp, utc_now
from ..errors import in_words
from ..findings import Finding, each_once, finding
from ..health import alarms, metrics, ping, rows_gone, status, trend, verdict
from ..health.alarm_kinds import Alarm, key
from ..job import Job
from ..machine import damage, lock, signals, state, tries
from ..machine.due import Tried
from ..machine.progress import Progress, Recorder
from ..machine.schedule import NIGHT, at_work
from ..settings import Settings
from ..text import human_bytes, human_seconds
from . import changes, retry, rotation, second
from .attempt import Attempt, NightOfDatabase, attempt

_TRENDS = ("ROWS_DROPPED", "ROWS_JUMPED", "SIZE_DROPPED", "SIZE_JUMPED")
#: what a night tells beside them, without waiting for the watch
_AT_ONCE = (
    *("ROWS_GONE", "TWO_SERVERS", "BACKUP_FROM_THE_FUTURE"),
    *("FOREIGN_WRITER", "BACKUP_VANISHED"),
)
_LOCK = NIGHT


class Night(TypedDict):
    """How a night went, as the state keeps it too; ``kit`` is None where there are no paths, or
    where it failed. ``again_at`` is when what failed is tried again; empty: it is not.
    """

    changed: bool
    started_at: str
    seconds: float
    databases: dict[str, NightOfDatabase]
    kit: KitResult | None
    kit_error: str
    exit_status: int
    again_at: str
    findings: list[Finding]


def run_night(
    settings: Settings, progress: Progress, scheduled: bool = False, tried: Tried | None = None
) -> Night | None:
    """One night. A database that fails does not keep the others from their backup, and is not
    pruned; nor does a kit that fails.

    :param scheduled: the schedule itself has called, at its time or to try again; it has claimed
        the try.
    :param tried: the try that was claimed, where somebody else calls. Of neither, nothing is tried
        again: whoever has typed it reads what failed.
    :return: None: the bucket says that there is nothing to do.
    :raises LockedError: another such run is at work.
    """
    with lock.hold(settings, _LOCK, "nightly run"):
        if scheduled and tried is None:
            tried = tries.remembered(settings)
        return _run(settings, Recorder(progress), scheduled, tried)


def is_running(settings: Settings) -> bool:
    """Whether a run is at work right now."""
    return at_work(settings)


def _run(
    settings: Settings, progress: Recorder, scheduled: bool, tried: Tried | None
) -> Night | None:
    began, started = time.monotonic(), utc_now()
    again = retry.again_of(settings, tried) if tried else None
    parts = retry.still_left(settings, tried, progress) if tried else tries.everything(settings)
    if again and not parts:
        tries.end(settings, again, {}, utc_now())
        return None
    signals.defer()  # it ends what is at work; that is told, and nothing else is begun
    findings = ping.send(settings, "start")
    of_night = Job(settings, progress=progress, again=again)
    done = attempt(of_night, parts)
    findings += done.findings
    if scheduled:
        findings += alarms.settle(settings, [key("NIGHT_SKIPPED")])
    if again:
        findings += tries.end(settings, again, done.left, utc_now())
        findings += retry.catch_up(settings) if len(done.failures) < len(parts) else []
    findings += changes.note(settings)["findings"]
    night = _night(settings, done, tried, started, findings)
    night["seconds"] = round(time.monotonic() - began, 1)
    findings += state.write(settings, LAST_RUN, cast(LastRun, night))
    there, seen_back = _seen_back(settings, done.databases)
    findings += seen_back
    if progress.log_trouble:
        findings.append(finding("LOG_NOT_WRITTEN", progress.log_trouble))
    night["findings"] = findings = each_once(findings + damage.troubles(settings))
    last_line = _last_line(settings, night)
    if done.told or not done.failures:  # what is tried again in silence is neither
        event = "fail" if night["exit_status"] else ""
        body = "\n".join([*progress.lines, last_line])
        findings += ping.send(settings, event, body)
    # last, for all has been told by now
    findings += second.copy_at_night(of_night)
    night["findings"] = findings = each_once(findings + rotation.rotate(of_night, there))
    for found in findings:
        progress.step(settings.hide(f"{found['code']}: {found['message']}"))
    progress.step(last_line)
    return night


def _night(
    settings: Settings,
    done: Attempt,
    tried: Tried | None,
    started: datetime,
    findings: list[Finding],
) -> Night:
    """The night as a whole, of which this may have been one try of several."""
    night: Night = {
        "changed": True,
        "started_at": format_timestamp(started),
        "seconds": 0.0,
        "databases": {name: {**one} for name, one in done.databases.items()},
        "kit": done.kit,
        "kit_error": done.kit_error or "",
        "exit_status": 0,
        "again_at": format_timestamp(done.again_at) if done.again_at else "",
        "findings": findings,
    }
    failures, databases = list(done.failures), night["databases"]
    before = _before(settings, tried)
    if before:
        for name in [name for name in settings.databases if name in before["databases"]]:
            earlier = before["databases"][name]
            if name in databases:
                databases[name]["backup"] = databases[name]["backup"] or earlier["backup"]
            else:
                databases[name] = earlier
                failures += [1] if earlier["error"] else []
        if done.kit_error is None:
            night["kit"], night["kit_error"] = before["kit"], before["kit_error"]
            failures += [1] if before["kit_error"] else []
    night["exit_status"] = _exit_status(failures, len(databases) + bool(settings.paths))
    return night


def _before(settings: Settings, tried: Tried | None) -> Night | None:
    """What earlier tries of the same night have come to, as far as that is remembered."""
    if tried is None or tried.number == 1:
        return None
    before = cast("Night", state.read(settings, LAST_RUN))
    stamp = format_timestamp(tried.planned)
    return before if before.get("started_at", "") >= stamp else None


#: what lies in the bucket, per database, and findings
_Seen = tuple[Mapping[str, Sequence[Backup]], list[Finding]]


def _seen_back(settings: Settings, databases: Mapping[str, NightOfDatabase]) -> _Seen:
    """:func:`_look_back`, which a signal ends, and with it nothing else."""
    if stopped := signals.asked():
        return {}, [finding("TREND_NOT_KNOWN", f"nobody looked, for {stopped} came")]
    try:
        signals.heed()
        found = _look_back(settings, databases)
        signals.defer()  # in here: what has come by now is seen at a call, this one too
        return found
    except KeyboardInterrupt as stop:
        return {}, [finding("TREND_NOT_KNOWN", signals.stopped(stop).message)]


def _look_back(settings: Settings, databases: Mapping[str, NightOfDatabase]) -> _Seen:
    """What the night has left in the bucket, looked at once: is each new backup what its
    predecessors let one expect, and the metrics.

    :return: findings: the trend's, and what could not be told or written. What keeps it from
        looking leaves the questions for tomorrow.
    """
    try:
        seen, backups = status.look(settings)
    except Exception as any_error:  # noqa: BLE001 - whatever it is, the backups are in the bucket
        error = in_words(any_error)
        return {}, [
            finding("TREND_NOT_KNOWN", settings.hide(error.message)),
            *metrics.renew(settings, None),
        ]
    findings: list[Finding] = []
    for name, done in databases.items():
        if done["backup"]:
            taken = BackupName.parse(done["backup"]["backup"])
            findings += _tell_at_once(settings, name, seen["findings"])
            findings += _hold_against_the_others(settings, name, taken, backups[name])
    return backups, findings + metrics.renew(settings, seen)


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
    if newest is None:
        return []
    if len(good) <= trend.FEWEST:  # the first that are signed
        good = whole
    told = {one.table for one in rows_gone.gone(settings.server_name, name, backups, utc_now())}
    unusual = trend.findings(
        newest,
        [b for b in good if b.dated_at < newest.dated_at],
        settings.size_drop_percent,
        settings.size_jump_percent,
        told,
    )
    raised = [Alarm(found["code"], name, found["message"]) for found in unusual]
    return unusual + alarms.settle(settings, [key(code, name) for code in _TRENDS], raised)


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
        again = f". It is tried again at {night['again_at']}" if night["again_at"] else ""
        return f"FAILED {settings.server_name}: " + "; ".join(failed) + again
    size = sum(done["backup"]["bytes"] for done in night["databases"].values() if done["backup"])
    return (
        f"OK {settings.server_name}: {len(night['databases'])} database(s), "
        f"{human_bytes(size)} in {human_seconds(night['seconds'])}"
    )
