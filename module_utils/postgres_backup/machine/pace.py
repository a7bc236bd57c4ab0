"""How fast work may go that nobody waits for: so many bytes a second at most, and a look around now
and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from . import signals

#: seconds between two looks around
LOOK_EVERY = 5.0
#: one sleep of many, seconds: between them a thread hears that it should end
_NAP = 0.2
#: so many seconds' worth of bytes may come at once after a time in which fewer came
_SAVED_UP = 1.0
#: now and then, every so many seconds, bytes come at full speed, so that it is known what they
#: take: so many at most, and what may come at once; the first half only fills what lies between
BURST, BURST_EVERY, _BURST_PART = 16e6, 10.0, 0.8
#: one that took so many seconds was no matter of bytes: an index was built meanwhile
_BLOCKED = 0.5


class Pace:
    """Told of bytes as they pass, it holds them up where they are too many.

    :param rate: bytes a second at most; 0: no bound.
    :param look: called every :data:`LOOK_EVERY` seconds while bytes pass; the part of the rate that
        is to be used until the next time (above 0, up to 1). What it raises ends the work.
    :ivar waited: seconds for which bytes were held up.
    :ivar hidden: of these, those in which others still worked on what had passed before, as far as
        they would have kept us waiting at full speed; known after :meth:`begin`.
    """

    def __init__(
        self,
        rate: float = 0.0,
        look: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.rate, self.waited, self.hidden = rate, 0.0, 0.0
        self._look, self._clock, self._sleep = look, clock, sleep
        self._part = 1.0
        #: when what has passed so far has been paid for, and when to look next
        self._paid = self._next_look = self._came_back = clock()
        #: bytes of this burst that are still to come, and seconds and bytes of its second half
        self._burst, self._seconds, self._bytes = 0.0, 0.0, 0
        #: seconds that a byte takes at full speed, and when to see again
        self._cost, self._next_burst = 0.0, float("inf")

    def begin(self) -> None:
        """Bytes of another kind follow, and take another time each."""
        self._cost, self._next_burst, self._came_back = 0.0, float("inf"), self._clock()
        if self.rate:
            self._begin_burst()

    def _begin_burst(self) -> None:
        self._burst, self._seconds, self._bytes = self._most(), 0.0, 0

    def _most(self) -> float:
        return min(BURST, self.rate * _BURST_PART)

    def _seen(self, count: int, took: float, now: float) -> None:
        """So many bytes of a burst have come."""
        self._burst -= count
        if self._burst < self._most() / 2 and took < _BLOCKED:
            self._seconds += took
            self._bytes += count
        if self._burst <= 0:
            self._cost = self._seconds / max(1, self._bytes)
            self._next_burst = now + BURST_EVERY

    def passed(self, count: int) -> None:
        """So many bytes more went through; comes back when the next may."""
        now = self._clock()
        took = now - self._came_back
        if self._look and now >= self._next_look:
            self._part = self._look()
            now = self._clock()
            self._next_look = now + LOOK_EVERY
        if not self.rate:
            return
        self._paid = max(self._paid, now - _SAVED_UP) + count / (self.rate * self._part)
        if self._burst > 0:
            self._seen(count, took, now)
        else:
            self.hidden += max(0.0, count * self._cost - took)
            if now >= self._next_burst:
                self._begin_burst()
        if self._burst <= 0:
            self._hold_up()
        self._came_back = self._clock()

    def _hold_up(self) -> None:
        while (ahead := self._paid - self._clock()) > 0:
            signals.look()
            nap = min(ahead, _NAP)
            self._sleep(nap)
            self.waited += nap
