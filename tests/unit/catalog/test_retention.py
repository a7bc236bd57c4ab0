import dataclasses
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.catalog import dated
from postgres_backup.catalog.retention import (
    Copied,
    Policy,
    Replaced,
    plan,
    plan_copies,
    plan_parts,
    plan_replaced,
)

NOW = datetime(2026, 3, 30, 0, 0, 5, tzinfo=timezone.utc)


@dataclasses.dataclass(frozen=True)
class Fake:
    """What ``plan`` asks of a backup; a dataclass, since no bucket is needed to decide."""

    taken_at: datetime
    ours: bool = True
    good: bool = True
    proven: bool = False
    waits_for_adoption: bool = False
    #: whole, and nobody vouches for it while others are signed
    unsigned: bool = False
    was_read: bool = False
    restored: bool = False
    modified: datetime | None = None

    @property
    def ahead(self):
        return dated.is_ahead(self.taken_at, self.modified)

    @property
    def dated_at(self):
        return dated.dated_at(self.taken_at, self.modified)

    @property
    def whole(self):
        return self.good or self.unsigned


def unsigned(count, first_age=0, **more):
    """Nights of before the server had a key."""
    return nights(count, first_age, good=False, unsigned=True, **more)


def nights(count, first_age=0, **more):
    """Backups of midnight, the newest first."""
    midnight = NOW.replace(second=0)
    return [Fake(midnight - timedelta(days=first_age + age), **more) for age in range(count)]


def kept(backups, policy, now=NOW):
    return [d.backup for d in plan(backups, policy, now) if d.keep]


def test_seven_nights_stay():
    backups = nights(8)
    assert kept(backups, Policy(7)) == backups[:7]


def test_every_backup_has_a_decision_with_a_reason():
    decisions = plan(
        nights(20) + nights(3, ours=False) + nights(2, waits_for_adoption=True, ours=False),
        Policy(7, 2, 2),
        NOW,
    )
    assert len(decisions) == 25
    assert all(d.reason for d in decisions)


def test_weeks_and_months_keep_their_newest():
    backups = nights(120)
    assert {
        b.taken_at.date().isoformat()
        for b in kept(backups, Policy(1, weekly=3, monthly=3, allow_many=True))
    } == {
        "2026-03-30",
        "2026-03-29",
        "2026-03-22",
        "2026-02-28",
        "2026-01-31",
    }


def test_the_newest_good_stays_whatever_its_age_and_is_not_the_newest_bad():
    backups = [
        Fake(NOW - timedelta(days=90), good=False),
        Fake(NOW - timedelta(days=100)),
        Fake(NOW - timedelta(days=101)),
    ]
    assert kept(backups, Policy(7, allow_many=True)) == [backups[1]]


def test_the_newest_proven_stays_although_newer_ones_are_good():
    backups = [
        *nights(10),
        Fake(NOW - timedelta(days=40), proven=True),
        Fake(NOW - timedelta(days=41), proven=True),
    ]
    survivors = kept(backups, Policy(7, allow_many=True))
    assert backups[10] in survivors
    assert backups[11] not in survivors


def test_the_newest_that_was_restored_stays_beside_the_newest_that_was_read():
    backups = [
        *nights(10),
        Fake(NOW - timedelta(days=40), proven=True),
        Fake(NOW - timedelta(days=41), proven=True, restored=True),
        Fake(NOW - timedelta(days=42), proven=True, restored=True),
    ]
    survivors = kept(backups, Policy(7, allow_many=True))
    assert [b in survivors for b in backups[10:]] == [True, True, False]


def test_half_at_most_goes_in_one_run_and_the_oldest_first():
    backups = nights(10, first_age=100)
    assert kept(backups, Policy(7)) == backups[:5]
    assert len(kept(backups, Policy(7, allow_many=True))) == 1


def test_a_clock_that_jumped_ten_years_empties_nothing():
    backups = nights(7)
    survivors = kept(backups, Policy(7), NOW + timedelta(days=3650))
    assert backups[0] in survivors
    assert len(survivors) >= 4


def test_what_is_dated_in_the_future_stays():
    backups = [Fake(NOW + timedelta(days=5)), *nights(3)]
    assert kept(backups, Policy(1, allow_many=True)) == backups[:2]


def test_the_nights_after_an_upgrade():
    """Unsigned ones go one by one as they would have, and never by a rule of their own."""
    before, policy = unsigned(7, first_age=1), Policy(7)
    today = nights(1)
    assert kept([*today, *before], policy) == [*today, *before[:-1]]
    week = nights(7)
    assert kept([*week, *unsigned(1, first_age=7)], policy) == week


def test_an_upgrade_takes_nothing_of_what_was_promised_before():
    """Months, weeks and the newest proven one of before stay until a signed one takes its place."""
    months = [Fake(NOW - timedelta(days=31 * n), good=False, unsigned=True) for n in range(1, 13)]
    policy = Policy(7, monthly=12, allow_many=True)
    signed = nights(1)
    assert kept([*signed, *months], policy) == [*signed, *months[:-1]]
    proven = unsigned(2, first_age=100, was_read=True)
    assert kept([*signed, *proven], Policy(7, allow_many=True)) == [*signed, proven[0]]
    proof = nights(1, proven=True)
    assert kept([*proof, *proven], Policy(7, allow_many=True)) == proof


def test_where_no_signed_one_is_good_the_newest_of_before_stays():
    cut, before = Fake(NOW - timedelta(days=20), good=False), unsigned(2, first_age=30)
    assert kept([cut, *before], Policy(7, allow_many=True)) == [before[0]]


def test_nor_does_a_bad_one_beside_them():
    """One unsigned one made four of three, of which two may go."""
    signed = [*nights(2, first_age=2), Fake(NOW - timedelta(days=9), good=False)]
    assert signed[1] in kept(signed, Policy(1))
    assert signed[1] in kept([*unsigned(1), *signed], Policy(1))


@pytest.mark.parametrize("policy", [Policy(1, 3, 3, True), Policy(1)])
def test_no_crowd_of_unsigned_ones_lets_a_signed_one_go(policy):
    signed = nights(60, proven=True)
    crowd = [
        dataclasses.replace(b, taken_at=b.taken_at + timedelta(minutes=1))
        for b in unsigned(60, was_read=True)
    ]
    alone = kept(signed, policy)
    assert [b for b in kept([*signed, *crowd], policy) if b.good] == alone


cases = st.builds(
    Fake,
    st.integers(-100, 20_000).map(lambda hours: NOW - timedelta(hours=hours)),
    ours=st.booleans(),
    good=st.booleans(),
    proven=st.booleans(),
    restored=st.booleans(),
    waits_for_adoption=st.booleans(),
    unsigned=st.booleans(),
    was_read=st.booleans(),
).map(
    lambda b: dataclasses.replace(
        b,
        proven=b.proven and b.good,
        restored=b.restored and b.proven and b.good,
        was_read=b.proven if b.good else b.was_read,
        waits_for_adoption=b.waits_for_adoption and not b.ours,
        unsigned=b.unsigned and not b.good,
    )
)
policies = st.builds(
    Policy, st.integers(1, 60), st.integers(0, 10), st.integers(0, 24), st.booleans()
)


@given(st.lists(cases, max_size=60, unique_by=lambda b: b.taken_at), policies)
def test_promises_hold_for_any_bucket_and_policy(backups, policy):
    decisions = plan(backups, policy, NOW)
    gone = [d.backup for d in decisions if not d.keep]
    mine = sorted((b for b in backups if b.ours), key=lambda b: b.taken_at, reverse=True)
    good, proven = [b for b in mine if b.good], [b for b in mine if b.proven]
    assert sorted(map(id, backups)) == sorted(id(d.backup) for d in decisions)
    assert all(b.ours and not b.waits_for_adoption for b in gone)
    assert all(NOW - b.taken_at > timedelta(days=policy.days) for b in gone)
    assert not good or good[0] not in gone
    assert not proven or proven[0] not in gone
    restored = [b for b in mine if b.restored]
    assert not restored or restored[0] not in gone
    signed = [b for b in mine if not b.unsigned]
    alone = {id(d.backup) for d in plan(signed, policy, NOW) if d.keep}
    assert not any(b.good and id(b) in alone for b in gone)
    assert policy.allow_many or len(gone) <= len(mine) / 2


@given(st.lists(cases, max_size=40, unique_by=lambda b: b.taken_at), policies)
def test_a_second_run_of_an_unhurried_prune_deletes_nothing_more(backups, policy):
    policy = dataclasses.replace(policy, allow_many=True)
    survivors = kept(backups, policy)
    assert kept(survivors, policy) == survivors


def aged(name: str, hours: float, **more: object) -> Replaced:
    """Replaced so long ago, and seen by prunes for as long."""
    seen = max(timedelta(hours=hours), timedelta())
    return Replaced(name, NOW - timedelta(hours=hours), **{"seen": seen} | more)


def test_a_replaced_database_goes_when_its_days_are_over_and_a_good_backup_is_newer():
    old, young = aged("crm_before_a", 8 * 24), aged("crm_before_b", 6 * 24)
    decisions = plan_replaced([old, young], NOW - timedelta(hours=3), 7, NOW)
    assert [(d.name, d.keep, d.reason) for d in decisions] == [
        ("crm_before_b", True, "replaced not more than 7 days ago"),
        ("crm_before_a", False, "replaced more than 7 days ago"),
    ]


def test_a_replaced_database_stays_while_no_good_backup_is_newer():
    days = 400
    replaced_at = NOW - timedelta(days=days)
    for newest_good in (None, replaced_at, replaced_at - timedelta(seconds=1)):
        one = aged("crm_before_a", days * 24)
        (decision,) = plan_replaced([one], newest_good, 7, NOW)
        assert (decision.keep, decision.reason) == (
            True,
            "no good backup is newer than it: it may hold the only newer data",
        )


def test_a_database_replaced_in_the_future_stays():
    (decision,) = plan_replaced([aged("crm_before_a", -24)], NOW + timedelta(days=2), 0, NOW)
    assert decision.keep
    assert "future" in decision.reason


def test_a_clock_that_was_ten_days_behind_makes_nothing_old():
    """Old by the clock; but prunes have just met it, and the newest backup is the one that was the
    newest then.
    """
    last_night = NOW - timedelta(hours=9)
    met = aged("crm_before_a", 10 * 24, seen=timedelta(), newest_then=last_night)
    (decision,) = plan_replaced([met], last_night, 7, NOW)
    assert (decision.keep, decision.reason) == (
        True,
        "replaced long ago by the clock, but seen by prunes for 0 of 7 days",
    )
    long_seen = dataclasses.replace(met, seen=timedelta(days=7))
    (decision,) = plan_replaced([long_seen], last_night, 7, NOW)
    assert "no good backup is newer" in decision.reason
    (decision,) = plan_replaced([long_seen], NOW, 7, NOW)
    assert not decision.keep


def test_without_days_only_a_newer_backup_is_asked_for():
    met = aged("crm_before_a", 1, seen=timedelta(), newest_then=NOW)
    (decision,) = plan_replaced([met], NOW, 0, NOW)
    assert not decision.keep


@given(
    st.lists(
        st.builds(
            Replaced,
            st.text(min_size=1, max_size=8),
            st.integers(-48, 2000).map(lambda hours: NOW - timedelta(hours=hours)),
            st.integers(0, 2000).map(lambda hours: timedelta(hours=hours)),
            st.none() | st.integers(-48, 2000).map(lambda hours: NOW - timedelta(hours=hours)),
        ),
        max_size=20,
        unique_by=lambda one: one.name,
    ),
    st.none() | st.integers(-48, 2000),
    st.integers(0, 60),
)
def test_what_goes_is_old_and_in_a_good_backup_that_is_newer(replaced, newest, days):
    newest_good = None if newest is None else NOW - timedelta(hours=newest)
    decisions = plan_replaced(replaced, newest_good, days, NOW)
    assert sorted(d.name for d in decisions) == sorted(one.name for one in replaced)
    by_name = {one.name: one for one in replaced}
    for gone in (by_name[d.name] for d in decisions if not d.keep):
        assert newest_good is not None
        assert newest_good > gone.replaced_at
        assert NOW - gone.replaced_at > timedelta(days=days)
        if days:
            assert gone.seen >= timedelta(days=days)
            assert gone.newest_then is None or newest_good > gone.newest_then


@pytest.mark.parametrize(
    ("made_ago", "days", "seen", "keep"),
    [
        (timedelta(days=2), 2, timedelta(days=2), True),
        (timedelta(days=2, seconds=1), 2, timedelta(days=2), False),
        (timedelta(days=9), 2, timedelta(days=1), True),  # a clock that jumped
        (timedelta(days=-1), 0, timedelta(days=9), True),  # made in the future
        (timedelta(seconds=1), 0, timedelta(), False),
    ],
)
def test_a_copy_goes_after_its_days(made_ago, days, seen, keep):
    (decision,) = plan_copies([Copied("look", NOW - made_ago, days, seen)], NOW)
    assert (decision.name, decision.keep) == ("look", keep), decision.reason


def test_a_part_stays_for_the_days_and_while_no_good_whole_backup_is_newer():
    parts = [*nights(3), *nights(4, first_age=9), *nights(1, first_age=20, ours=False)]

    def stay(newest_good, many=True, held=lambda _: "", days=7):
        policy = Policy(days, allow_many=many)
        return [d.backup for d in plan_parts(parts, policy, NOW, newest_good, held) if d.keep]

    young, old, theirs = parts[:3], parts[3:7], parts[7:]
    assert stay(NOW) == young + theirs
    assert stay(None) == parts
    assert stay(old[1].taken_at) == young + old[:2] + theirs
    forged = stay(NOW, held=lambda part: "forged" if part == old[2] else "")
    assert forged == [*young, old[2], *theirs]
    assert stay(NOW, days=0) == theirs
    assert stay(NOW, many=False, days=0) == young + theirs  # 4 of 7: half of them, rounded up
    alone = plan_parts(old[:1], Policy(7), NOW, NOW, lambda _: "")
    assert [d.keep for d in alone] == [False]
