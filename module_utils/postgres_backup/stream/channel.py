"""Bytes from one thread to another, a bounded number of them under way."""

from __future__ import annotations

from collections import deque

from ..machine.signals import Condition


class Channel:
    """Pieces are put in at one end and got out at the other, in order.

    :param most_bytes: with so many under way, the next piece waits.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._size = most_bytes, 0
        self._pieces: deque[bytes] = deque()
        self._changed = Condition()
        self._ended = self._closed = False

    def put(self, data: bytes) -> None:
        """:raises BrokenPipeError: the other side has gone."""
        if not data:
            return  # nothing means the end, on the other side
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._size < self._most)
            if self._closed:
                raise BrokenPipeError("the other side has gone")
            self._pieces.append(data)
            self._size += len(data)
            self._changed.notify_all()

    def get(self) -> bytes:
        """The next piece; empty at the end.

        :raises BrokenPipeError: the other side has gone before the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ended or self._pieces)
            if self._closed:
                raise BrokenPipeError("the other side has gone")
            if not self._pieces:
                return b""
            data = self._pieces.popleft()
            self._size -= len(data)
            self._changed.notify_all()
            return data

    def end(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """This side goes: the other one must not wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
