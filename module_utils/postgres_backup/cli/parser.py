"""How the command line asks: options, arguments, and what is typed becoming what is meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn, Protocol

from .. import __version__
from ..errors import UsageError
from ..machine import config_file
from . import slips


class Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other, also where JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        self._refuse(*slips.told(message, self.prog, self.takes()))

    def understand(self, typed: Sequence[str]) -> argparse.Namespace:
        """What was typed.

        :raises UsageError: something of it is not known; says what may be meant.
        """
        asked, left = self.parse_known_args(typed)
        if left:
            of = next(
                action.choices[asked.command]
                for action in self._actions
                if isinstance(action, argparse._SubParsersAction)
            )
            self._refuse(*slips.left_over(left, of.prog, of.takes()))
        return asked

    def takes(self) -> dict[str, str]:
        """Option -> what its value is called; empty where it takes none."""
        return {
            option: "" if action.nargs == 0 else str(action.metavar or "VALUE")
            for action in self._actions
            for option in action.option_strings
        }

    def _refuse(self, cause: str, hint: str) -> NoReturn:
        raise UsageError(f"Failed to understand the command: {cause}", hint)


class Formatter(argparse.HelpFormatter):
    """Fills the text of a help, and leaves lines that begin with a blank (examples) as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        kept = (
            [line] if line.startswith(" ") else [super(Formatter, self)._fill_text(line, width, "")]
            for line in text.splitlines()
        )
        return "\n".join(indent + line for lines in kept for line in lines)


class Argument:
    """One argument of a command, as ``argparse.ArgumentParser.add_argument`` takes it."""

    def __init__(self, *flags: str, **options: object) -> None:
        self._flags, self._options = flags, options

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Let this parser know the argument."""
        # argparse has a type for each option, and they come here as one
        parser.add_argument(*self._flags, **self._options)  # type: ignore[arg-type]


class Command(Protocol):
    """What the parser wants to know of a command."""

    @property
    def name(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def arguments(self) -> tuple[Argument, ...]: ...

    @property
    def examples(self) -> tuple[str, ...]: ...


#: what every command takes, before or after its name
COMMON = (
    Argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"settings to use (default: {config_file.DEFAULT_CONFIG})",
    ),
    Argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="the result as one JSON object on standard output",
    ),
    Argument(
        "--log-format",
        choices=("text", "json"),
        default=argparse.SUPPRESS,
        help="how each step is told on standard error (default: text; json for machines)",
    ),
    Argument(
        "--journald",
        action="store_true",
        default=argparse.SUPPRESS,
        help="tell each step to the system's journal too: journalctl -t postgres-backup",
    ),
)
PROGRAM = "postgres-backup"
_EPILOG = (
    "Exit status: 0 done; 1 failed, nothing was lost; 2 wrong usage or settings, nothing was "
    "touched; 3 another run holds the lock; 4 a check found a backup bad."
)


def build(commands: Iterable[Command]) -> Parser:
    """The parser of the whole command line."""
    common = Parser(add_help=False)
    for argument in COMMON:
        argument.add_to(common)
    parser = Parser(
        prog=PROGRAM,
        parents=[common],
        description="Backups of PostgreSQL into S3-compatible object storage, and the way back.",
        epilog=f"{PROGRAM} COMMAND --help shows the options of a command, and examples.\n{_EPILOG}",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"postgres-backup {__version__}")
    those = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        one = those.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            parents=[common],
            epilog="\n".join(["Examples:", *(f"  {PROGRAM} {line}" for line in command.examples)]),
            formatter_class=Formatter,
        )
        for argument in command.arguments:
            argument.add_to(one)
    return parser


def names(typed: str) -> list[str]:
    """Patterns between commas; a comma in double quotes belongs to a name, as in ``'users,"odd,
    one"'``.
    """
    return [name.strip() for name in re.findall(r'(?:"[^"]*"|[^,"]|")+', typed) if name.strip()]


#: days that a calendar can go back
_CENTURY = 36_500


def days(typed: str) -> float:
    """A number of days.

    :raises UsageError: it is none, or before all there is.
    """
    try:
        found = float(typed)
    except ValueError:
        found = -1
    if not 0 <= found <= _CENTURY:  # nor is "nan"
        raise UsageError(
            f"{typed[:40]!r} is no number of days", f"Write 0 to {_CENTURY}, such as 7"
        )
    return found


def whole_days(typed: str) -> int:
    """A whole number of days.

    :raises UsageError: it is none, or more than a calendar has.
    """
    found = days(typed)
    if found != int(found):
        raise UsageError(f"{typed[:40]!r} is no whole number of days", "Write one, such as 7")
    return int(found)


def private_keys(path: str) -> tuple[str, ...]:
    """The private keys in an age key file (lines that begin with AGE-SECRET-KEY-).

    :raises UsageError: it cannot be read, or holds none.
    """
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8") as file:
            found = tuple(line.strip() for line in file if line.startswith("AGE-SECRET-KEY-"))
    except OSError as error:
        raise UsageError(
            f"Failed to read the key file {path}: {error.strerror}",
            "Name the file of the private key, one that this user may read",
        ) from None
    if not found:
        raise UsageError(
            f"There is no private key in {path}",
            "A line of it begins with AGE-SECRET-KEY-1; age-keygen makes one",
        )
    return found
