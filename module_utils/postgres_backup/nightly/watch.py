"""Look at the backups from outside the job that makes them, which may be dead: hourly, by a cron
entry and a timer of their own.

What is wrong is told (see ``alerts``), what is over too, and a run that did not happen is made up
for, once.
"""

from __future__ import annotations

from datetime import datetime

from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError, LockedError, StoreError, reason
from ..health import alarms, status
from ..machine import lock, schedule, state
from ..machine.progress import Progress
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts, facts_of, free_bytes
from ..restore.preflight import SPARE
from ..s3.clock_skew import clock_fault
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes
from .run import is_running, run_night

#: what a look at the bucket may find, by the findings of ``status``
_JUDGED = {"NO_BACKUP": "BACKUP_STALE", "BACKUP_STALE": "BACKUP_STALE", "BACKUP_BAD": "BACKUP_BAD"}


def look_around(settings: Settings, progress: Progress) -> dict:
    """One look; tells what is new, and makes up for a run that did not happen.

    :return: ``healthy``, ``troubles`` (open now: ``code database message since``), ``made_up``
        (what ``nightly.run`` returned, or None), ``findings``, ``changed``.
    :raises LockedError: another look is under way.
    """
    with lock.hold(settings, "the watch", "watch"):
        findings: list[dict] = []
        made_up = found = refused = None
        try:
            found = status.status(settings)
            if missed := _missed(settings, found):
                findings += _tell_missed(settings, missed, progress)
                made_up = _make_up(settings, progress)
                found = status.status(settings)
        except StoreError as error:
            found, refused = None, error
        findings += _judge(settings, found, refused) + status.publish(settings, found, watched=True)
    troubles = alarms.open_troubles(settings)
    for one in findings:
        progress.step(settings.hide(f"watch: {one['code']}: {one['message']}"))
    return {
        "changed": made_up is not None,
        "healthy": not troubles,
        "troubles": troubles,
        "made_up": made_up,
        "findings": findings,
    }


def _make_up(settings: Settings, progress: Progress) -> dict | None:
    try:
        return run_night(settings, progress)
    except LockedError:  # it has begun just now
        return None


def _judge(settings: Settings, found: dict | None, refused: StoreError | None) -> list[dict]:
    """Tell what is wrong and what no longer is.

    :param found: what ``status.status`` says; None where the store does not answer, as ``refused``
        says.
    :return: findings: what could not be told.
    """
    judged, seen = [alarms.key("STORE_FAILS")], []
    try:
        difference = Store(settings).clock_difference() if found else 0.0
    except StoreError as error:
        found, refused = None, error
    if found is None:
        if reason(refused) == "clock":  # it does answer
            seen.append(alarms.Trouble("CLOCK_OFF", "", refused.message, refused.hint, "clock"))
        else:
            seen.append(alarms.Trouble("STORE_FAILS", "", refused.message, refused.hint, "store"))
        return alarms.settle(settings, judged, seen)
    judged.append(alarms.key("CLOCK_OFF"))
    if wrong := clock_fault(difference):
        seen.append(alarms.Trouble("CLOCK_OFF", "", wrong, "timedatectl set-ntp true", "clock"))
    for name, one in found["databases"].items():
        mine = [finding for finding in found["findings"] if finding.get("database") == name]
        for code in dict.fromkeys(_JUDGED.values()):
            judged.append(alarms.key(code, name))
            # a bad one before the newest good one is told by `status`, and is nothing to be woken
            # for
            messages = [
                finding["message"]
                for finding in mine
                if _JUDGED.get(finding["code"]) == code and finding.get("newest", True)
            ]
            if messages:
                seen.append(alarms.Trouble(code, name, "; ".join(messages[:3])))
        short = _short_of_room(settings, name) if one["last"] else ""
        if short is not None:
            judged.append(alarms.key("DISK_SHORT", name))
            seen += [alarms.Trouble("DISK_SHORT", name, short)] if short else []
    good = {name: one["last"] for name, one in found["databases"].items()}
    return alarms.settle(settings, judged, seen, good)


def _short_of_room(settings: Settings, name: str) -> str | None:
    """Why a second copy of the database has no room; empty where it has, None where that cannot be
    known.
    """
    if settings.restore_in_place:
        return ""
    try:
        with connect_maintenance(settings, name) as connection:
            live = database_facts(connection, name)
            if live is None or live.database_bytes is None:
                return None
            free = free_bytes(settings, connection, facts_of(connection), live.tablespace)
    except DatabaseError:  # a backup says so at night, loud enough
        return None
    needed = int(live.database_bytes * SPARE)
    if free is None or free >= needed:
        return None if free is None else ""
    return f"a restore of {name} needs {human_bytes(needed)} beside the live database, and {human_bytes(free)} are free on the database server"


def _missed(settings: Settings, found: dict) -> datetime | None:
    """The planned run that did not happen; None where it did, is at work, or is not late yet.

    A backup taken since then is as good, whoever took it; and a run that failed is told of as such
    and not tried again.
    """
    now = utc_now()
    planned = schedule.last_planned(settings.schedule_time, now)
    if now - planned < schedule.PERIOD or is_running(settings):
        return None
    stamp = format_timestamp(planned)
    if all(one["last"] and one["last"]["taken_at"] >= stamp for one in found["databases"].values()):
        return None
    return planned if state.read(settings, state.LAST_RUN).get("started_at", "") < stamp else None


def _tell_missed(settings: Settings, planned: datetime, progress: Progress) -> list[dict]:
    """Whoever was up at that time and did nothing is in trouble; whoever was off is not."""
    stamp, since = format_timestamp(planned), schedule.up_since()
    progress.step(f"the run of {stamp} did not happen: it is made up for now")
    if schedule.began(settings, planned):
        message = (
            f"the run of {stamp} began and never ended: it was killed, or the server went down"
        )
    elif since < planned:
        message = f"the run of {stamp} did not begin, although the server was up: cron is stopped, or its entry is gone"
    else:
        return []
    trouble = alarms.Trouble("NIGHT_SKIPPED", "", f"{message}. It is made up for now")
    return alarms.settle(settings, [trouble.key], [trouble])
