"""What is missing in an archive: found by counting, for the engine's own checks do not. Pure.

A piece of the log is called by its timeline, and by a number that grows by one: of 24 hexadecimal
digits the first 8 and the rest, whose last 8 begin anew where a file of 4 GB is full (PostgreSQL's
documentation, "WAL Internals").
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: as an archive has it: with a check sum, and compressed
_ARCHIVED = re.compile(r"(?:.*/)?([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})-[0-9a-f]{40}(\.\w+)?$")
_FULL_FILE = 1 << 32


def segments(names: Iterable[str], segment_bytes: int) -> dict[int, set[int]]:
    """Timeline -> the numbers of its pieces, of what an archive holds."""
    found: dict[int, set[int]] = {}
    for name in names:
        if parts := _ARCHIVED.fullmatch(name.strip()):
            timeline, log, piece = (int(part, 16) for part in parts.groups()[:3])
            found.setdefault(timeline, set()).add(_number(log, piece, segment_bytes))
    return found


def number_of(segment: str, segment_bytes: int) -> tuple[int, int]:
    """Timeline and number of ``000000010000000000000003``."""
    return int(segment[:8], 16), _number(
        int(segment[8:16], 16), int(segment[16:], 16), segment_bytes
    )


def missing(
    have: dict[int, set[int]], since: tuple[int, int], segment_bytes: int
) -> list[tuple[str, str]]:
    """The first and the last name of each row of pieces that are missing.

    :param since: timeline and number from which on all must be there: the first of a backup.
    """
    gaps: list[tuple[str, str]] = []
    timeline, first = since
    before = first - 1
    for line in sorted(one for one in have if one >= timeline):
        numbers = sorted(number for number in have[line] if number >= first)
        if line != timeline and numbers:
            # it begins in a piece of the one before, or right behind it
            before = min(before, numbers[0] - 1) if numbers[0] <= before + 1 else before
        for number in numbers:
            if number > before + 1:
                gaps.append(
                    (_name(line, before + 1, segment_bytes), _name(line, number - 1, segment_bytes))
                )
            before = number
    if before < first:
        gaps.append((_name(timeline, first, segment_bytes),) * 2)
    return gaps


def _number(log: int, piece: int, segment_bytes: int) -> int:
    return log * (_FULL_FILE // segment_bytes) + piece


def _name(timeline: int, number: int, segment_bytes: int) -> str:
    log, piece = divmod(number, _FULL_FILE // segment_bytes)
    return f"{timeline:08X}{log:08X}{piece:08X}"
