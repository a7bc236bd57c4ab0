"""A channel hands bytes from thread to thread, in order, a bounded number of them under way."""

import threading
import time

import pytest

from postgres_backup.stream.channel import Channel


def in_a_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_is_put_comes_out_in_order_and_then_the_end():
    channel = Channel(10)

    def work():
        for piece in (b"one", b"", b"two", b"three", b"four"):
            channel.put(piece)
        channel.end()

    thread = in_a_thread(work)
    assert list(iter(channel.get, b"")) == [b"one", b"two", b"three", b"four"]
    assert channel.get() == b""
    thread.join(5)


def test_who_puts_waits_while_too_much_is_under_way():
    channel, put = Channel(10), []

    def work():
        for number in range(4):
            channel.put(b"12345")
            put.append(number)

    thread = in_a_thread(work)
    deadline = time.monotonic() + 5
    while len(put) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    thread.join(0.3)
    assert put == [0, 1], "ten bytes are under way, and no more"
    assert channel.get() == b"12345"
    assert [channel.get() for _ in range(3)] == [b"12345"] * 3
    thread.join(5)
    assert put == [0, 1, 2, 3]


@pytest.mark.parametrize("side", ["put", "get"])
def test_a_side_that_goes_is_not_waited_for(side):
    channel, seen = Channel(1), []
    if side == "put":
        channel.put(b"x")

    def work():
        with pytest.raises(BrokenPipeError):
            channel.put(b"y") if side == "put" else channel.get()
        seen.append("woken")

    thread = in_a_thread(work)
    thread.join(0.1)
    channel.close()
    thread.join(5)
    assert seen == ["woken"]
