"""The numbers of events: nobody gets one twice, and what became of each is remembered."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.catalog import numbers
from postgres_backup.catalog.names import Layout
from postgres_backup.settings import Settings

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)
LAYOUT = Layout("p")


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setattr(numbers, "utc_now", lambda: NOW)
    made = Settings("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret")
    return dataclasses.replace(made, state_dir=str(tmp_path))


def take(settings: Settings, newest: numbers.Row | None = None) -> numbers.Taken:
    taken = numbers.take(settings, LAYOUT, newest)
    assert taken is not None
    return taken


def test_one_after_the_other(settings):
    assert numbers.take(settings, LAYOUT, None) is None, "nobody knows how far they have come"
    for number in (8, 9):
        taken = take(settings, numbers.new_row(7, 3, [{"first": 5, "last": 5}]))
        assert (taken.number, taken.begins) == (number, 3)
        assert taken.lost == [{"first": 5, "last": 5}]
        numbers.ended(settings, LAYOUT, taken, written=True)
    other = dataclasses.replace(settings, s3_bucket="another")
    assert numbers.remembered(other, LAYOUT) is None


def test_what_the_store_does_not_take_is_told_by_every_later_event(settings):
    for _ in range(2):
        numbers.ended(settings, LAYOUT, take(settings, numbers.new_row()), written=False)
    for _ in range(2):
        taken = take(settings)
        assert taken.lost == [{"first": 1, "last": 2}]
        numbers.ended(settings, LAYOUT, taken, written=True)
    assert taken.describe() == {"number": 4, "begins": 1, "lost": [{"first": 1, "last": 2}]}


def test_of_a_run_that_was_killed_nothing_is_known_and_that_is_told(settings, monkeypatch):
    take(settings, numbers.new_row())
    assert take(settings).lost == [], "it may be at work"
    monkeypatch.setattr(numbers, "utc_now", lambda: NOW + timedelta(hours=2))
    assert take(settings).lost == [{"first": 1, "last": 2}]


def test_of_many_at_once_each_has_one_of_its_own(settings):
    numbers.ended(settings, LAYOUT, take(settings, numbers.new_row()), written=True)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(take(settings).number)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(2, 10))


def test_what_was_pruned_is_no_longer_told(settings):
    for _ in range(4):
        numbers.ended(settings, LAYOUT, take(settings, numbers.new_row()), written=False)
    numbers.begin_at(settings, LAYOUT, 3)
    numbers.begin_at(settings, LAYOUT, 2)
    taken = take(settings)
    assert (taken.begins, taken.lost) == (3, [{"first": 3, "last": 4}])


@given(st.sets(st.integers(1, 40)), st.integers(1, 40), st.integers(1, 40))
def test_ranges_say_the_same_as_numbers(known, first, last):
    left = numbers.without(first, last, numbers.ranges(known))
    plain = [n for one in left for n in range(one["first"], one["last"] + 1)]
    assert plain == sorted(set(range(first, last + 1)) - known)


def test_of_very_many_the_oldest_become_one(settings):
    known = numbers.ranges(range(1, 4 * numbers.MOST_RANGES, 2))
    told = numbers._with(known, [10**6])
    assert len(told) == numbers.MOST_RANGES
    assert told[0]["first"] == 1
    assert told[-1] == {"first": 10**6, "last": 10**6}
