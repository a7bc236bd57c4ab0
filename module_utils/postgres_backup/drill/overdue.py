"""Was there a drill of late? A routine that has stopped says nothing by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from ..clock import format_timestamp, parse_timestamp
from ..health.alarm_kinds import Alarm
from ..health.drills import last_drill
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment

#: since when somebody looks whether a database is drilled
WATCHED = state.Kept("drills-watched.json", dict[str, Annotated[str, Moment()]])


def overdue(
    settings: Settings, database: str, now: datetime, restored: str | None = None
) -> Alarm | None:
    """DRILL_OVERDUE, where the last drill of a database is too old; one that failed counts, for it
    is told of by itself. A new server has as long for its first; so has one whose state was lost,
    or was written by a clock that was ahead, unless the bucket knows of a restore.

    :param restored: when a backup was restored last, by the proofs in the bucket: of a drill from
        the controller this server remembers nothing.
    """
    if not settings.drill_max_days:
        return None
    stamp = format_timestamp(now)
    last = last_drill(settings, database, now)
    known = [at for at in (last["at"] if last else None, restored) if at and at <= stamp]
    if known:
        since = max(known)
    else:
        with state.changing(settings, WATCHED) as watched:
            since = watched[database] = min(watched.get(database, stamp), stamp)
    if now - parse_timestamp(since) <= timedelta(days=settings.drill_max_days):
        return None
    days = (now - parse_timestamp(since)).days
    told = (
        f"the last drill of {database} was {days} days ago"
        if known
        else (f"{database} was not drilled in the {days} days since somebody looks")
    )
    return Alarm("DRILL_OVERDUE", database, f"{told}; {settings.drill_max_days} are allowed")
