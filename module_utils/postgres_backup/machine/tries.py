"""What is remembered of the tries of a night: one small state, and no more than a hint.

The truth is in the bucket: a night is to be done for as long as there is no good backup since its
planned moment. What is remembered spares asking the store every quarter of an hour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, TypedDict

from ..clock import format_timestamp, parse_timestamp
from ..findings import Finding
from ..settings import Settings
from ..shapes.kinds import Moment
from . import state
from .due import BACKUP, GIVEN_UP, KIT, PRUNE, Again, Rules, Tried, next_try, quarter


class _Scheduled(TypedDict, total=False):
    """The night that was begun last; version 0.1.0 wrote ``planned`` alone."""

    planned: str
    begun: Annotated[str, Moment()]
    written: Annotated[str, Moment()]
    #: empty: it is not tried again
    next: str
    tries: int
    left: dict[str, str]
    ended: bool
    asks: bool
    #: failures that the bucket's journal could not take
    unwritten: list[Mapping[str, object]]


_STATE = state.Kept("last-scheduled.json", _Scheduled)
#: failures that wait for a journal that takes them, at most: some days without a store
_MOST_UNWRITTEN = 100


def rules(settings: Settings) -> Rules:
    """What the settings say."""
    return Rules.of(settings.retry_hours, settings.quiet_hours)


def everything(settings: Settings) -> dict[str, str]:
    """All that a night is to do."""
    return dict.fromkeys(settings.databases, BACKUP) | ({"": KIT} if settings.paths else {})


def remembered(settings: Settings) -> Tried | None:
    """The last night that was begun; None where none is, or what is there is no such thing."""
    kept = state.read(settings, _STATE)
    try:
        planned = datetime.fromisoformat(kept["planned"])
        begun, written = (
            parse_timestamp(said) if said else planned
            for said in (kept.get("begun"), kept.get("written"))
        )
        after = parse_timestamp(kept["next"]) if kept.get("next") else None
        if begun < planned or (after is not None and after < planned):
            return None
    except (KeyError, ValueError, TypeError):  # TypeError: a time without a zone
        return None
    there = everything(settings)
    # of a database that has left the settings nothing is left
    left = {name: what for name, what in kept.get("left", {}).items() if name in there}
    if kept.get("tries", 1) < 1 or not set(left.values()) <= {BACKUP, PRUNE, KIT, GIVEN_UP}:
        return None
    ended, asks = kept.get("ended", True), kept.get("asks", False)
    return Tried(planned, begun, written, kept.get("tries", 1), after, left, ended, asks)


def claim(settings: Settings, planned: datetime, now: datetime, asks: bool = False) -> Tried:
    """A try begins: remembered before, so that what kills it is not the end of the night.

    :param asks: what is remembered cannot be.
    """
    before = remembered(settings)
    if before is None or before.planned != planned or not before.believed(planned, now):
        before = None
    begun = before.begun if before else quarter(planned, now)
    number = before.number + 1 if before else 1
    left = before.left if before and before.left and not asks else everything(settings)
    after = next_try(planned, begun, now, number, rules(settings))
    tried = Tried(planned, begun, now, number, after, left, ended=False, asks=asks)
    _write(settings, tried)
    return tried


def end(settings: Settings, again: Again, left: Mapping[str, str], now: datetime) -> list[Finding]:
    """A try has ended.

    :param left: what is to be tried again, as ``again`` has decided.
    :return: findings, code STATE_NOT_WRITTEN.
    """
    waits = [verdict.at for part, verdict in again.decided.items() if part in left]
    after = min((at for at in waits if at is not None), default=None)
    lost = {part: GIVEN_UP for part, verdict in again.decided.items() if verdict.at is None}
    earlier = {part: GIVEN_UP for part, what in again.tried.left.items() if what == GIVEN_UP}
    still = {**earlier, **lost, **left}
    over = dataclasses.replace(
        again.tried, written=now, next=after, left=still, ended=True, asks=False
    )
    return _write(settings, over, again.unwritten)


def unwritten(settings: Settings) -> list[Mapping[str, object]]:
    """The failures that the bucket's journal could not take yet."""
    return state.read(settings, _STATE).get("unwritten", [])


def keep(settings: Settings, event: Mapping[str, object]) -> list[Finding]:
    """What the journal is to hear as soon as it can: ``at``, ``event``, ``database`` and facts."""
    findings: list[Finding] = []
    with state.changing(settings, _STATE, findings) as kept:
        kept["unwritten"] = [*kept.get("unwritten", []), event][-_MOST_UNWRITTEN:]
    return findings


def written(settings: Settings, done: Iterable[Mapping[str, object]]) -> list[Finding]:
    """The journal has taken these."""
    gone, findings = list(done), list[Finding]()
    with state.changing(settings, _STATE, findings) as kept:
        kept["unwritten"] = [one for one in kept.get("unwritten", []) if one not in gone]
    return findings


def _write(
    settings: Settings, tried: Tried, more: Iterable[Mapping[str, object]] = ()
) -> list[Finding]:
    findings: list[Finding] = []
    with state.changing(settings, _STATE, findings) as kept:
        kept["planned"] = tried.planned.isoformat()
        kept["begun"] = format_timestamp(tried.begun)
        kept["written"] = format_timestamp(tried.written)
        kept["next"] = format_timestamp(tried.next) if tried.next else ""
        kept["tries"] = tried.number
        kept["left"] = dict(tried.left)
        kept["ended"], kept["asks"] = tried.ended, tried.asks
        kept["unwritten"] = [*kept.get("unwritten", []), *more][-_MOST_UNWRITTEN:]
    return findings
