"""JSON that lies in the bucket or in the state, read as the TypedDict that it should be.

Whoever may write to the bucket, or a disk that went bad, wrote it, so nothing is believed: not its
size, not its depth, not the kind of any field. What fits is handed on as the type that it was
looked at for; what does not is one :class:`Unfit`, and nothing else. Fields that a shape does not
know are those of a newer version: they stay, within the same bounds. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import TypeVar, cast

from ..text import printable
from .kinds import kind_of

#: bytes of a document at most; where it has letters that are not ASCII half of it, because each of
#: its letters may then take four bytes of memory
MOST_BYTES = 32 * 1024 * 1024
#: commas and opening brackets at most, which bound what the values take of memory
_MOST_MARKS = 700_000
#: letters of what was found that a message quotes
_QUOTED = 80

T = TypeVar("T")


class Unfit(ValueError):
    """What was read is not of its shape; the text says where, and why."""


def fitted(found: object, shape: type[T]) -> T:
    """What was found, once it was seen to be of that shape.

    :param shape: a TypedDict; what its annotations say is looked at, all the way in.
    :raises Unfit: it is not; names the field.
    """
    why = kind_of(cast(Hashable, shape)).wrong(found)
    if not why:
        return cast(T, found)
    where, _, cause = why.lstrip(".").rpartition(": ")
    raise Unfit(f"no sensible {where}: {cause}" if where else cause)


def load(data: bytes, most_bytes: int = MOST_BYTES, any_letters: bool = False) -> dict[str, object]:
    """The JSON object in these bytes, whatever its fields; in at most 200 MB of memory.

    :param any_letters: texts may hold what PostgreSQL knows in none: NUL, and half a letter.
    :raises Unfit: they are none, or one that is too large or too deep, names a field twice, or
        holds what no text or number of a database can be.
    """
    if len(data) > (most_bytes if data.isascii() else most_bytes // 2):
        raise Unfit(f"it has {len(data)} bytes, more than such an object may have")
    if sum(map(data.count, (b",", b"{", b"["))) > _MOST_MARKS:
        raise Unfit("it has more values than such an object may have")
    try:
        found: object = json.loads(
            data.decode(), object_pairs_hook=_without_twins, parse_constant=_no_number
        )
    except Unfit:
        raise
    except (ValueError, RecursionError) as error:
        raise Unfit(printable(str(error)[:_QUOTED])) from None
    if not isinstance(found, dict):
        raise Unfit("it is not one of ours")
    if b"\\u" in data and not any_letters:  # no other way leads to them
        _require_texts(found)
    return found


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unfit("it names a field twice")
    return found


def _no_number(text: str) -> object:
    raise Unfit(f"{text} is no number")


_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def _require_texts(found: object) -> None:
    """:raises Unfit: a NUL, which PostgreSQL knows in no text, or half of a letter."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if _NO_TEXT.search(one):
                raise Unfit("a text holds what is no letter")
        elif isinstance(one, dict):
            waiting += one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
