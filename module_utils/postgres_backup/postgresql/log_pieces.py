"""What the pieces of PostgreSQL's log are called. Pure.

A piece is called by its timeline, and by a number that grows by one: of 24 hexadecimal digits the
first 8 and the rest, whose last 8 begin anew where a file of 4 GB is full (PostgreSQL's
documentation, "WAL Internals").
"""

from __future__ import annotations

_FULL_FILE = 1 << 32


def number_of(name: str, piece_bytes: int) -> tuple[int, int]:
    """Timeline and number of ``000000010000000000000003``.

    :param piece_bytes: how large a piece is.
    """
    of_one = _FULL_FILE // piece_bytes
    return int(name[:8], 16), int(name[8:16], 16) * of_one + int(name[16:24], 16)


def name_of(timeline: int, number: int, piece_bytes: int) -> str:
    """The other way round."""
    log, piece = divmod(number, _FULL_FILE // piece_bytes)
    return f"{timeline:08X}{log:08X}{piece:08X}"
