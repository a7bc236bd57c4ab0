import dataclasses
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.catalog.retention import Policy, plan, plan_replaced

NOW = datetime(2026, 3, 30, 0, 0, 5, tzinfo=timezone.utc)


@dataclasses.dataclass(frozen=True)
class Fake:
    """What ``plan`` asks of a backup; a dataclass, since no bucket is needed to decide."""

    taken_at: datetime
    ours: bool = True
    good: bool = True
    proven: bool = False
    waits_for_adoption: bool = False


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


cases = st.builds(
    Fake,
    st.integers(-100, 20_000).map(lambda hours: NOW - timedelta(hours=hours)),
    ours=st.booleans(),
    good=st.booleans(),
    proven=st.booleans(),
    waits_for_adoption=st.booleans(),
).map(
    lambda b: dataclasses.replace(
        b, proven=b.proven and b.good, waits_for_adoption=b.waits_for_adoption and not b.ours
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
    assert policy.allow_many or len(gone) <= len(mine) / 2


@given(st.lists(cases, max_size=40, unique_by=lambda b: b.taken_at), policies)
def test_a_second_run_of_an_unhurried_prune_deletes_nothing_more(backups, policy):
    policy = dataclasses.replace(policy, allow_many=True)
    survivors = kept(backups, policy)
    assert kept(survivors, policy) == survivors


def test_a_replaced_database_goes_when_its_days_are_over_and_a_good_backup_is_newer():
    old, young = (
        ("crm_before_a", NOW - timedelta(days=8)),
        ("crm_before_b", NOW - timedelta(days=6)),
    )
    decisions = plan_replaced([old, young], NOW - timedelta(hours=3), 7, NOW)
    assert [(d.name, d.keep, d.reason) for d in decisions] == [
        ("crm_before_b", True, "replaced not more than 7 days ago"),
        ("crm_before_a", False, "replaced more than 7 days ago"),
    ]


def test_a_replaced_database_stays_while_no_good_backup_is_newer():
    replaced_at = NOW - timedelta(days=400)
    for newest_good in (None, replaced_at, replaced_at - timedelta(seconds=1)):
        (decision,) = plan_replaced([("crm_before_a", replaced_at)], newest_good, 7, NOW)
        assert (decision.keep, decision.reason) == (
            True,
            "no good backup is newer than it: it may hold the only newer data",
        )


def test_a_database_replaced_in_the_future_stays():
    (decision,) = plan_replaced(
        [("crm_before_a", NOW + timedelta(days=1))], NOW + timedelta(days=2), 0, NOW
    )
    assert decision.keep
    assert "future" in decision.reason


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=8), st.integers(-48, 2000)),
        max_size=20,
        unique_by=lambda pair: pair[0],
    ),
    st.none() | st.integers(-48, 2000),
    st.integers(0, 60),
)
def test_what_goes_is_old_and_in_a_good_backup_that_is_newer(hours, newest, days):
    replaced = [(name, NOW - timedelta(hours=age)) for name, age in hours]
    newest_good = None if newest is None else NOW - timedelta(hours=newest)
    decisions = plan_replaced(replaced, newest_good, days, NOW)
    assert sorted(d.name for d in decisions) == sorted(name for name, _ in replaced)
    replaced_at = dict(replaced)
    for gone in (d for d in decisions if not d.keep):
        assert newest_good is not None
        assert newest_good > replaced_at[gone.name]
        assert NOW - replaced_at[gone.name] > timedelta(days=days)
