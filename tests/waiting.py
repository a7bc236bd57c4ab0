"""Waiting for a state instead of sleeping for a while and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


class WaitedInVain(AssertionError):
    """What was waited for did not come in time."""


def wait_for(
    what: str, condition: Callable[[], Value], timeout: float = 30, interval: float = 0.05
) -> Value:
    """What ``condition()`` returns as soon as it is true.

    :param timeout: seconds; a machine that is busy with other tests takes its time.
    :raises WaitedInVain: it was not true within ``timeout`` seconds; ``what`` says for what was
        waited.
    """
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise WaitedInVain(f"Waited {timeout} s in vain for {what}")
        time.sleep(interval)
    return value
