"""How results and errors are laid out: as one JSON object, as lines for a person, or in a sentence.

What a result says stands beside the function that returns it, as ``lines``; here it is only shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

from ..errors import in_words
from ..findings import Finding
from ..machine.progress import columns, say
from ..text import printable, wrapped


class Failure(TypedDict):
    """The answer to what did not go well, the same from the command line and from a module."""

    failed: Literal[True]
    error: str
    hint: str
    findings: list[Finding]
    exit_status: int


def failure_of(any_error: Exception, hide: Callable[[str], str] = str) -> Failure:
    """Say what failed, why and what to type next.

    :param any_error: a mistake of this program becomes a sentence as well, never a traceback.
    :param hide: blots out every secret that found its way in.
    """
    error = in_words(any_error)
    return {
        "failed": True,
        "error": hide(error.message),
        "hint": hide(error.hint),
        "findings": [one | {"message": hide(one["message"])} for one in error.findings],
        "exit_status": error.exit_status,
    }


def failure_lines(failure: Failure) -> list[str]:
    """For a person: the error, its findings, and what to do."""
    return [
        f"postgres-backup: {failure['error']}",
        *(f"  {one['code']}: {one['message']}" for one in failure["findings"]),
        *([f"  {failure['hint']}"] if failure["hint"] else []),
    ]


def sentence(failure: Failure) -> str:
    """``message. hint`` on one line, for whoever has room for one."""
    message = failure["error"].rstrip(". ")
    return f"{message}. {failure['hint']}" if failure["hint"] else message


def show(result: Mapping[str, object], lines: Sequence[str], as_json: bool) -> None:
    """A result, on standard output."""
    if as_json:
        say(json.dumps(result, default=str) + "\n", sys.stdout)
    elif lines:
        say(_text(lines, columns(sys.stdout)), sys.stdout)


def show_failure(failure: Failure, as_json: bool, contact: str = "") -> None:
    """A failure: for a person on standard error, for a program on standard output too.

    :param contact: whom to call, where it is more than a slip of the pen.
    """
    if as_json:
        say(json.dumps(failure) + "\n", sys.stdout)
    call = [f"  Whom to call: {contact}"] if contact and failure["exit_status"] in (1, 4) else []
    say(_text([*failure_lines(failure), *call], columns(sys.stderr)), sys.stderr)


def _text(lines: Sequence[str], width: int) -> str:
    """:param width: of the terminal; 0: there is none, and nothing is wrapped."""
    return "".join(f"{piece}\n" for line in lines for piece in wrapped(printable(line), width))
