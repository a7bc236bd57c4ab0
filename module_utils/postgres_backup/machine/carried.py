"""What goes wrong in a thread, carried over to the thread that waits for it."""

from __future__ import annotations

from types import TracebackType


class Carried:
    """The first error of other threads.

    They work inside ``with carried:``, which keeps what is raised there, whatever it is; who waits
    for them calls :meth:`check`.

    :ivar error: what was raised; None so far.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        """Work begins whose error is to be carried over."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        self.error = self.error or error
        return True

    def check(self) -> None:
        """Raise in this thread what was raised in another."""
        if self.error is not None:
            raise self.error
