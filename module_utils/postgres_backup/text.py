"""Words for people: numbers that read well, names that are near, letters that a terminal can show.
Pure.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable


def nearest(wanted: str, existing: Iterable[str]) -> list[str]:
    """The three names most like ``wanted``, best first (newest first among equals)."""
    newest_first = sorted(existing, reverse=True)
    return sorted(
        newest_first, key=lambda name: -difflib.SequenceMatcher(None, wanted, name).ratio()
    )[:3]


def human_bytes(count: float) -> str:
    """``246.0 MB`` for 246,000,000 (decimal units, as S3 providers bill)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """``4.2 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def human_age(hours: float) -> str:
    """``25 min``, ``7.5 h`` or ``12 d``."""
    if hours < 1:
        return f"{max(hours, 0) * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} d"


def printable(text: str) -> str:
    r"""``text`` on one line: a name that holds a newline or an escape must not forge a line of a
    log (``\n`` stands there instead).
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


#: columns below which nothing is wrapped: there is no room to indent
_FEWEST = 40
#: a command to type, up to the end of its sentence: cut in two, its first half could be typed alone
_COMMAND = re.compile(
    r"\b(?:ansible-playbook|postgres-backup)(?: (?!\()(?:[^\s`;.,:]|[`;.,:](?![\s`]|$))+)+"
)


def wrapped(line: str, columns: int) -> list[str]:
    """A line in pieces of so many columns; what goes on is indented two further.

    Words stay whole, and so do commands: where one is longer, the terminal breaks it, and it is
    copied whole.
    """
    if len(line) <= columns or columns < _FEWEST:
        return [line]
    indent = " " * (len(line) - len(line.lstrip(" ")))
    bound = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), line.lstrip(" "))
    pieces = textwrap.wrap(
        bound,
        columns,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [piece.replace("\0", " ") for piece in pieces]
