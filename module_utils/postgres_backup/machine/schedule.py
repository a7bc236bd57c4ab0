"""When the nightly run is due: a time of day in UTC, whatever zone the server's cron lives in.

Debian's cron runs in the server's zone and knows no CRON_TZ (its crontab(5)), so it calls every 15
minutes, which is what every zone's offset is a multiple of, and the program looks at the clock.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone

from ..clock import utc_now
from ..errors import LockedError, PostgresBackupError, UsageError
from ..settings import Settings
from . import config_file, lock, tries
from .due import PERIOD, Step, step

#: the lock of the whole run; no database can have this name in the settings of a server that has
#: one more
NIGHT = "the nightly run"


def last_planned(at: str, now: datetime) -> datetime:
    """The latest moment, not after now, for which a run was planned.

    :param at: ``HH:MM``, UTC.
    :raises UsageError: not a time of day.
    """
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise UsageError(f"{at!r} is not a time of day", "Write HH:MM in UTC, such as 00:00")
    hour, minute = map(int, at.split(":"))
    planned = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return planned - timedelta(days=1) if planned > now else planned


def slot(at: str, now: datetime) -> datetime | None:
    """The run that is due now, as its planned moment; None where none is.

    :param at: ``HH:MM``, UTC.
    :raises UsageError: not a time of day.
    """
    planned = last_planned(at, now)
    return planned if now - planned < PERIOD else None


def is_due(at: str) -> bool:
    """Cheap: asked every 15 minutes, before anything is loaded."""
    return slot(at, utc_now()) is not None


def may_be_due(at: str, config: str) -> bool:
    """Likewise, of a night that failed: reads the settings and what is remembered, nothing else.

    :param config: path of the config; one that cannot be read is told by the run at its time, not
        every quarter of an hour.
    """
    now = utc_now()
    try:
        settings = config_file.load(config)
    except PostgresBackupError:
        return False
    planned = last_planned(at, now)
    found = step(planned, now, tries.remembered(settings), tries.rules(settings))
    return found is not Step.NOTHING


def begin(settings: Settings, at: str) -> bool:
    """Claim the try that is due; False where none is (clocks that go back call twice), or where
    one is at work.
    """
    now = utc_now()
    planned = last_planned(at, now)
    due = step(planned, now, tries.remembered(settings), tries.rules(settings))
    if due is Step.NOTHING or (due is not Step.FIRST and at_work(settings)):
        return False
    # what the state cannot do is told by the run, which writes to it too
    tries.claim(settings, planned, now, asks=due is Step.ASK)
    return True


def at_work(settings: Settings) -> bool:
    """Whether a run is at work right now."""
    try:
        with lock.hold(settings, NIGHT, "look"):
            return False
    except LockedError:
        return True


def up_since() -> datetime:
    """When this machine, or the container that this is in, was started (the start of its first
    process, proc(5)).
    """
    with open("/proc/stat", encoding="ascii") as file:
        booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    with open("/proc/1/stat", encoding="utf-8", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return datetime.fromtimestamp(booted + ticks / os.sysconf("SC_CLK_TCK"), timezone.utc)


def next_run(schedule_time: str, now: datetime) -> datetime:
    """When the schedule fires next, UTC."""
    return last_planned(schedule_time, now) + timedelta(days=1)
