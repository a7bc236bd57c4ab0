"""Wait until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable

#: seconds between two looks at what may be so in a moment
OFTEN = 0.05


def wait_until(is_so: Callable[[], object], seconds: float, pause: float = 0.2) -> bool:
    """Whether it became so within so many seconds; it is asked at once, and at the very end.

    :param pause: seconds between two questions.
    """
    ends = time.monotonic() + seconds
    while not is_so():
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
    return True
