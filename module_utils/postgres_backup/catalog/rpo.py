"""How much a loss would have cost: the longest time between two backups, as it really was, by the
journal. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from ..clock import format_timestamp, parse_timestamp
from ..text import human_age
from .history import Event
from .names import BackupName

#: days that are looked at where nobody says otherwise
DAYS = 30


class Rpo(TypedDict):
    """The longest time without a new backup: from one to the next, or to now."""

    hours: float
    since: str
    until: str


def longest(events: Iterable[Event], now: datetime) -> Rpo | None:
    """The longest time between two whole backups that ended well; None where there was none.

    Of a server that signs, only what it has signed counts. Counted is from snapshot to snapshot:
    what came after one is lost until the next.

    :param events: of one database.
    """
    stamp = format_timestamp(now)
    taken = [
        event
        for event in events
        if event["event"] == "backup"
        and event["at"] <= stamp
        and BackupName.parse(event.get("backup", "")) is not None
        and event.get("signature", "unsigned") in ("trusted", "unsigned")
    ]
    if any(event.get("signature") == "trusted" for event in taken):
        taken = [event for event in taken if event.get("signature") == "trusted"]
    times = sorted({event["at"] for event in taken})
    if not times:
        return None
    ends = [*times[1:], stamp]
    spans = [
        (parse_timestamp(b) - parse_timestamp(a), a, b) for a, b in zip(times, ends, strict=True)
    ]
    span, since, until = max(spans)
    return {"hours": round(span.total_seconds() / 3600, 2), "since": since, "until": until}


def line(known: Rpo, days: int) -> str:
    """For a person."""
    return (
        f"longest time between two backups in {days} days: {human_age(known['hours'])}, "
        f"from {known['since']} to {known['until']}"
    )
