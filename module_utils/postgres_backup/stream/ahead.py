"""Bytes that are made ready in a thread of their own while others are used: whoever loads waits
neither for the store nor for what unpacks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from ..machine import signals
from ..machine.carried import Carried
from .channel import Channel

#: seconds that the thread is waited for once nobody wants more: one that the store keeps waiting
#: ends by itself, and holds nobody up
_PATIENCE = 1.0


class Ahead:
    """The same chunks, which a thread reads ahead of who asks for them; iterate once, then close.

    What the chunks raise is raised where it comes in their order.

    :param most_bytes: with so many ready, the thread waits.
    """

    def __init__(self, chunks: Iterable[bytes], most_bytes: int) -> None:
        self._chunks, self._channel, self._failure = chunks, Channel(most_bytes), Carried()
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        with signals.hold:
            self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if data := self._channel.get():
            return data
        self._thread.join()
        self._failure.check()
        raise StopIteration

    def stop(self) -> None:
        """Nobody wants more; whoever waits for some gets a BrokenPipeError."""
        self._channel.close()

    def close(self) -> None:
        """The same, and wait a moment for the thread to let go of what it reads from."""
        self.stop()
        self._thread.join(_PATIENCE)

    def _read(self) -> None:
        with self._failure:
            try:
                for chunk in self._chunks:
                    self._channel.put(chunk)
            finally:
                close = getattr(self._chunks, "close", None)
                if close is not None:  # a generator
                    close()
        self._channel.end()
