"""Which backups stay and which go: a pure function to a plan with a reason for every backup.

Everything that deletes a backup goes through :func:`plan`; a database that a restore replaced,
through :func:`plan_replaced`, a copy of a backup through :func:`plan_copies`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from ..clock import format_timestamp
from ..settings import Settings
from .dated import Dated, timely


class Candidate(Dated, Protocol):
    """What :func:`plan` needs to know of a backup; ``backups.Backup`` and ``kits.Kit`` are such."""

    @property
    def ours(self) -> bool: ...
    @property
    def whole(self) -> bool: ...
    @property
    def good(self) -> bool: ...
    @property
    def was_read(self) -> bool: ...
    @property
    def proven(self) -> bool: ...
    @property
    def restored(self) -> bool: ...
    @property
    def waits_for_adoption(self) -> bool: ...


C = TypeVar("C", bound=Candidate)


@dataclasses.dataclass(frozen=True)
class Policy:
    """How long backups stay.

    :param days: backups of this age or younger stay.
    :param weekly: so many weeks, and ``monthly`` so many months, keep their newest good backup on
        top.
    :param allow_many: let one run delete more than half of what is ours.
    :param fault: what is wrong with the settings of it: nothing goes.
    """

    days: int = 7
    weekly: int = 0
    monthly: int = 0
    allow_many: bool = False
    fault: str = ""

    @classmethod
    def of(cls, settings: Settings, allow_many: bool = False) -> Policy:
        days, weekly, monthly = settings.retention_days, settings.keep_weekly, settings.keep_monthly
        return cls(days, weekly, monthly, allow_many, settings.retention_fault)


@dataclasses.dataclass(frozen=True)
class Decision(Generic[C]):
    """Whether a backup stays, and the ``reason`` for a person."""

    backup: C
    keep: bool
    reason: str


def plan(
    backups: Sequence[C],
    policy: Policy,
    now: datetime,
    held: Callable[[C], str] = lambda _: "",
) -> list[Decision[C]]:
    """A decision for each backup, newest first.

    The newest good and the newest proven backup stay whatever their age, and so does the newest one
    that was restored, which proves more than to have been read; what is not ours stays; no more
    than half of ours goes in one run, the oldest first, unless the policy allows it.

    What is whole and not good has nobody who vouches for it, while others have (it is older than
    this server's key, or somebody put it there). No good one ever goes because of such; but where
    they reach further back, they stay for the weeks and months that no good one is of, and as the
    newest proven one until a good one is proven: a server that has just begun to sign loses
    nothing by that.

    What a clock that was ahead has named (see :mod:`.dated`) is as old as the store says it is, and
    in nobody's place: it is the newest of nothing, unless all are such.

    :param backups: in any order; several of one time are told apart by nothing and judged alike.
    :param now: UTC. A backup dated after it stays: one of the two clocks is wrong.
    :param held: why a backup stays whatever the policy says; empty where nothing holds it.
    """
    ordered = sorted(backups, key=lambda b: b.dated_at, reverse=True)
    mine = [b for b in ordered if b.ours]
    good = timely([b for b in mine if b.good])
    whole = timely([b for b in mine if b.whole])
    reasons: dict[int, str] = {}

    def keep(backup: C, reason: str) -> None:
        reasons.setdefault(id(backup), reason)

    for backup in ordered:
        if reason := _why_it_stays_by_itself(backup, policy, now, held):
            keep(backup, reason)
    for backup, reason in _what_stands_for_others(good, whole, policy):
        keep(backup, reason)
    for backup in mine:
        if reason := held(backup):
            keep(backup, reason)
        if policy.fault:
            keep(backup, "nothing goes while a setting of the retention is wrong")

    # of the good ones by themselves too, and of all without those that nobody vouches for: a crowd
    # of others must not let more of them go
    vouched = [b for b in mine if b.good or not b.whole]
    for every in () if policy.allow_many else (good, vouched, mine):
        going = [b for b in every if id(b) not in reasons]
        for backup in going[: max(len(going) - len(every) // 2, 0)]:
            keep(backup, "spared this time: no more than half may go in one run")
    return [
        Decision(b, id(b) in reasons, reasons.get(id(b), f"older than {policy.days} days"))
        for b in ordered
    ]


def _why_it_stays_by_itself(
    backup: C, policy: Policy, now: datetime, held: Callable[[C], str]
) -> str:
    """Whatever else there is; empty where only that decides."""
    if backup.waits_for_adoption:
        return "not known whose it is: `postgres-backup adopt` takes it over, or says why not"
    if not backup.ours:
        return held(backup) or "not ours: another database or server"
    if backup.dated_at > now:
        return "dated in the future"
    if now - backup.dated_at <= timedelta(days=policy.days):
        written = f"dated in the future, written {format_timestamp(backup.dated_at)}: "
        return (written if backup.ahead else "") + f"not older than {policy.days} days"
    return ""


def _what_stands_for_others(
    good: Sequence[C], whole: Sequence[C], policy: Policy
) -> Iterator[tuple[C, str]]:
    """The newest of each kind, week and month, with the reason; the first one said counts.

    :param good: of ours, newest first, and so are those that are ``whole``.
    """
    for backup in (good or whole)[:1]:
        yield backup, "the newest good backup"
    for backup in [b for b in good if b.restored][:1]:
        yield backup, "the newest proven backup (restored)"
    proven = [b for b in good if b.proven] or [b for b in whole if b.was_read]
    for backup in proven[:1]:
        yield backup, "the newest proven backup"
    for among in (good, whole):
        for backup in _newest_of_each(among, policy.weekly, lambda b: b.dated_at.isocalendar()[:2]):
            yield backup, f"the newest of its week ({policy.weekly} weeks are kept)"
        for backup in _newest_of_each(
            among, policy.monthly, lambda b: (b.dated_at.year, b.dated_at.month)
        ):
            yield backup, f"the newest of its month ({policy.monthly} months are kept)"


def plan_parts(
    parts: Sequence[C],
    policy: Policy,
    now: datetime,
    newest_good: datetime | None,
    held: Callable[[C], str],
) -> list[Decision[C]]:
    """A decision for each part of a backup, newest first: they stay for the same days as backups
    do, and for nothing else. No more than half, rounded up, of ours goes in one run.

    :param newest_good: when the newest good whole backup was taken; None where there is none. A
        part that is newer may hold the only copy there is, and stays.
    :param held: why a part stays whatever the policy says; empty where nothing holds it.
    """
    ordered = sorted(parts, key=lambda part: part.dated_at, reverse=True)
    reasons = {
        id(part): _why_a_part_stays(part, policy, now, newest_good, held) for part in ordered
    }
    mine = [part for part in ordered if part.ours]
    going = [part for part in mine if not reasons[id(part)]]
    if not policy.allow_many:
        for part in going[: max(len(going) - (len(mine) + 1) // 2, 0)]:
            reasons[id(part)] = "spared this time: no more than half may go in one run"
    gone = f"older than {policy.days} days"
    return [Decision(part, bool(reasons[id(part)]), reasons[id(part)] or gone) for part in ordered]


def _why_a_part_stays(
    part: C,
    policy: Policy,
    now: datetime,
    newest_good: datetime | None,
    held: Callable[[C], str],
) -> str:
    if not part.ours:
        candidate = part.waits_for_adoption
        whose = "not known whose it is: it has no manifest" if candidate else ""
        return whose or "not ours: another database or server"
    if part.dated_at > now:
        return "dated in the future"
    if now - part.dated_at <= timedelta(days=policy.days):
        return f"not older than {policy.days} days"
    if reason := held(part):
        return reason
    if policy.fault:
        return "nothing goes while a setting of the retention is wrong"
    if newest_good is None or newest_good <= part.dated_at:
        return "no good backup of the whole database is newer"
    return ""


def _newest_of_each(
    newest_first: Sequence[C], count: int, period: Callable[[C], tuple[int, int]]
) -> list[C]:
    """The newest backup of each of the ``count`` latest periods that have one; the newest good one
    where there is one.
    """
    newest: dict[tuple[int, int], C] = {}
    for backup in newest_first:
        known = newest.setdefault(period(backup), backup)
        if backup.good and not known.good:
            newest[period(backup)] = backup
    return list(newest.values())[:count]


@dataclasses.dataclass(frozen=True)
class Replaced:
    """What :func:`plan_replaced` needs to know of a database that a restore replaced.

    :param replaced_at: UTC, by the PostgreSQL server's clock.
    :param seen: for how long prunes have seen it, the one that asks included.
    :param newest_then: when the newest good backup of the first such look was taken.
    """

    name: str
    replaced_at: datetime
    seen: timedelta = timedelta()
    newest_then: datetime | None = None


@dataclasses.dataclass(frozen=True)
class ReplacedDecision:
    """Of a database beside the live one."""

    name: str
    keep: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Copied:
    """What :func:`plan_copies` needs to know of a copy under a name of its own.

    :param made_at: UTC, by the PostgreSQL server's clock.
    :param days: for how many it stays.
    :param seen: for how long prunes have seen it, the one that asks included.
    """

    name: str
    made_at: datetime
    days: int
    seen: timedelta = timedelta()


def plan_copies(copies: Sequence[Copied], now: datetime) -> list[ReplacedDecision]:
    """A decision for each copy, newest first. What it holds is in the bucket too, so no backup is
    asked for; its age alone is not believed either, for a clock may have jumped.

    :param now: UTC, by the PostgreSQL server's clock.
    """
    decisions = []
    for one in sorted(copies, key=lambda one: (one.made_at, one.name), reverse=True):
        limit = timedelta(days=one.days)
        if one.made_at > now:
            keep, reason = True, "a copy made in the future: one of the clocks is wrong"
        elif now - one.made_at <= limit:
            keep, reason = True, f"a copy, made not more than {one.days} days ago"
        elif one.seen < limit:
            seen = f"{one.seen.days} of {one.days} days"
            keep, reason = True, f"a copy, old by the clock, but seen by prunes for {seen}"
        else:
            keep, reason = False, f"a copy, made more than {one.days} days ago"
        decisions.append(ReplacedDecision(one.name, keep, reason))
    return decisions


def plan_replaced(
    replaced: Sequence[Replaced], newest_good: datetime | None, days: int, now: datetime
) -> list[ReplacedDecision]:
    """A decision for each database that a restore replaced, newest first.

    A clock may have stood anywhere when it was replaced. So its age alone is not believed: prunes
    must have seen it for as many days, and a good backup must have come since the first of them.
    With 0 days no time at all is asked for, and nothing of that counts.

    :param newest_good: when the newest good backup was taken; None where there is none. A database
        replaced after that may hold the only newer data there is, and stays whatever its age.
    :param days: databases replaced so many days ago, or less, stay.
    :param now: UTC, by the PostgreSQL server's clock.
    """
    limit = timedelta(days=days)
    decisions = []
    for one in sorted(replaced, key=lambda one: (one.replaced_at, one.name), reverse=True):
        newer_than = max(filter(None, [one.replaced_at, one.newest_then if days else None]))
        if one.replaced_at > now:
            keep, reason = True, "replaced in the future: one of the clocks is wrong"
        elif now - one.replaced_at <= limit:
            keep, reason = True, f"replaced not more than {days} days ago"
        elif days and one.seen < limit:
            seen = f"{one.seen.days} of {days} days"
            keep, reason = True, f"replaced long ago by the clock, but seen by prunes for {seen}"
        elif newest_good is None or newest_good <= newer_than:
            keep, reason = True, "no good backup is newer than it: it may hold the only newer data"
        else:
            keep, reason = False, f"replaced more than {days} days ago"
        decisions.append(ReplacedDecision(one.name, keep, reason))
    return decisions
