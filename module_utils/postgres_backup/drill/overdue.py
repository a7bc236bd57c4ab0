"""Was there a drill of late? A routine that has stopped says nothing by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from ..clock import format_timestamp, parse_timestamp
from ..health.alarm_kinds import Alarm
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment
from .record import LAST_DRILLS

#: since when somebody looks whether a database is drilled
WATCHED = state.Kept("drills-watched.json", dict[str, Annotated[str, Moment()]])


def overdue(settings: Settings, database: str, now: datetime) -> Alarm | None:
    """DRILL_OVERDUE, where the last drill of a database is too old; one that failed counts, for it
    is told of by itself. A new server has as long for its first; so has one whose state was lost,
    or was written by a clock that was ahead.
    """
    if not settings.drill_max_days:
        return None
    stamp = format_timestamp(now)
    last = state.read(settings, LAST_DRILLS).get(database)
    if last is None or last["at"] > stamp:
        last = None
        with state.changing(settings, WATCHED) as watched:
            since = watched[database] = min(watched.get(database, stamp), stamp)
    else:
        since = last["at"]
    if now - parse_timestamp(since) <= timedelta(days=settings.drill_max_days):
        return None
    days = (now - parse_timestamp(since)).days
    told = (
        f"the last drill of {database} was {days} days ago"
        if last
        else (f"{database} was not drilled in the {days} days since somebody looks")
    )
    return Alarm("DRILL_OVERDUE", database, f"{told}; {settings.drill_max_days} are allowed")
