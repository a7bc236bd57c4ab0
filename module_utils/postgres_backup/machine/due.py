"""Whether a night is begun, tried again or left alone, from what is remembered of it; and when a
try that failed is told of. Pure.

All moments are UTC. Tries fall on the quarters of an hour at which cron calls, counted from the
planned moment.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime, time, timedelta

#: what is to be done of a night: of a database, of the kit; and what no try could mend
BACKUP, PRUNE, KIT, GIVEN_UP = "backup", "prune", "kit", "given up"
#: between two calls by cron
PERIOD = timedelta(minutes=15)
#: from the end of one try to the next; the last one repeats
DISTANCES = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60, 120))
#: a distance may be so much shorter, so that a try of some seconds does not miss the next call
_SHORTER = timedelta(minutes=5)
#: an alarm about a missing backup comes so long before its predecessor is too old
AHEAD = timedelta(hours=2)
#: whatever that says, so long a trouble may last before anybody is woken: where a day's backup may
#: be 26 hours old, nobody else would ever be spared
GRACE = timedelta(hours=2)


class Step(enum.Enum):
    """What a call has to do."""

    NOTHING = "nothing"
    #: the night's first try
    FIRST = "first"
    #: what is left of the night once more
    AGAIN = "again"
    #: what is remembered cannot be: the bucket says whether there is anything to do
    ASK = "ask"


@dataclasses.dataclass(frozen=True)
class Tried:
    """What is remembered of a night; the truth is in the bucket.

    :param planned: the moment for which it was planned.
    :param begun: the quarter of an hour of its first try, from which its time to be tried counts.
    :param written: when this was written.
    :param number: tries so far.
    :param next: when it is tried again; None: it is not.
    :param left: what is still to be done: for each database ``backup`` or ``prune``, for the kit,
        whose name is empty, ``kit``; and what was given up.
    :param ended: the last try has come to its end, be it good or bad.
    :param asks: nobody knows what is left but the bucket.
    """

    planned: datetime
    begun: datetime
    written: datetime
    number: int
    next: datetime | None
    left: Mapping[str, str]
    ended: bool
    asks: bool = False

    def believed(self, planned: datetime, now: datetime) -> bool:
        """Whether it is about the night of ``planned``, and could have been written by now: a clock
        that was ahead leaves nights that have not been.
        """
        return self.planned == planned <= self.written <= now

    @property
    def waits(self) -> bool:
        """Whether it is to be tried again."""
        return self.next is not None and set(self.left.values()) - {GIVEN_UP} != set()


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the settings say about tries.

    :param hours: for so long after the first one a night is tried again.
    :param quiet: from when to when of a day nothing is tried again; None: never so.
    """

    hours: int
    quiet: tuple[time, time] | None = None

    @classmethod
    def of(cls, hours: int, quiet: str) -> Rules:
        """:param quiet: ``HH:MM-HH:MM``, may pass midnight; empty: none."""
        begin, _, end = quiet.partition("-")
        between = (time.fromisoformat(begin), time.fromisoformat(end)) if quiet else None
        return cls(hours, between)

    def is_quiet(self, at: datetime) -> bool:
        """Whether nothing is tried again then."""
        if self.quiet is None:
            return False
        begin, end = self.quiet
        if begin <= end:
            return begin <= at.time() < end
        return at.time() >= begin or at.time() < end


def step(planned: datetime, now: datetime, tried: Tried | None, rules: Rules) -> Step:
    """What a call of cron's has to do.

    :param planned: the latest planned moment, not after ``now``.
    """
    in_time = now - planned < PERIOD
    if tried is None or tried.planned != planned:
        # a night that did not begin is the watch's, which asks the bucket first
        return Step.FIRST if in_time else Step.NOTHING
    if not tried.believed(planned, now):
        return Step.ASK
    if tried.waits:
        end = tried.begun + timedelta(hours=rules.hours)
        # beyond the end: the settings have changed, and nobody was told of it yet
        due = tried.next is None or tried.next <= now or tried.next > end
        return Step.AGAIN if due else Step.NOTHING
    return Step.ASK if in_time else Step.NOTHING


def still_left(tried: Tried, there: Mapping[str, bool]) -> dict[str, str]:
    """What is left of a night by what the bucket says: a backup that somebody has taken by hand
    since counts, and one that is said to be there and is not does not.

    :param there: for each database whether it has a good backup since the planned moment.
    """
    left = {part: what for part, what in tried.left.items() if what != GIVEN_UP}
    for name, has in there.items():
        if has and left.get(name) == BACKUP:
            left[name] = PRUNE
        elif not has and tried.left.get(name) != GIVEN_UP:
            left[name] = BACKUP
    if tried.asks and BACKUP not in left.values():
        return {}  # all that counts is there
    return left


def quarter(planned: datetime, now: datetime) -> datetime:
    """The call of cron's that was the last one."""
    return planned + (now - planned) // PERIOD * PERIOD


def next_try(
    planned: datetime, begun: datetime, now: datetime, number: int, rules: Rules
) -> datetime | None:
    """When what has failed just now is tried again; None: not any more.

    The last quarter of the time is never left out: whatever ends before, a try sees it.

    :param number: tries so far, 1 or more.
    """
    end = min(begun + timedelta(hours=rules.hours), planned + timedelta(days=1) - PERIOD)
    wanted = now + DISTANCES[min(number, len(DISTANCES)) - 1] - _SHORTER
    at, latest = quarter(planned, now) + PERIOD, None
    while at <= end:
        if at - now >= _SHORTER and not rules.is_quiet(at):
            latest = at
            if at >= wanted:
                break
        at += PERIOD
    return latest


def tell_by(begun: datetime, good: datetime | None, fresh: timedelta) -> datetime:
    """Until when a failure that may pass is nobody's alarm.

    :param good: when the newest good backup was taken; None where that is not known.
    :param fresh: how old it may be.
    """
    if good is None:
        return begun + GRACE
    over = good + fresh
    return max(over - AHEAD, min(begun + GRACE, over))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What becomes of something that failed.

    :param at: when it is tried again; None: it is not.
    :param silent: nobody is told before.
    """

    at: datetime | None
    silent: bool


@dataclasses.dataclass
class Again:
    """One try of a night, which decides what becomes of each of its failures.

    :param tried: the try that is under way.
    :param good: for each database when its newest good backup was taken, as far as it is known.
    :ivar decided: for each database (the kit: empty) what was decided.
    :ivar unwritten: failures that the bucket's journal could not take.
    """

    tried: Tried
    rules: Rules
    fresh: timedelta
    good: Mapping[str, datetime]
    decided: dict[str, Verdict] = dataclasses.field(default_factory=dict)
    unwritten: list[dict[str, object]] = dataclasses.field(default_factory=list)

    def decide(self, part: str, passes: bool, now: datetime) -> Verdict:
        """What becomes of a failure; the same answer whoever asks again.

        :param part: whose; empty: the kit's.
        :param passes: its cause may pass.
        """
        if part not in self.decided:
            tried = self.tried
            at = None
            if passes:
                at = next_try(tried.planned, tried.begun, now, tried.number, self.rules)
            told_by = tell_by(tried.begun, self.good.get(part), self.fresh)
            if not part:  # no kit is ever too old
                told_by = tried.planned + timedelta(days=1)
            self.decided[part] = Verdict(at, at is not None and at <= told_by)
        return self.decided[part]
