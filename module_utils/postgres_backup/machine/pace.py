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
#: take: so many at most, and what may come at once; the first half only fills what lies between.
#: The first comes when the work is under way: a load begins slowly
BURST, BURST_EVERY, _BURST_PART, _UNDER_WAY = 16e6, 4.0, 0.8, 2.5
#: one that took so many seconds was no matter of bytes: an index was built meanwhile
_BLOCKED = 0.5


class Pace:
    """Told of bytes as they pass, it holds them up where they are too many.

    :param rate: bytes a second at most; 0: no bound.
    :param look: called every :data:`LOOK_EVERY` seconds while bytes pass; the part of the rate that
        is to be used until the next time (above 0, up to 1). What it raises ends the work.
    :ivar waited: seconds for which bytes were held up.
    """

    def __init__(
        self,
        rate: float = 0.0,
        look: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.rate, self.waited = rate, 0.0
        self._look, self._clock, self._sleep = look, clock, sleep
        self._part = 1.0
        #: when what has passed so far has been paid for, and when to look next
        self._paid = self._next_look = self._came_back = clock()
        #: bytes of this burst that are still to come; seconds and bytes of the second halves of all
        self._burst, self._seconds, self._bytes = 0.0, 0.0, 0
        #: bytes of this kind that came at the bounded rate, and what they took; when to see again
        self._slow_bytes, self._slow_took = 0, 0.0
        self._next_burst, self._before = float("inf"), 0.0

    @property
    def hidden(self) -> float:
        """Seconds of :attr:`waited` in which others still worked on what had passed before, as far
        as they would have kept us waiting at full speed; known after :meth:`begin`.
        """
        cost = self._seconds / self._bytes if self._bytes else 0.0
        return self._before + max(0.0, self._slow_bytes * cost - self._slow_took)

    def begin(self) -> None:
        """Bytes of another kind follow, and take another time each."""
        self._before, self._came_back = self.hidden, self._clock()
        self._seconds, self._bytes, self._slow_bytes, self._slow_took = 0.0, 0, 0, 0.0
        self._burst, self._next_burst = 0.0, self._came_back + _UNDER_WAY

    def _most(self) -> float:
        return min(BURST, self.rate * _BURST_PART)

    def _seen(self, count: int, took: float, now: float) -> None:
        """So many bytes of a burst have come."""
        self._burst -= count
        if self._burst < self._most() / 2 and took < _BLOCKED:
            self._seconds += took
            self._bytes += count
        if self._burst <= 0:
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
            self._slow_bytes += count
            # a statement that kept us waiting, such as an index, is none of these bytes' matter
            self._slow_took += min(took, _BLOCKED)
            if now >= self._next_burst:
                self._burst = self._most()
        if self._burst <= 0:
            self._hold_up()
        self._came_back = self._clock()

    def _hold_up(self) -> None:
        while (ahead := self._paid - self._clock()) > 0:
            signals.look()
            nap = min(ahead, _NAP)
            self._sleep(nap)
            self.waited += nap
