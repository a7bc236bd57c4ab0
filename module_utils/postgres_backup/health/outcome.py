"""How a piece of work ended, told to all who should know: the journal in the bucket, the metrics'
numbers, whoever reads the alarms.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, TypedDict, cast

from ..catalog import journal
from ..catalog.backups import layout_for
from ..clock import format_timestamp, utc_now
from ..errors import LockedError, PostgresBackupError, UsageError, in_words, reason
from ..findings import Finding
from ..machine import counters, signals, state, tries
from ..machine.due import Again
from ..s3.store import HASTY, Store
from ..settings import Settings
from ..shapes.kinds import Moment
from . import alarms
from .alarm_kinds import Alarm, GoodBackup, key

#: causes that several alarms may share, so that one message is enough
_SHARED = ("store", "clock", "stopped")
#: alarms that the success of some work ends
_ENDED_BY = {
    "backup": ("BACKUP_FAILED", "BACKUP_STALE", "BACKUP_BAD"),
    "restore": ("RESTORE_FAILED",),
    "drill": ("DRILL_FAILED",),
    "prune": ("PRUNE_FAILED",),
    "kit": ("KIT_FAILED",),
}
#: and those that a new good backup ends
_ENDED_BY_A_GOOD_ONE = ("BACKUP_FROM_THE_FUTURE",)


class LastRestore(TypedDict):
    """A restore that ended well, as the state remembers it."""

    at: Annotated[str, Moment()]
    backup: str
    downtime_seconds: float


#: the last one of each database
LAST_RESTORES = state.Kept("last-restore.json", dict[str, LastRestore])


@dataclasses.dataclass
class Note:
    """What the work itself has to say: the newest good backup, where it made one."""

    good: GoodBackup | None = None


@contextlib.contextmanager
def noted(
    settings: Settings,
    what: str,
    database: str,
    facts: Mapping[str, object] | None = None,
    ends: bool = True,
    alarm: bool = True,
    check: bool = False,
    again: Again | None = None,
) -> Iterator[Note]:
    """Note how the ``with`` block ends: a failure is told, a success ends the alarm that an earlier
    failure raised.

    A signal that comes before its end is such a failure; one that comes later changes nothing.
    Wrong usage and a lock that another run holds are answers to whoever asked, and nothing failed.

    :param what: ``backup``, ``restore``, ``drill``, ``prune`` or ``kit``.
    :param database: whose; empty for the kit.
    :param facts: for the journal, such as the name of the backup.
    :param ends: the block is the last step of the work.
    :param alarm: somebody else than who asked should hear of it.
    :param check: nothing is done, so nothing is noted.
    :param again: a failure may be tried again, and then nobody is told yet.
    """
    note = Note()
    try:
        signals.heed()
        yield note
        signals.defer()
    except KeyboardInterrupt as stop:
        if not check:
            stopped = signals.stopped(stop)
            told = failed(settings, what, database, stopped, facts, alarm, again)
            if isinstance(stop, signals.Interrupted):
                stop.findings += told
        raise
    except (UsageError, LockedError):
        signals.defer()
        raise
    except Exception as any_error:
        error = in_words(any_error)
        if not check:
            error.findings += failed(settings, what, database, error, facts, alarm, again)
        raise
    if ends and alarm and not check:
        ended = _ENDED_BY[what] + (_ENDED_BY_A_GOOD_ONE if note.good else ())
        alarms.settle(
            settings,
            [key(code, database) for code in ended],
            good={database: note.good},
        )


def failed(
    settings: Settings,
    what: str,
    database: str,
    error: PostgresBackupError,
    facts: Mapping[str, object] | None = None,
    alarm: bool = True,
    again: Again | None = None,
) -> list[Finding]:
    """Tell of a failure.

    :param what: ``backup``, ``restore``, ``drill``, ``prune`` or ``kit``.
    :param database: whose; empty for the kit.
    :param again: decides whether it is tried again, and whether anybody is told before.
    :return: findings: what could not be noted or told.
    """
    signals.defer()  # this is told whatever comes
    why, now, verb = reason(error), utc_now(), f"{what}-failed"
    event: dict[str, object] = {
        "database": database,
        **(facts or {}),
        "reason": settings.hide(error.message),
        "kind": why,
        "findings": error.findings,
    }
    verdict = again.decide(database, error.passes, now) if again else None
    later = ""
    if verdict and verdict.at:
        event["again_at"] = format_timestamp(verdict.at)
        later = f". It is tried again at {event['again_at']}"
    store = Store(settings, patience=HASTY)
    findings = journal.record(store, layout_for(settings, database), now, verb, event)
    if findings and again:
        again.unwritten.append({"at": format_timestamp(now), "event": verb, **event})
    if alarm:
        # trouble that passes by itself is counted, and no reason to wake anybody
        findings += counters.failed(settings, database, why)
        if verdict and verdict.silent:
            return findings
        cause = why if why in _SHARED else ""
        message = error.message.rstrip(".") + later if later else error.message
        raised = Alarm(f"{what.upper()}_FAILED", database, message, error.hint, cause)
        findings += alarms.settle(settings, [raised.key], [raised])
    return findings


def told(
    settings: Settings, database: str, event: str, facts: Mapping[str, object]
) -> list[Finding]:
    """Note what has happened, and wait for nobody: where the store does not take it at once, the
    watch, or the next night, writes it.

    :param facts: at least ``database``.
    :return: findings: what could not be noted.
    """
    now, store = utc_now(), Store(settings, patience=0.0)
    findings = journal.record(store, layout_for(settings, database), now, event, facts)
    if findings:
        later: Mapping[str, object] = {"at": format_timestamp(now), "event": event, **facts}
        findings += tries.keep(settings, later)
    return findings


def restored(settings: Settings, result: Mapping[str, object], *names: str) -> list[Finding]:
    """Note a restore that ended well.

    :param result: at least ``database backup downtime_seconds``.
    :param names: the keys of the result that the journal is to hold.
    :return: findings: what could not be noted.
    """
    now, database = utc_now(), str(result["database"])
    findings = told(settings, database, "restore", {name: result[name] for name in names})
    with state.changing(settings, LAST_RESTORES, findings) as last:
        last[database] = {
            "at": format_timestamp(now),
            "backup": str(result["backup"]),
            "downtime_seconds": cast(float, result["downtime_seconds"]),
        }
    return findings
