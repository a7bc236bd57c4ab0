"""Asked to end: SIGTERM, SIGHUP and SIGINT become an exception in the main thread, so that
everything is cleaned up on the way out.

Such an exception may come between any two steps, so also between taking a lock and the block that
gives it back: the lock then stays taken, and a thread that wants it waits for ever, and so does
whoever waits for that thread. (``threading.Condition.__enter__`` is a Python function, and its
caller never learns that it had succeeded.) So the locks that the main thread shares with others are
those of this room: while one is held, or a thread is being started, the exception waits.

Work that has come to its end is not undone by a signal: who has the result calls :func:`defer`, and
one that comes after that is only remembered, until other work begins (:func:`heed`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from ..errors import StoppedError
from ..findings import Finding

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
#: seconds that the way out may take; what still holds it up then is ended by the system, and the
#: next run cleans up
LAST_RESORT = 120
#: seconds after which a wait looks whether it should end
_LOOK = 0.2
#: seconds until it is seen whether an import has ended
_SOON = 0.02
_held = 0
_deferred = False
#: the signal that came; empty so far
_asked = ""
_pending: Interrupted | None = None


class Interrupted(KeyboardInterrupt):
    """Somebody asked us to end; its text names the signal.

    :ivar findings: what the way out could not do.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.findings: list[Finding] = []


def stopped(stop: KeyboardInterrupt) -> StoppedError:
    """The failure that it is, in words."""
    found = stop.findings if isinstance(stop, Interrupted) else []
    return StoppedError(f"Stopped by {str(stop) or 'Ctrl-C'}", findings=found)


def listen() -> None:
    """Turn the signals into exceptions, but for those that whoever started us wants ignored (nohup,
    a shell's background).
    """
    for number in SIGNALS:
        if not _asked and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def defer() -> None:
    """What was to be done is done: a signal that comes from now on changes nothing of it. It is
    remembered, see :func:`asked`.
    """
    global _deferred
    _deferred = True


def heed() -> None:
    """Work begins that a signal is to end.

    :raises Interrupted: one has come already.
    """
    global _deferred
    _deferred = False
    if not _held:
        _raise_pending()


def asked() -> str:
    """The signal by which somebody has asked us to end; empty: nobody has."""
    return _asked


def _stop(number: int, frame: FrameType | None) -> None:
    """Once: ``timeout`` and a nervous hand send two, and the second must not interrupt the cleaning
    up.
    """
    global _asked, _pending
    _asked = signal.Signals(number).name
    for other in SIGNALS:
        # not SIG_IGN: Python complains on standard error of one that came just before it was
        # ignored
        signal.signal(other, _again)
    _pending = Interrupted(_asked)
    _way_out(number, frame)


def _way_out(_number: int, frame: FrameType | None) -> None:
    """Not out of the middle of an import: what is half loaded stays so for this process, and the
    way out may need it. Then it is looked at again soon.
    """
    if not _held and not _deferred and _is_importing(frame):
        signal.signal(signal.SIGALRM, _way_out)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LAST_RESORT)
    if not _held:
        _raise_pending()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def deaf() -> None:
    """Everything is cleaned up: what comes now finds us on the last steps, where Python gives
    signals their old meaning back, and changes nothing.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # those that have come are dealt with in here
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def look() -> None:
    """For threads that wait for long: the exception comes in the main thread only, which may be
    waiting for them.

    :raises Interrupted: somebody asked us to end, and this is not the main thread.
    """
    if _asked and threading.current_thread() is not threading.main_thread():
        raise Interrupted("asked to end")


def _again(_number: int, _frame: FrameType | None) -> None:
    """We are on our way out."""


def _raise_pending() -> None:
    global _pending
    if (
        _pending is not None
        and not _deferred
        and threading.current_thread() is threading.main_thread()
    ):
        error, _pending = _pending, None
        raise error


class _Hold:
    """In the main thread: no exception of a signal inside this block; one that came is raised at
    its end.
    """

    def __enter__(self) -> None:
        global _held
        if threading.current_thread() is threading.main_thread():
            _held += 1

    def __exit__(self, *_: object) -> None:
        global _held
        if threading.current_thread() is threading.main_thread():
            _held -= 1
            if not _held:
                _raise_pending()


#: for what is short and takes locks of others, such as starting a thread
hold = _Hold()


class Condition:
    """As :class:`threading.Condition`, for a main thread that signals interrupt; its waits end when
    one has come.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()

    def __enter__(self) -> Condition:
        hold.__enter__()
        self._condition.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._condition.__exit__(kind, error, trace)
        hold.__exit__()

    def wait_for(self, predicate: Callable[[], object]) -> None:
        """Wait until ``predicate`` is true.

        :raises Interrupted: a signal came first.
        """
        while not predicate():
            self._condition.wait(_LOOK)
            _raise_pending()

    def notify_all(self) -> None:
        """Let those who wait look again."""
        self._condition.notify_all()
