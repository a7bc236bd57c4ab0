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
    :param interval: seconds between two looks, and longer where a look itself takes long: who waits
        leaves the processors to others.
    :raises WaitedInVain: it was not true within ``timeout`` seconds; ``what`` says for what was
        waited.
    """
    end = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        now = time.monotonic()
        if now > end:
            raise WaitedInVain(f"Waited {timeout} s in vain for {what}")
        time.sleep(min(max(interval, 3 * (now - began)), max(interval, end - now)))
