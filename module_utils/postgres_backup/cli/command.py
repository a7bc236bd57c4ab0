"""What a command is: a name, its help, its arguments and the function that does it; and the
arguments that several of them share.

A use case is imported inside the function of its command: what cron calls every quarter of an hour
must not wait for libraries that it does not need.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..machine.progress import Progress
from ..settings import Settings
from .parser import Argument, private_keys

if TYPE_CHECKING:
    from ..job import Job


@dataclasses.dataclass(frozen=True)
class Call:
    """A command as it was typed, and for whom."""

    arguments: argparse.Namespace
    settings: Settings
    progress: Progress

    @property
    def check(self) -> bool:
        """Say what would be done, and do nothing."""
        return getattr(self.arguments, "check", False)

    @property
    def job(self) -> Job:
        """The work that is asked for."""
        from ..job import Job

        asked = self.arguments
        return Job(
            self.settings,
            getattr(asked, "database", ""),
            getattr(asked, "identity", ()),
            self.check,
            self.progress,
            getattr(asked, "trust_unsigned", False),
            getattr(asked, "roles_with_power", False),
            smaller=getattr(asked, "smaller", False),
        )


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of it: the result, what it says to a person, and the exit status."""

    result: Mapping[str, object]
    lines: Sequence[str] = ()
    exit_status: int = 0


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    :param stays_root: files return to their owners only by root's hand; nothing of it touches the
        state.
    :param bucket_only: settings that name no more than a bucket are enough.
    :param in_the_background: nobody sits before it: it tells its steps as a log, on a terminal too.
    :param examples: as they are typed, without the name of the program.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...]
    perform: Callable[[Call], Answer]
    stays_root: bool = False
    bucket_only: bool = False
    in_the_background: bool = False
    examples: tuple[str, ...] = ()


#: by name; :mod:`commands` has them in the order of ``--help``
REGISTERED: dict[str, Command] = {}


def command(
    name: str,
    help: str,
    *arguments: Argument,
    stays_root: bool = False,
    bucket_only: bool = False,
    in_the_background: bool = False,
    examples: Sequence[str],
) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Register the function below as the command of that name."""

    def register(perform: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        REGISTERED[name] = Command(
            name,
            help,
            arguments,
            perform,
            stays_root,
            bucket_only,
            in_the_background,
            tuple(examples),
        )
        return perform

    return register


def unlogged(lines: list[str], check: bool = False) -> list[str]:
    """What standard output has to say when the log has ended with the first line: the rest.

    :param check: the log does not end so.
    """
    return lines if check else lines[1:]


DATABASE = Argument(
    "--database",
    default="",
    metavar="NAME",
    help="which database, where the settings name several",
)
CHECK = Argument("--check", action="store_true", help="say what would be done, and do nothing")
IDENTITY = Argument(
    "--identity",
    metavar="FILE",
    type=private_keys,
    default=(),
    help="private age key, for an encrypted backup",
)
LOG_FILE = Argument(
    "--log-file",
    metavar="FILE",
    default="",
    help="write to the end of this file; where it cannot be written, the work is done all the "
    "same, and that is an alarm",
)
FROM = Argument(
    "--from",
    dest="source",
    choices=("copy",),
    default="",
    help="copy: from the second store (backup_copy_to) instead of the first",
)
