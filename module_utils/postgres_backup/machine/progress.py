"""What a long step tells while it runs: on a terminal, in a log, or in a file that Ansible reads.

A use case calls :meth:`Progress.phase` and :meth:`Progress.advance`; which of the three shows it is
decided once, by whoever starts the program.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import os
import sys
import syslog
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TextIO

from ..text import human_bytes, printable, wrapped
from .files import replace_file


def say(text: str, stream: TextIO | None) -> str:
    """Write to a stream whose reader may have left (``| head``), whose disk may be full, or that
    was closed before we came: none is a reason to lose a backup.

    :return: what is wrong with its disk; empty where all is well, or nobody wants to read.
    """
    if stream is None:
        return ""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return "" if error.errno == errno.EPIPE else error.strerror or str(error)
    return ""


def columns(stream: TextIO | None) -> int:
    """How wide a terminal is; 0 where the stream is none, and lines stay as they are."""
    try:
        if stream is None or not stream.isatty():
            return 0
        # a serial console does not know its width
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # closed, or none of the system's
        return 0


class Progress:
    """Says nothing. The base of the others, and what a test uses."""

    #: seconds between two reports of the same phase
    interval = 0.2

    def __init__(self) -> None:
        self._begin("")
        #: why the log cannot be written; empty where it can, None where there is none
        self.log_trouble: str | None = None

    def _begin(self, name: str) -> None:
        self.name, self.started, self.done = name, time.monotonic(), 0
        #: the table in hand, as the last report told it
        self.table = ""
        self._next = 0.0

    def phase(self, name: str, detail: str = "") -> None:
        """A new step begins, such as ``dumping crm``; ``detail`` is told once, and would leave no
        room for numbers in the line that renews itself.
        """
        self._begin(name)
        self.step(name + detail)

    def advance(self, count: int, table: str | Callable[[], str] = "") -> None:
        """``count`` more bytes went through; ``table`` is the one in hand, or a function that knows
        it.
        """
        self.done += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.interval
            self.table = table() if callable(table) else table
            self.report()

    def step(self, text: str) -> None:
        """Something worth a line of its own has begun or ended."""

    def report(self) -> None:
        """Called at most every :attr:`interval` seconds while bytes go through."""

    def close(self) -> None:
        """Nothing more will be told."""

    def line(self) -> str:
        """``dumping crm: 246.0 MB, 91.4 MB/s, public.orders``."""
        seconds = max(time.monotonic() - self.started, 1e-6)
        parts = [f"{self.name}: {human_bytes(self.done)}", f"{human_bytes(self.done / seconds)}/s"]
        return printable(", ".join(parts + ([self.table] if self.table else [])))


class Recorder(Progress):
    """Passes everything on to another, and remembers its last lines."""

    def __init__(self, to: Progress, most: int = 50) -> None:
        super().__init__()
        self._to, self.log_trouble = to, to.log_trouble
        self.lines: collections.deque[str] = collections.deque(maxlen=most)

    def phase(self, name: str, detail: str = "") -> None:
        self.lines.append(name + detail)
        self._to.phase(name, detail)

    def advance(self, count: int, table: str | Callable[[], str] = "") -> None:
        self._to.advance(count, table)

    def step(self, text: str) -> None:
        self.lines.append(text)
        self._to.step(text)
        self.log_trouble = self._to.log_trouble

    def close(self) -> None:
        self._to.close()


class LogProgress(Progress):
    """Lines with UTC times, for a log: one a step, and one a minute of a long one.

    :param as_json: each line is a JSON object, for machines: ``at``, ``message``, and ``phase bytes
        table`` while bytes go through.
    :param journal: also to the system's journal, under the name ``postgres-backup`` (through
        syslog, which journald serves).
    """

    interval = 60.0

    def __init__(
        self, stream: TextIO | None = None, as_json: bool = False, journal: bool = False
    ) -> None:
        super().__init__()
        self.stream, self.as_json, self.journal = stream or sys.stderr, as_json, journal
        if journal:
            syslog.openlog("postgres-backup", syslog.LOG_PID, syslog.LOG_DAEMON)

    def phase(self, name: str, detail: str = "") -> None:
        super().phase(name, detail)
        self._next = time.monotonic() + self.interval

    def step(self, text: str) -> None:
        self._write(text, {})

    def report(self) -> None:
        self._write(self.line(), {"phase": self.name, "bytes": self.done, "table": self.table})

    def _write(self, text: str, numbers: Mapping[str, object]) -> None:
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        line = (
            json.dumps({"at": now, "message": text, **numbers}, ensure_ascii=False)
            if self.as_json
            else f"{now} {printable(text)}"
        )
        wrong = say(line + "\n", self.stream)
        if wrong and not self.log_trouble:
            self.log_trouble = f"Failed to write the log: {wrong}"
        if self.journal:
            # an embedded NUL is the one thing that syslog refuses, and printable() leaves none
            syslog.syslog(
                syslog.LOG_ERR if text.startswith("FAILED") else syslog.LOG_INFO, printable(text)
            )


class TerminalProgress(Progress):
    """One line on a terminal that renews itself."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self.stream = stream or sys.stderr
        self._shown = False

    def step(self, text: str) -> None:
        self.close()
        lines = wrapped(printable(text), columns(self.stream))
        say("".join(f"{line}\n" for line in lines), self.stream)

    def report(self) -> None:
        text = self.line()[: (columns(self.stream) or 80) - 1]
        say("\r\x1b[2K" + text, self.stream)
        self._shown = True

    def close(self) -> None:
        if self._shown:
            say("\r\x1b[2K", self.stream)
            self._shown = False


class FileProgress(Progress):
    """The latest state as JSON in a file, replaced whole, for an action plugin to read.

    Keys: ``pid``, ``phase``, ``bytes``, ``table``, ``line``, ``steps`` (every step so far, in
    order).
    """

    interval = 0.5

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.steps: list[str] = []
        self._write("")

    def step(self, text: str) -> None:
        self.steps.append(text)
        self._write(text)

    def report(self) -> None:
        self._write(self.line())

    def _write(self, line: str) -> None:
        state = {
            "pid": os.getpid(),
            "phase": self.name,
            "bytes": self.done,
            "table": self.table,
            "line": line,
            "steps": self.steps,
        }
        with contextlib.suppress(OSError):  # a full disk; the work itself needs none
            replace_file(self.path, json.dumps(state).encode())
