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
        self._paid = self._next_look = clock()

    def passed(self, count: int) -> None:
        """So many bytes more went through; comes back when the next may."""
        now = self._clock()
        if self._look and now >= self._next_look:
            self._part = self._look()
            now = self._clock()
            self._next_look = now + LOOK_EVERY
        if not self.rate:
            return
        self._paid = max(self._paid, now - _SAVED_UP) + count / (self.rate * self._part)
        while (ahead := self._paid - self._clock()) > 0:
            signals.look()
            nap = min(ahead, _NAP)
            self._sleep(nap)
            self.waited += nap
