"""Chunks that a thread reads ahead of who asks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from postgres_backup.stream.ahead import Ahead
from tests.waiting import wait_for


def ended() -> bool:
    return not [one for one in threading.enumerate() if one.name == "read-ahead"]


def test_what_is_read_is_what_was_there():
    chunks = [bytes([n]) * n for n in range(200)]  # the first is empty
    ahead = Ahead(chunks, 64)
    assert b"".join(ahead) == b"".join(chunks)
    ahead.close()
    assert ended()


def test_what_goes_wrong_is_told_behind_what_came_before_it():
    def chunks() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise ValueError("three")

    ahead = Ahead(chunks(), 1 << 20)
    assert [next(ahead), next(ahead)] == [b"one", b"two"]
    with pytest.raises(ValueError, match="three"):
        next(ahead)


def test_so_much_is_read_ahead_and_no_more():
    read = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            read.append(number)
            yield b"x" * 10

    ahead = Ahead(chunks(), 50)
    wait_for("five chunks, and one that waits", lambda: len(read) == 6)
    assert next(ahead) == b"x" * 10
    wait_for("one more", lambda: len(read) == 7)
    ahead.close()
    assert ended()
    assert len(read) == 7


def test_who_wants_no_more_leaves_nothing_open():
    closed = threading.Event()

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            closed.set()

    inner = Ahead(chunks(), 100)
    outer = Ahead(inner, 100)
    assert next(outer) == b"more"
    inner.stop()
    outer.close()
    inner.close()
    assert closed.is_set()
    assert ended()
