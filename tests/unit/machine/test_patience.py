"""Waiting ends when it is so, and when its time is over."""

import time

from postgres_backup.machine.patience import wait_until


def test_it_is_asked_until_it_is_so():
    left = [False, False, True]
    assert wait_until(lambda: left.pop(0), 5, pause=0.001)
    assert left == []


def test_it_gives_up_and_asks_once_more_at_the_end():
    began, asked = time.monotonic(), []
    assert not wait_until(lambda: asked.append(1), 0.02, pause=0.015)
    assert time.monotonic() - began >= 0.02
    assert len(asked) >= 2
