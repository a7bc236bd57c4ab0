"""Backups read again, in turn: each night the one whose proof is oldest, so that everything that is
kept has been read within a known time.

It comes last in a night, when all has been told: whatever becomes of it, the night's backup is in
the bucket. A backup that is not what it was is an alarm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from ..catalog.backups import Backup
from ..clock import format_timestamp, utc_now
from ..errors import BadBackupError, in_words
from ..findings import Finding, finding
from ..health import alarms
from ..health.alarm_kinds import Alarm, key
from ..job import Job
from ..machine import signals, state
from ..settings import Settings
from ..shapes.kinds import Moment, Most, Whole
from ..text import human_bytes, human_seconds
from ..verify.proof import note, note_stored, prove, prove_stored

#: the days that a bound is for
MONTH = timedelta(days=30)
#: what was checked so short a time ago is not read again
_LEAST = timedelta(hours=12)
#: kept for fewer, a backup is gone before its turn comes
_TURN_DAYS = 2
GB = 1_000_000_000


class Reading(TypedDict):
    """A backup that was begun to be read: when, and how much of it."""

    at: Annotated[str, Moment()]
    bytes: Annotated[int, Whole()]


class Failed(TypedDict):
    """A backup that was read and is not what it should be."""

    at: Annotated[str, Moment()]
    why: str


class _Memory(TypedDict, total=False):
    #: of the last month
    readings: Annotated[list[Reading], Most(10_000)]
    #: database -> key of a backup -> what is wrong with it
    failed: dict[str, dict[str, Failed]]
    #: key of a backup -> when it was tried last, and nothing came of it
    tried: dict[str, Annotated[str, Moment()]]


_STATE = state.Kept("rotation.json", _Memory)


def rotate(job: Job, backups: Mapping[str, Sequence[Backup]]) -> list[Finding]:
    """Read what is due, of each database, and write down what came of it.

    :param job: of no database yet.
    :param backups: per database, newest first, as ``status.look`` gives them.
    :return: findings: VERIFY_FAILED with what is wrong, and what could not be done.
    """
    findings: list[Finding] = []
    for name, there in backups.items():
        of_one = dataclasses.replace(job, wanted_database=name)
        for _ in range(job.settings.verify_per_night):
            if signals.asked() or not _next(of_one, there, findings):
                break
        findings += _settle(job.settings, name, there)
    return findings


def due(
    backups: Sequence[Backup],
    tried: Mapping[str, str],
    bound: int | None,
    days: int,
    now: datetime,
) -> tuple[Backup | None, list[Backup]]:
    """The backup whose last check is the longest ago, if that is long enough; and those that are
    larger than a whole month may read. Pure.

    Where one is gone before the next night could read it, it would never be its turn; so there the
    newest is read in its own night, unless there is a proven one of the night before.

    :param backups: newest first.
    :param tried: when each was tried last, by its key.
    :param bound: bytes that a month may read; None: any.
    :param days: for how many a backup is kept.
    """
    ours = [one for one in backups if one.ours and one.whole]
    large = [one for one in ours if bound is not None and one.bytes > bound]
    fits = [one for one in ours if one not in large]
    if fits and days < _TURN_DAYS and fits[0].key not in tried:
        recent = now - timedelta(days=_TURN_DAYS)
        if not any(one.checked_at and one.dated_at > recent for one in fits):
            return fits[0], large
    chosen = min(fits, key=lambda one: (last_check(one, tried), one.key), default=None)
    if chosen and last_check(chosen, tried) >= format_timestamp(now - _LEAST):
        chosen = None
    return chosen, large


def last_check(backup: Backup, tried: Mapping[str, str]) -> str:
    """When a backup was known to be what it is: proven, or tried, or written, for what was sent was
    hashed as it went. Else the newest, which has no proof, would come first each night, and no
    other ever again.
    """
    written = format_timestamp(backup.dated_at)
    return max(backup.checked_at, tried.get(backup.key, ""), written)


def _next(job: Job, there: Sequence[Backup], findings: list[Finding]) -> bool:
    """Read the next one; whether there may be another."""
    settings, now = job.settings, utc_now()
    bound = round(settings.verify_gb_per_month * GB) or None
    tried = state.read(settings, _STATE).get("tried", {})
    chosen, large = due(there, tried, bound, settings.retention_days, now)
    if large:
        told = ", ".join(str(one.name) for one in large[:3])
        most = f"{settings.verify_gb_per_month:g} GB"
        told = f"{told}: larger than the {most} that a month may read, so nobody reads it"
        findings.append(finding("VERIFY_TOO_LARGE", told, database=job.database))
    if chosen is None:
        return False
    stamp = format_timestamp(now)
    since = format_timestamp(now - MONTH)
    with state.changing(settings, _STATE, findings) as memory:
        recent = [one for one in memory.get("readings", []) if since <= one["at"] <= stamp]
        read = sum(one["bytes"] for one in recent)
        if bound is not None and read + chosen.bytes > bound:
            memory["readings"] = recent
            return False
        memory["readings"] = [*recent, Reading(at=stamp, bytes=chosen.bytes)]
        memory["tried"] = {**memory.get("tried", {}), chosen.key: stamp}
    findings += _read(job, chosen)
    return True


def _read(job: Job, chosen: Backup) -> list[Finding]:
    """Read it as far as that goes, and note what came of it."""
    began = utc_now()
    try:
        signals.heed()
        stored = chosen.name.encrypted and not job.identities
        if stored:
            prove_stored(job, chosen)
            findings = note_stored(job, chosen)
        else:
            findings = note(job, chosen, prove(job, chosen))
        signals.defer()
    except KeyboardInterrupt as stop:
        return [finding("VERIFY_NOT_DONE", signals.stopped(stop).message, database=job.database)]
    except BadBackupError as error:
        return _failed(job, chosen, error)
    except Exception as any_error:  # noqa: BLE001 - whatever it is, the night's backup is there
        told = f"{chosen.name} was not read: {in_words(any_error).message}"
        return [finding("VERIFY_NOT_DONE", job.settings.hide(told), database=job.database)]
    finally:
        signals.defer()
    with state.changing(job.settings, _STATE, findings) as memory:
        memory.get("failed", {}).get(job.database, {}).pop(chosen.key, None)
    seconds = (utc_now() - began).total_seconds()
    how = "is the object that was uploaded" if stored else "is whole, read to its end"
    size = human_bytes(chosen.bytes)
    job.progress.step(f"{job.database}: {chosen.name} {how}: {size}, {human_seconds(seconds)}")
    return findings


def _failed(job: Job, chosen: Backup, error: BadBackupError) -> list[Finding]:
    findings: list[Finding] = []
    why = job.settings.hide(error.message)
    with state.changing(job.settings, _STATE, findings) as memory:
        failed = memory.setdefault("failed", {}).setdefault(job.database, {})
        failed[chosen.key] = Failed(at=format_timestamp(utc_now()), why=why)
    return [finding("VERIFY_FAILED", why, database=job.database), *error.findings, *findings]


def _settle(settings: Settings, database: str, there: Sequence[Backup]) -> list[Finding]:
    """The alarm is open while a backup that failed is kept, and was not read well since."""
    findings: list[Finding] = []
    known = {one.key: one.checked_at for one in there}
    with state.changing(settings, _STATE, findings) as memory:
        memory["tried"] = {
            name: at for name, at in memory.get("tried", {}).items() if at >= _old(utc_now())
        }
        failed = {
            name: one
            for name, one in memory.get("failed", {}).get(database, {}).items()
            if name in known and known[name] <= one["at"]
        }
        memory["failed"] = {**memory.get("failed", {}), database: failed}
    raised = []
    if failed:
        told = "; ".join(one["why"] for one in list(failed.values())[:3])
        raised = [Alarm("VERIFY_FAILED", database, told)]
    return findings + alarms.settle(settings, [key("VERIFY_FAILED", database)], raised)


def _old(now: datetime) -> str:
    """What was tried before that is a proof by now, or to be tried again."""
    return format_timestamp(now - 2 * MONTH)
