"""A bounded rate, told by bytes and a clock that a test moves."""

from __future__ import annotations

import pytest

from postgres_backup.machine.pace import LOOK_EVERY, Pace


class Clock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def passed(pace: Pace, clock: Clock, chunks: int, size: int, work: float = 0.0) -> float:
    """Seconds that so many chunks take, each with that work."""
    began = clock.now
    for _ in range(chunks):
        clock.now += work
        pace.passed(size)
    return clock.now - began


def test_bytes_take_as_long_as_the_rate_says():
    clock = Clock()
    pace = Pace(1000, clock=clock, sleep=clock.sleep)
    assert passed(pace, clock, 100, 500) == pytest.approx(50, abs=1.01)
    assert pace.waited == pytest.approx(clock.slept)


def test_who_is_slower_by_himself_is_not_held_up():
    clock = Clock()
    pace = Pace(1000, clock=clock, sleep=clock.sleep)
    assert passed(pace, clock, 10, 500, work=1.0) == pytest.approx(10)
    assert pace.waited == 0


def test_no_bound_is_no_wait():
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    assert passed(pace, clock, 1000, 10**9) == 0


def test_a_time_of_rest_is_not_saved_up():
    clock = Clock()
    pace = Pace(1000, clock=clock, sleep=clock.sleep)
    clock.now += 3600
    assert passed(pace, clock, 100, 500) >= 48


def test_it_looks_around_now_and_then_and_goes_slower_where_it_is_told_to():
    clock, looks = Clock(), []

    def look() -> float:
        looks.append(clock.now)
        return 0.5

    pace = Pace(1000, look, clock, clock.sleep)
    assert passed(pace, clock, 100, 500) == pytest.approx(100, abs=2.01)
    assert len(looks) == pytest.approx(100 / LOOK_EVERY, abs=2)


@pytest.mark.parametrize("rate", [0, 1000])
def test_what_a_look_raises_ends_the_work(rate):
    def short() -> float:
        raise ValueError("no room")

    clock = Clock()
    pace = Pace(rate, short, clock, clock.sleep)
    with pytest.raises(ValueError, match="no room"):
        pace.passed(1)
