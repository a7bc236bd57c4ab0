"""What is known of the way back: the last drill of a database, and the last rebuild of the whole
server or its rehearsal, as this server remembers them, and the proofs of restores, which lie in the
bucket, whoever made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, TypedDict

from ..catalog.backups import Backup
from ..clock import format_timestamp
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment, Number
from ..text import human_seconds

#: codes that a line names
_NAMED = 5


class LastDrill(TypedDict):
    """How the last drill of a database ended, as this server remembers it."""

    at: Annotated[str, Moment()]
    backup: str
    passed: bool
    seconds: float
    codes: list[str]


#: the last one of each database
LAST_DRILLS = state.Kept("last-drill.json", dict[str, LastDrill])


class _Rebuilt(TypedDict):
    #: seconds of each phase
    phases: dict[str, Annotated[float, Number()]]


class Rebuilt(_Rebuilt, total=False):
    """The last rebuild of this server, written by playbooks/rebuild.yml, or its rehearsal."""

    #: of a rehearsal: when it ended, on which host of the inventory, and seconds of all of it
    at: Annotated[str, Moment()]
    host: str
    seconds: Annotated[float, Number()]


REBUILT = state.Kept("rebuilt.json", Rebuilt)


def rebuilt_lines(rebuilt: Rebuilt) -> Sequence[str]:
    """The last rehearsal for a person; none where nobody has rehearsed."""
    if "at" not in rebuilt:
        return []
    took = human_seconds(rebuilt.get("seconds", 0.0))
    return [f"rebuild rehearsed {rebuilt['at']} on {rebuilt.get('host', '?')}: {took}"]


def last_drill(settings: Settings, database: str, now: datetime) -> LastDrill | None:
    """The last one that this server remembers; what a clock that was ahead has written is none."""
    last = state.read(settings, LAST_DRILLS).get(database)
    return last if last and last["at"] <= format_timestamp(now) else None


def restored_at(backups: Iterable[Backup], now: datetime) -> str | None:
    """When a backup of ours was restored last, by a drill or for good, as the proofs in the bucket
    have it; None where none tells of it. Pure.
    """
    stamp = format_timestamp(now)
    times = (
        proof["at"]
        for backup in backups
        if backup.ours and backup.good
        for proof in backup.proofs
        if proof["kind"] == "restored" and proof["at"] <= stamp
    )
    return max(times, default=None)


def lines(last: LastDrill | None, restored: str | None) -> Sequence[str]:
    """Both for a person."""
    told = []
    if last:
        codes = list(dict.fromkeys(last["codes"]))
        more = f" and {len(codes) - _NAMED} more" if len(codes) > _NAMED else ""
        found = f"; found: {', '.join(codes[:_NAMED])}{more}" if codes else "; nothing was found"
        told.append(
            f"last drill {last['at']}: {'passed' if last['passed'] else 'FAILED'}, "
            f"{last['backup']}, {human_seconds(last['seconds'])}{found}"
        )
    if restored and not (last and last["passed"] and last["at"] >= restored):
        told.append(f"a backup was restored on {restored}, as its proof in the bucket says")
    return told
