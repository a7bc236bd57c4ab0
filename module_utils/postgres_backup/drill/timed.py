"""How long each part of a drill takes, learned from what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..machine.progress import Progress

#: first word of what is told -> the phase that begins with it
_PHASES = {
    "loading": "load",
    "gathering": "statistics",
    "comparing": "compare",
    "asking": "queries",
}


class Timed(Progress):
    """Passes everything on to another, and keeps the seconds.

    :ivar seconds: by phase, as far as they have ended.
    """

    def __init__(self, to: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._to, self._clock = to, clock
        self.seconds: dict[str, float] = {}
        self._current, self._since = "", clock()

    def phase(self, name: str, detail: str = "") -> None:
        self.end(_PHASES.get(name.partition(" ")[0], ""))
        self._to.phase(name, detail)

    def end(self, following: str = "") -> None:
        """The phase in hand has ended; another begins."""
        now = self._clock()
        if self._current:
            before = self.seconds.get(self._current, 0.0)
            self.seconds[self._current] = before + now - self._since
        self._current, self._since = following, now

    def advance(self, count: int, table: str | Callable[[], str] = "") -> None:
        self._to.advance(count, table)

    def step(self, text: str) -> None:
        self._to.step(text)

    def close(self) -> None:
        self._to.close()
