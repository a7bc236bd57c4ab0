"""The lines of crontabs that run something: whose they are, when they run, what they call."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ASSIGNMENT = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*=")
_FIELDS = re.compile(r"\s*(@[a-z]+|(?:\S+\s+){4}\S+)\s+(.*)")
_USER = re.compile(r"(\S+)\s+(.*)")
#: what may stand around a script without doing work of its own
_AROUND = frozenset(
    "cd . source test [ sleep exit true : nice ionice env bash sh dash flock timeout chronic"
    " systemd-cat logger tee ts date echo setsid nohup sudo"
    # and what tells somebody how it went
    " mail mailx sendmail curl wget".split()
)
_OPERATORS = re.compile(r"[;&|()]+")


@dataclass(frozen=True)
class Line:
    """A line of a crontab that runs a command.

    :param path: of the crontab.
    :param text: the whole line as it stands, without its end.
    :param when: its five fields, or a word such as ``@daily``.
    """

    path: str
    text: str
    user: str
    when: str
    command: str


def lines_of(path: str, text: str, user: str = "") -> Iterator[Line]:
    """The lines of one crontab that run something.

    :param user: whose it is; empty: it is the system's, whose lines name the user.
    """
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#") or _ASSIGNMENT.match(line):
            continue
        if not (found := _FIELDS.fullmatch(line)):
            continue
        when, command, whose = " ".join(found[1].split()), found[2], user
        if not user:
            if not (named := _USER.fullmatch(command)):
                continue
            whose, command = named[1], named[2]
        yield Line(path, line, whose, when, command.strip())


def called(command: str) -> list[str]:
    """The files that a command may run: its words that are paths, those after ``cd`` too."""
    words, folder, paths = words_of(command), "", []
    for before, word in zip(["", *words], words, strict=False):
        if before == "cd":
            folder = word
        elif word.startswith("/"):
            paths.append(word)
        elif folder and re.fullmatch(r"[\w./-]+", word):
            paths.append(os.path.join(folder, word))
    return [os.path.normpath(path) for path in paths if os.path.isfile(path)]


def does_more(command: str, script: str) -> bool:
    """Whether it runs something beside the script, which would end with the line."""
    parts = [part for part in _split(words_of(command)) if part]
    return any(not _is_around(part, script) for part in parts)


def log_of(command: str) -> str:
    """The file that its output is appended to; empty where there is none."""
    found = re.search(r"(?:^|[^0-9>&])1?>>?\s*(/[^\s;&|]+)", command)
    return "" if not found or found[1].startswith("/dev/") else found[1]


def words_of(command: str) -> list[str]:
    """Its words, operators such as ``&&`` and ``>>`` as words of their own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # a quote is never closed
        return command.split()


def _split(words: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if _OPERATORS.fullmatch(word):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _is_around(part: Sequence[str], script: str) -> bool:
    """Whether a simple command is the script, or does nothing of its own."""
    name = os.path.basename(script)
    if any(os.path.basename(word) == name for word in part):
        return True
    word = next((word for word in part if "=" not in word), "")
    # what is left of a redirection such as 2>&1
    return not word or os.path.basename(word) in _AROUND or bool(re.fullmatch(r"\d+|>+|-", word))
