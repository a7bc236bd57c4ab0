"""Look at the backups from outside the job that makes them, which may be dead: hourly, by a cron
entry and a timer of their own.

What is wrong is told (see ``alarms``), what is over too, and a run that did not happen is made up
for, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..catalog.history import LAST_RUN, LastRun
from ..clock import format_timestamp, utc_now
from ..drill.overdue import overdue
from ..errors import DatabaseError, LockedError, StoreError, reason
from ..findings import Finding, each_once, finding
from ..health import (
    alarms,
    archive_command,
    archiving,
    archiving_metrics,
    clocks,
    failures,
    metrics,
    verdict,
)
from ..health.alarm_kinds import Alarm, OpenAlarm, key
from ..health.status import Status, status
from ..health.verdict import Verdict
from ..machine import damage, lock, schedule, state, tries
from ..machine.due import PERIOD, Tried
from ..machine.progress import Progress
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts, facts_of, free_bytes
from ..restore.room import SPARE
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes
from . import retry
from .run import Night, is_running, run_night

#: so long cron may take to try again what is due
_LATE = timedelta(minutes=5)


class Watched(TypedDict):
    """What a look has found: ``troubles`` are the alarms that are open now, ``why`` is all that
    keeps it from being well, ``made_up`` is the run that it made up for.
    """

    changed: bool
    healthy: bool
    troubles: list[OpenAlarm]
    why: list[str]
    made_up: Night | None
    findings: list[Finding]


def look_around(settings: Settings, progress: Progress) -> Watched:
    """One look; tells what is new, and makes up for a run that did not happen.

    :raises LockedError: another look is under way.
    """
    with lock.hold(settings, "the watch", "watch"):
        findings: list[Finding] = []
        made_up: Night | None = None
        seen: Status | StoreError
        try:
            seen = status(settings)
            if missed := _missed(settings, seen):
                findings += _tell_missed(settings, missed, progress)
                made_up = _make_up(settings, progress, missed)
                seen = status(settings)
            findings += retry.catch_up(settings)
        except StoreError as refused:
            seen = refused
        findings += _raise_and_end(settings, seen)
        findings += [one for one in archiving.settle(settings) if one not in findings]
        findings += archive_command.settle(settings)
        in_bucket = None if isinstance(seen, StoreError) else seen
        findings += metrics.renew(settings, in_bucket, watched=True)
        findings += archiving_metrics.renew(settings, archiving.known(settings))
        findings += _tell_of_the_log(settings, progress)
        findings += _tell_of_the_state(settings, findings)
    open_now = alarms.open_alarms(settings)
    judged = _judged(seen, open_now, state.read(settings, LAST_RUN))
    findings = each_once(findings + damage.troubles(settings))
    for found in findings:
        progress.step(settings.hide(f"watch: {found['code']}: {found['message']}"))
    return {
        "changed": made_up is not None,
        "healthy": judged["healthy"],
        "troubles": open_now,
        "why": [reason["text"] for reason in judged["why"]],
        "made_up": made_up,
        "findings": findings,
    }


def _judged(seen: Status | StoreError, open_now: Sequence[OpenAlarm], run: LastRun) -> Verdict:
    """The verdict of ``status``, with the alarms that this look has raised and ended; of a store
    that does not answer, whether somebody need know yet.
    """
    if isinstance(seen, StoreError):
        return {"healthy": not open_now, "state": "unasked", "why": []}
    waits = failures.waiting(run)
    return verdict.of_server(seen["databases"], seen["findings"], open_now, waits)


def _make_up(settings: Settings, progress: Progress, planned: datetime) -> Night | None:
    try:
        return run_night(settings, progress, tried=tries.claim(settings, planned, utc_now()))
    except LockedError:  # it has begun just now
        return None


def _raise_and_end(settings: Settings, seen: Status | StoreError) -> list[Finding]:
    """Raise the alarms for what is wrong, and end those for what no longer is.

    :param seen: how things are, or why the store does not say.
    :return: findings: what could not be told.
    """
    if isinstance(seen, StoreError):
        tried = _tried(settings)
        if seen.passes and tried and tried.waits and not _is_overdue(tried):
            return []  # a night waits for it, and tells in time
        fails = _store_alarm(seen)
        known = {one["code"] for one in alarms.open_alarms(settings)}
        lost = [] if fails.code in known else _note_for_later(settings, seen)
        return lost + alarms.settle(settings, [key("STORE_FAILS")], [fails])
    looked_for, raised = clocks.look(Store(settings))
    looked_for.append(key("STORE_FAILS"))
    for name, database in seen["databases"].items():
        for code, alarm in verdict.alarms_of(name, seen["findings"]).items():
            looked_for.append(key(code, name))
            raised += [alarm] if alarm else []
        looked_for.append(key("DRILL_OVERDUE", name))
        late = overdue(settings, name, utc_now(), database["restored_at"])
        raised += [late] if late else []
        short = _short_of_room(settings, name) if database["last"] else ""
        if short is not None:
            looked_for.append(key("DISK_SHORT", name))
            raised += [Alarm("DISK_SHORT", name, short)] if short else []
    good = {name: database["last"] for name, database in seen["databases"].items()}
    return alarms.settle(settings, looked_for, raised, good)


def _tell_of_the_log(settings: Settings, progress: Progress) -> list[Finding]:
    """A log that cannot be written is an alarm."""
    if (wrong := progress.log_trouble) is None:  # nobody has asked for one
        return []
    told = [finding("LOG_NOT_WRITTEN", wrong)] if wrong else []
    raised = [Alarm("LOG_FAILS", "", wrong)] if wrong else []
    return told + alarms.settle(settings, [key("LOG_FAILS")], raised)


def _tell_of_the_state(settings: Settings, findings: Sequence[Finding]) -> list[Finding]:
    """A state that cannot be written is an alarm, which may then be told at each look."""
    lost = each_once(found for found in findings if found["code"] == "STATE_NOT_WRITTEN")
    raised = [Alarm("STATE_FAILS", "", lost[0]["message"])] if lost else []
    return alarms.settle(settings, [key("STATE_FAILS")], raised)


def _note_for_later(settings: Settings, refused: StoreError) -> list[Finding]:
    """The journal hears of an outage when it is over."""
    event = {
        "at": format_timestamp(utc_now()),
        "event": "store-failed",
        "database": "",
        "reason": settings.hide(refused.message),
        "kind": reason(refused),
    }
    return tries.keep(settings, event)


def _store_alarm(refused: StoreError) -> Alarm:
    if reason(refused) == "clock":
        return clocks.refusal(refused)
    return Alarm("STORE_FAILS", "", refused.message, refused.hint, "store")


def _short_of_room(settings: Settings, name: str) -> str | None:
    """Why a second copy of the database has no room; empty where it has, None where that cannot be
    known.
    """
    if settings.restore_in_place:
        return ""
    try:
        with connect_maintenance(settings, name, only_ask=True) as connection:
            live = database_facts(connection, name)
            if live is None or live.database_bytes is None:
                return None
            free = free_bytes(settings, connection, facts_of(connection), live.tablespace)
    except DatabaseError:  # a backup says so at night, loud enough
        return None
    needed = int(live.database_bytes * SPARE)
    if free is None or free >= needed:
        return None if free is None else ""
    return (
        f"a restore of {name} needs {human_bytes(needed)} beside the live database, "
        f"and {human_bytes(free)} are free on the database server"
    )


def _missed(settings: Settings, seen: Status) -> datetime | None:
    """The planned run that did not happen, or is to be tried again and is not; None where it did,
    is at work, or is not late yet.

    A backup taken since then is as good, whoever took it. What the state says of a run that is
    still to come, a clock that was ahead has written.
    """
    now = utc_now()
    planned = schedule.last_planned(settings.schedule_time, now)
    if now - planned < PERIOD or is_running(settings):
        return None
    stamp = format_timestamp(planned)
    newest = [database["last"] for database in seen["databases"].values()]
    if all(last and last["taken_at"] >= stamp for last in newest):
        return None
    tried = _tried(settings)
    if tried and tried.next:  # cron calls at that minute, where it calls at all
        return planned if _is_overdue(tried) else None
    if tried and not tried.ended:
        return planned
    began = state.read(settings, LAST_RUN).get("started_at", "")
    return None if stamp <= began <= format_timestamp(now) else planned


def _is_overdue(tried: Tried) -> bool:
    """Whether it waits for a call of cron's that has not come."""
    return tried.waits and tried.next is not None and tried.next + _LATE <= utc_now()


def _tried(settings: Settings) -> Tried | None:
    """What is remembered of the night that was planned last, where it can be believed."""
    now = utc_now()
    tried = tries.remembered(settings)
    planned = schedule.last_planned(settings.schedule_time, now)
    return tried if tried and tried.believed(planned, now) else None


def _tell_missed(settings: Settings, planned: datetime, progress: Progress) -> list[Finding]:
    """A server that was up then and did nothing raises an alarm; one that was off does not."""
    stamp, since, tried = format_timestamp(planned), schedule.up_since(), _tried(settings)
    if tried and tried.ended and tried.waits:
        progress.step(f"what failed of the run of {stamp} is tried again now, for cron does not")
        return []
    progress.step(f"the run of {stamp} did not happen: it is made up for now")
    if tried:
        message = (
            f"the run of {stamp} began and never ended: it was killed, or the server went down"
        )
    elif since < planned:
        message = (
            f"the run of {stamp} did not begin, although the server was up: "
            "cron is stopped, or its entry is gone"
        )
    else:
        return []
    skipped = Alarm("NIGHT_SKIPPED", "", f"{message}. It is made up for now")
    return alarms.settle(settings, [skipped.key], [skipped])


def lines(result: Watched) -> list[str]:
    """:func:`look_around` for a person: what is wrong; nothing where all is well."""
    told = [
        f"{alarm['code']}: {alarm['message']} (since {alarm['since']})"
        for alarm in result["troubles"]
    ]
    return told or ([] if result["healthy"] else result["why"][:1])
