"""Which backups stay and which go: a pure function to a plan with a reason for every backup.

Everything that deletes a backup goes through :func:`plan`; a database that a restore replaced,
through :func:`plan_replaced`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from ..settings import Settings


class Candidate(Protocol):
    """What :func:`plan` needs to know of a backup; ``backups.Backup`` and ``kits.Kit`` are such."""

    @property
    def taken_at(self) -> datetime: ...
    @property
    def ours(self) -> bool: ...
    @property
    def good(self) -> bool: ...
    @property
    def proven(self) -> bool: ...
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
    """

    days: int = 7
    weekly: int = 0
    monthly: int = 0
    allow_many: bool = False

    @classmethod
    def of(cls, settings: Settings, allow_many: bool = False) -> Policy:
        return cls(settings.retention_days, settings.keep_weekly, settings.keep_monthly, allow_many)


@dataclasses.dataclass(frozen=True)
class Decision(Generic[C]):
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

    The newest good and the newest proven backup stay whatever their age; what is not ours stays; no
    more than half of ours goes in one run, the oldest first, unless the policy allows it.

    :param backups: in any order; several of one time are told apart by nothing and judged alike.
    :param now: UTC. A backup dated after it stays: one of the two clocks is wrong.
    :param held: why a backup stays whatever the policy says; empty where nothing holds it.
    """
    ordered = sorted(backups, key=lambda b: b.taken_at, reverse=True)
    mine = [b for b in ordered if b.ours]
    good = [b for b in mine if b.good]
    reasons: dict[int, str] = {}

    def keep(backup: C, reason: str) -> None:
        reasons.setdefault(id(backup), reason)

    for backup in ordered:
        if backup.waits_for_adoption:
            keep(backup, "not known whose it is: waits for `postgres-backup adopt`")
        elif not backup.ours:
            keep(backup, held(backup) or "not ours: another database or server")
        elif backup.taken_at > now:
            keep(backup, "dated in the future")
        elif now - backup.taken_at <= timedelta(days=policy.days):
            keep(backup, f"not older than {policy.days} days")
    if good:
        keep(good[0], "the newest good backup")
    for backup in [b for b in good if b.proven][:1]:
        keep(backup, "the newest proven backup")
    for backup in _newest_of_each(good, policy.weekly, lambda b: b.taken_at.isocalendar()[:2]):
        keep(backup, f"the newest of its week ({policy.weekly} weeks are kept)")
    for backup in _newest_of_each(
        good, policy.monthly, lambda b: (b.taken_at.year, b.taken_at.month)
    ):
        keep(backup, f"the newest of its month ({policy.monthly} months are kept)")
    for backup in mine:
        if reason := held(backup):
            keep(backup, reason)

    going = [b for b in mine if id(b) not in reasons]
    spared = 0 if policy.allow_many else max(len(going) - len(mine) // 2, 0)
    for backup in going[:spared]:
        keep(backup, "spared this time: no more than half may go in one run")
    return [
        Decision(b, id(b) in reasons, reasons.get(id(b), f"older than {policy.days} days"))
        for b in ordered
    ]


def _newest_of_each(
    newest_first: Sequence[C], count: int, period: Callable[[C], tuple[int, int]]
) -> list[C]:
    """The newest backup of each of the ``count`` latest periods that have one."""
    newest: dict[tuple[int, int], C] = {}
    for backup in newest_first:
        newest.setdefault(period(backup), backup)
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
    name: str
    keep: bool
    reason: str


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
