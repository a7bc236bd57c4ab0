"""The command line ``postgres-backup``: the frame around a command: environment, signals, settings,
the exit status.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from ..machine import config_file, damage, log_file, signals
from ..machine.progress import LogProgress, Progress, TerminalProgress
from ..settings import Settings
from . import instead, parser
from .answers import failure_of, show, show_failure
from .by_itself import NOT_DUE, worth_beginning
from .command import Answer, Call
from .commands import COMMANDS
from .owner import become_owner

#: whoever types these has trouble already
_IN_NEED = ("restore", "restore-kit", "undo-restore")


def main(argv: Sequence[str] | None = None) -> int:
    """:return: the exit status of the contract."""
    _forget_libpq()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    typed = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in typed
    frame = _Frame()
    answer: Answer | None = None
    try:
        try:
            answer = frame.perform(typed)
        except Exception as error:  # noqa: BLE001 - the last one to hear of it; never a traceback
            failure = failure_of(error, frame.hide)
        signals.defer()
    except KeyboardInterrupt as stop:
        answer, failure = None, failure_of(signals.stopped(stop), frame.hide)
    signals.deaf()
    frame.tell_troubles(failure if answer is None else answer.result)
    frame.progress.close()
    if answer is None:
        show_failure(failure, as_json, frame.contact)
        return failure["exit_status"]
    show(answer.result, answer.lines, as_json)
    return answer.exit_status


class _Frame:
    """What is known so far: a failure is told with it."""

    def __init__(self) -> None:
        self.progress: Progress = LogProgress()
        self.settings: Settings | None = None
        self.hide: Callable[[str], str] = str
        #: whom to call if it fails; empty: nobody, who typed it knows what to do
        self.contact = ""

    def perform(self, typed: Sequence[str]) -> Answer:
        arguments = parser.build(COMMANDS.values()).understand(typed)
        if not worth_beginning(arguments):
            return NOT_DUE
        signals.listen()
        command = COMMANDS[arguments.command]
        if not command.in_the_background:  # who has nobody before it tells in its own way
            signals.heed()
        self.progress = _progress(arguments, command.in_the_background)
        config = getattr(arguments, "config", config_file.DEFAULT_CONFIG)
        if not command.stays_root:
            become_owner(config)
        if path := getattr(arguments, "log_file", ""):  # made by its owner, and never by root
            self.progress.log_trouble = log_file.write_to(path)
            if self.progress.log_trouble:
                self.progress.step(self.progress.log_trouble)
        settings = config_file.load(config, bucket_only=command.bucket_only)
        source = getattr(arguments, "source", None)
        if source == "copy":
            settings = settings.of_copy()
        self.settings, self.hide = settings, settings.hide
        if arguments.command in _IN_NEED:
            self.contact = settings.contact
        call = Call(arguments, settings, self.progress)
        if source is None:
            return command.perform(call)
        with instead.told(settings):
            return command.perform(call)

    def tell_troubles(self, answer: Mapping[str, object]) -> None:
        """What the state could not do, and the answer does not say."""
        said = answer.get("findings", [])
        for found in damage.troubles(self.settings) if self.settings else []:
            if not (isinstance(said, list) and found in said):
                self.progress.step(self.hide(f"{found['code']}: {found['message']}"))


def _forget_libpq() -> None:
    """The settings alone say which server; libpq would listen to PGHOSTADDR, PGOPTIONS and thirty
    more.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _progress(arguments: argparse.Namespace, in_the_background: bool) -> Progress:
    """A line that renews itself for whoever sits before a terminal, else the lines of a log."""
    as_json = getattr(arguments, "log_format", "text") == "json"
    journal = getattr(arguments, "journald", False)
    if sys.stderr.isatty() and not (as_json or journal or in_the_background):
        return TerminalProgress()
    return LogProgress(as_json=as_json, journal=journal)
