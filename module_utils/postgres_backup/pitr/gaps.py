"""What is missing in an archive: found by counting, for the engine's own checks do not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..postgresql.log_pieces import name_of, number_of

#: as an archive has it: with a check sum, and compressed
_ARCHIVED = re.compile(r"(?:.*/)?([0-9A-F]{24})-[0-9a-f]{40}(\.\w+)?$")


def segments(names: Iterable[str], segment_bytes: int) -> dict[int, set[int]]:
    """Timeline -> the numbers of its pieces, of what an archive holds."""
    found: dict[int, set[int]] = {}
    for name in names:
        if parts := _ARCHIVED.fullmatch(name.strip()):
            timeline, number = number_of(parts[1], segment_bytes)
            found.setdefault(timeline, set()).add(number)
    return found


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
                    (
                        name_of(line, before + 1, segment_bytes),
                        name_of(line, number - 1, segment_bytes),
                    )
                )
            before = number
    if before < first:
        gaps.append((name_of(timeline, first, segment_bytes),) * 2)
    return gaps
