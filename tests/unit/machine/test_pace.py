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


class Pipe:
    """A server behind a buffer: whoever writes waits only where that is full, and the server works
    on while nobody writes.

    :param ours: bytes a second that the writer itself can.
    :param theirs: bytes a second that the server can.
    """

    def __init__(self, clock: Clock, ours: float, theirs: float, buffer: float = 2e6) -> None:
        self.clock, self.ours, self.theirs, self.buffer = clock, ours, theirs, buffer
        self.queued, self.seen = 0.0, clock.now

    def _work(self) -> None:
        passed = self.clock.now - self.seen
        self.queued, self.seen = max(0.0, self.queued - passed * self.theirs), self.clock.now

    def write(self, count: int) -> None:
        self.clock.now += count / self.ours
        self._work()
        if (above := self.queued + count - self.buffer) > 0:
            self.clock.now += above / self.theirs
            self._work()
        self.queued += count

    def flush(self) -> None:
        self._work()
        self.clock.now += self.queued / self.theirs
        self._work()


def load(rate: float, ours: float, theirs: float) -> tuple[float, float]:
    """Seconds of 400 MB through such a pipe, and of these what was no work."""
    clock = Clock()
    pace, pipe = Pace(rate, clock=clock, sleep=clock.sleep), Pipe(clock, ours, theirs)
    began = clock.now
    pace.begin()
    for _ in range(1600):
        pipe.write(250_000)
        pace.passed(250_000)
    pipe.flush()
    return clock.now - began, pace.waited - pace.hidden


@pytest.mark.parametrize(("ours", "theirs"), [(300e6, 60e6), (80e6, 60e6), (60e6, 300e6)])
def test_what_the_server_does_in_a_pause_is_no_idleness(ours, theirs):
    real, _ = load(0, ours, theirs)
    took, idle = load(20e6, ours, theirs)
    assert took >= 0.9 * 400e6 / 20e6  # the bound is kept
    assert 0.9 < (took - idle) / real < 1.1
