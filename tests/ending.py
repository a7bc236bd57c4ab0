"""A run of the tests that is told to end (SIGTERM) tidies up as after Ctrl-C."""

from __future__ import annotations

import signal

import pytest


def _interrupted(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def pytest_configure(config: pytest.Config) -> None:
    """In the process that was started, and in each worker."""
    before = signal.signal(signal.SIGTERM, _interrupted)
    config.add_cleanup(lambda: signal.signal(signal.SIGTERM, before))
