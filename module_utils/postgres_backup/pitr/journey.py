"""What PostgreSQL tells of a recovery in its log. Pure.

The lines are those of its ``src/backend/access/transam/xlogrecovery.c`` in English, which it is
told to speak.
"""

from __future__ import annotations

import dataclasses
import re

from ..text import printable
from .target import Target

_TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)[+ ]\S+"
_STOPPED = {
    "time": re.compile(rf"recovery stopping before (?:commit|abort) .*, time {_TIME}"),
    "lsn": re.compile(r'recovery stopping (?:before|after) WAL location \(LSN\) "([^"]+)"'),
    "name": re.compile(r'recovery stopping at restore point "([^"]+)"'),
}
_LAST = re.compile(rf"last completed transaction was at log time {_TIME}")
_TOO_SHORT = "recovery ended before configured recovery target was reached"
_SERIOUS = re.compile(r"\b(?:FATAL|PANIC):\s+(.*)")
#: letters of a line that a message quotes
_QUOTED = 200


@dataclasses.dataclass(frozen=True)
class Journey:
    """:param stopped_at: what it stopped before, or at; empty where no target ended it.
    :param last_commit: the time of the last transaction that is in it, as in the log; empty where
        there was none.
    :param fell_short: the log came to its end before the target.
    :param failed: why PostgreSQL gave up; empty where it did not.
    """

    stopped_at: str
    last_commit: str
    fell_short: bool
    failed: str


def read(log: str, target: Target) -> Journey:
    """:param log: of this recovery alone."""
    stopped = _STOPPED[target.kind].search(log) if target.kind in _STOPPED else None
    last = _LAST.findall(log)
    serious = _SERIOUS.findall(log)
    return Journey(
        stopped[1] if stopped else "",
        last[-1] if last else "",
        _TOO_SHORT in log,
        printable(serious[0].strip())[:_QUOTED] if serious else "",
    )
