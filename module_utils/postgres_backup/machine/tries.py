"""What is remembered of the tries of a night: one small state, and no more than a hint.

The truth is in the bucket: a night is to be done for as long as there is no good backup since its
planned moment. What is remembered spares asking the store every quarter of an hour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

from ..clock import format_timestamp, parse_timestamp
from ..errors import UsageError
from ..findings import Finding, finding
from ..settings import Settings
from . import state
from .due import BACKUP, GIVEN_UP, KIT, PRUNE, Again, Rules, Tried, next_try, quarter

#: written by version 0.1.0 too, with ``planned`` alone
_STATE = "last-scheduled.json"
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
    try:
        return _parse(settings, state.read(settings, _STATE))
    except UsageError:
        return None


def _parse(settings: Settings, kept: Mapping[str, object]) -> Tried | None:
    try:
        planned = datetime.fromisoformat(cast(str, kept["planned"]))
        begun = _moment(kept.get("begun")) or planned
        written = _moment(kept.get("written")) or planned
        after = _moment(kept.get("next"))
        number = cast(int, kept.get("tries", 1))
        left = cast("dict[str, str]", kept.get("left", {}))
        if planned.tzinfo is None or type(number) is not int or number < 1:
            return None
        if begun < planned or (after is not None and after < planned):
            return None
        there = everything(settings)
        # of a database that has left the settings, or that nobody knows, nothing is left
        left = {name: what for name, what in left.items() if name in there}
        if not set(left.values()) <= {BACKUP, PRUNE, KIT, GIVEN_UP}:
            return None
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    ended, asks = kept.get("ended") is not False, kept.get("asks") is True
    return Tried(planned, begun, written, number, after, left, ended, asks)


def _moment(kept: object) -> datetime | None:
    return parse_timestamp(cast(str, kept)) if kept else None


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
    try:
        return _unwritten(state.read(settings, _STATE))
    except UsageError:
        return []


def _unwritten(kept: Mapping[str, object]) -> list[Mapping[str, object]]:
    found = kept.get("unwritten")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def written(settings: Settings, done: Iterable[Mapping[str, object]]) -> list[Finding]:
    """The journal has taken these."""
    gone = list(done)
    try:
        with state.changing(settings, _STATE) as kept:
            kept["unwritten"] = [one for one in _unwritten(kept) if one not in gone]
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return []


def _write(
    settings: Settings, tried: Tried, more: Iterable[Mapping[str, object]] = ()
) -> list[Finding]:
    try:
        with state.changing(settings, _STATE) as kept:
            waiting = [*_unwritten(kept), *more][-_MOST_UNWRITTEN:]
            kept.clear()
            kept.update(
                planned=tried.planned.isoformat(),
                begun=format_timestamp(tried.begun),
                written=format_timestamp(tried.written),
                tries=tried.number,
                next=format_timestamp(tried.next) if tried.next else "",
                left=dict(tried.left),
                ended=tried.ended,
                asks=tried.asks,
                unwritten=waiting,
            )
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return []
