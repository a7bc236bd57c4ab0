"""When a night is begun, tried again, given up and told of: no night is lost that a try could have
saved, and nobody is woken for what passes.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, time, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.machine import due
from postgres_backup.machine.due import PERIOD, Again, Rules, Step, Tried
from tests.properties import examples

PLANNED = datetime(2026, 1, 27, tzinfo=timezone.utc)
FRESH = timedelta(hours=26)
#: of the night before
GOOD = PLANNED - timedelta(days=1) + timedelta(seconds=5)


def after(hours: float = 0, minutes: float = 0) -> datetime:
    return PLANNED + timedelta(hours=hours, minutes=minutes)


def tried(**more: object) -> Tried:
    made = Tried(PLANNED, PLANNED, after(minutes=1), 1, after(minutes=15), {"crm": "backup"}, True)
    return dataclasses.replace(made, **more)


# --- what a call has to do ---


@pytest.mark.parametrize(
    ("now", "remembered", "step"),
    [
        (after(), None, Step.FIRST),
        (after(minutes=14), None, Step.FIRST),
        (after(minutes=16), None, Step.NOTHING),  # the watch asks the bucket
        (after(), tried(planned=PLANNED - timedelta(days=1)), Step.FIRST),
        (after(), tried(planned=PLANNED + timedelta(days=1)), Step.FIRST),
        (after(minutes=10), tried(), Step.NOTHING),
        (after(minutes=15), tried(), Step.AGAIN),
        (after(20), tried(), Step.AGAIN),  # the server was off meanwhile
        (after(1), tried(next=None), Step.NOTHING),
        (after(1), tried(left={}), Step.NOTHING),
        # of what was done in time the bucket knows more: a clock that was ahead may have said so
        (after(minutes=5), tried(left={}), Step.ASK),
        (after(minutes=5), tried(next=None), Step.ASK),
        (after(1), tried(left={}, written=after(2)), Step.ASK),
        (after(1), tried(next=after(5), written=after(2)), Step.ASK),
        (after(1), tried(left={}, written=after(-1)), Step.ASK),
        # the settings allow less than they did, and nobody was told
        (after(1), tried(next=after(7)), Step.AGAIN),
    ],
)
def test_what_a_call_has_to_do(now, remembered, step):
    assert due.step(PLANNED, now, remembered, Rules(6)) is step


# --- when it is tried again ---


def tries(rules: Rules, lasts: float = 5) -> list[str]:
    """The times of day of all tries of a night, each of which fails after so many seconds."""
    at, number, found = PLANNED, 1, []
    while at is not None:
        found.append(f"{at:%H:%M}")
        ended = at + timedelta(seconds=lasts)
        at, number = due.next_try(PLANNED, PLANNED, ended, number, rules), number + 1
    return found


@pytest.mark.parametrize(
    ("rules", "lasts", "found"),
    [
        (Rules(6), 5, "00:00 00:15 00:45 01:45 03:45 05:45 06:00"),
        (Rules(0), 5, "00:00"),
        (Rules(1), 5, "00:00 00:15 00:45 01:00"),
        (Rules(6), 900, "00:00 00:30 01:15 02:30 04:45 06:00"),  # a dump that breaks off late
        (Rules.of(6, "01:00-18:00"), 5, "00:00 00:15 00:45"),
        (Rules.of(6, "00:30-02:00"), 5, "00:00 00:15 02:00 03:00 05:00 06:00"),
        (Rules.of(6, "23:00-05:00"), 5, "00:00 05:00 05:30 06:00"),  # passes midnight
        (Rules.of(6, "00:00-07:00"), 5, "00:00"),
    ],
)
def test_tries_come_at_growing_distance(rules, lasts, found):
    assert " ".join(tries(rules, lasts)) == found


@settings(max_examples=examples(40))
@given(
    now=st.integers(0, 24 * 60 - 1),
    number=st.integers(1, 12),
    hours=st.integers(0, 23),
    quiet=st.none() | st.tuples(st.times(), st.times()),
)
def test_a_try_is_soon_never_quiet_and_never_past_the_end(now, number, hours, quiet):
    now, rules = after(minutes=now), Rules(hours, quiet)
    at = due.next_try(PLANNED, PLANNED, now, number, rules)
    if at is None:
        return
    assert now < at <= after(hours)
    assert (at - PLANNED) % PERIOD == timedelta(0)
    assert not rules.is_quiet(at)


def test_quiet_hours_are_those_of_the_day():
    rules = Rules(6, (time(22), time(6)))
    assert [rules.is_quiet(after(hour)) for hour in (21, 22, 23, 0, 5, 6)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip


# --- who is told when ---


@pytest.mark.parametrize(
    ("fresh", "good", "told_by"),
    [
        (26, GOOD, after(2)),  # else nobody would ever be spared
        (28, GOOD, after(2, 5 / 60)),
        (30, GOOD, after(4, 5 / 60)),
        (50, GOOD, after(24, 5 / 60)),
        (25, GOOD, after(1, 5 / 60)),  # before it is too old, whatever else
        (26, None, after(2)),
        (26, GOOD - timedelta(days=2), GOOD - timedelta(days=2) + FRESH),
    ],
)
def test_until_when_nobody_is_told(fresh, good, told_by):
    assert due.tell_by(PLANNED, good, timedelta(hours=fresh)) == told_by


def decide(passes: bool, now: datetime, number: int, **more: object):
    good = more.pop("good", GOOD)
    again = Again(tried(number=number, **more), Rules(6), FRESH, {"crm": good})
    return again, again.decide("crm", passes, now)


def test_what_cannot_pass_is_told_at_once_and_not_tried_again():
    _, verdict = decide(False, after(minutes=1), 1)
    assert (verdict.at, verdict.silent) == (None, False)


def test_one_answer_whoever_asks():
    again, verdict = decide(True, after(minutes=1), 1)
    assert (verdict.at, verdict.silent) == (after(minutes=15), True)
    assert again.decide("crm", False, after(3)) is verdict


def test_a_kit_is_told_of_at_the_last_try():
    again, _ = decide(True, after(1, 45), 4)
    assert again.decided["crm"] == due.Verdict(after(3, 45), silent=False)
    assert again.decide("", True, after(1, 45)) == due.Verdict(after(3, 45), silent=True)
    again, _ = decide(True, after(6), 7)
    assert again.decide("", True, after(6)) == due.Verdict(None, silent=False)


# --- whole nights ---

outages = st.lists(st.tuples(st.integers(-120, 900), st.integers(1, 400)), max_size=3)


@settings(max_examples=examples(40))
@given(
    away=outages, jumps=st.lists(st.tuples(st.integers(0, 23), st.integers(-40, 40)), max_size=2)
)
def test_no_night_is_lost_that_a_try_could_have_saved(away, jumps):
    """cron calls every quarter of an hour, by a clock that is put back and forth by minutes."""
    rules, remembered, saved, told, backups = Rules(6), None, False, 0, 0
    seen_up = []
    for minute in range(0, 12 * 60, 15):
        now = after(minutes=minute)
        for hour, by in jumps:
            if minute == hour * 60:
                now += timedelta(minutes=by)
        if now < PLANNED:
            continue
        up = not any(begin <= minute < begin + length for begin, length in away)
        step = due.step(PLANNED, now, remembered, rules)
        if step is Step.ASK and saved:
            remembered = dataclasses.replace(remembered, left={}, next=None, written=now)
            continue
        if step is Step.NOTHING:
            continue
        seen_up.append(up)
        same = remembered and remembered.believed(PLANNED, now)
        number = remembered.number + 1 if same else 1
        begun = remembered.begun if same else due.quarter(PLANNED, now)
        made = Tried(PLANNED, begun, now, number, None, {"crm": "backup"}, False)
        if up:
            saved, backups = True, backups + 1
            remembered = dataclasses.replace(made, left={}, ended=True)
        else:
            verdict = Again(made, rules, FRESH, {"crm": GOOD}).decide("crm", True, now)
            told += not verdict.silent
            left = made.left if verdict.at else {}
            remembered = dataclasses.replace(made, next=verdict.at, left=left, ended=True)
    last = not any(begin <= 6 * 60 < begin + length for begin, length in away)
    if last and not jumps:
        assert saved, "up when the last try was due"
    assert backups == saved == any(seen_up)
    hour = len(away) == 1 and away[0][1] <= 60
    if hour and not jumps:
        assert (saved, told) == (True, 0), "an hour without a store is nobody's alarm"
