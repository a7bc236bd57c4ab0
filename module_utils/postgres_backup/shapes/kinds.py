"""What may stand in a field of JSON, said in the annotations of a TypedDict
(``Annotated[int, Whole(0, 65535)]``); where they say nothing, the usual bounds of the kind hold.

Many records of one shape are looked at field by field and not one by one, which takes a third of
the time. Pure.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Literal,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from ..clock import parse_timestamp
from ..text import printable

#: objects and lists within each other, in what no shape knows
_DEEPEST = 16
#: numbers that a database counts with
LARGEST = 2**63 - 1
#: letters of a text, things in a list, where nothing else is said
_MOST_LETTERS, _MOST_THINGS = 100_000, 10_000
#: letters of a field's name that a message quotes
_QUOTED = 80


class Kind:
    """What may stand in a field."""

    def wrong(self, value: object) -> str:
        """Why this value may not; empty where it may. Begins with ``.name`` where the fault lies
        further in, and with ``:`` where it is the value itself.
        """
        raise NotImplementedError

    def all_fit(self, values: Sequence[object]) -> bool:
        """Whether each of them may; a no is looked into by :meth:`wrong`."""
        return not any(map(self.wrong, values))


class Text(Kind):
    """A text of at most so many letters.

    :param alphabet: a regular expression for the whole of it; empty: any letters.
    """

    def __init__(self, most: int = _MOST_LETTERS, alphabet: str = "") -> None:
        self.most = most
        self._match = re.compile(alphabet, re.DOTALL).fullmatch if alphabet else None

    def wrong(self, value: object) -> str:
        if type(value) is not str:
            return ": it is no text"
        if len(value) > self.most:
            return f": it has more than {self.most} letters"
        if self._match and not self._match(value):
            return ": it is not written as it should be"
        return ""

    def all_fit(self, values: Sequence[object]) -> bool:
        if any(kind is not str for kind in set(map(type, values))):
            return False
        texts = cast(Sequence[str], values)
        if max(map(len, texts), default=0) > self.most:
            return False
        return self._match is None or all(map(self._match, texts))


class Sha256(Kind):
    """A SHA-256, hexadecimal."""

    def wrong(self, value: object) -> str:
        return "" if self.all_fit([value]) else ": it is no SHA-256"

    def all_fit(self, values: Sequence[object]) -> bool:
        if any(kind is not str for kind in set(map(type, values))):
            return False
        texts = cast(Sequence[str], values)
        if set(map(len, texts)) - {64}:
            return False
        # all of them at once: a manifest has one for each table
        return not "".join(texts).encode(errors="replace").translate(None, b"0123456789abcdef")


class OneOf(Kind):
    """One of these texts."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def wrong(self, value: object) -> str:
        return "" if type(value) is str and value in self._texts else ": it is none that is known"


class Moment(Kind):
    """A time as all of ours are written (``2026-01-27T00:00:00Z``)."""

    def wrong(self, value: object) -> str:
        if type(value) is not str or len(value) != 20:
            return ": it is no time"
        try:
            parse_timestamp(value)
        except ValueError:
            return ": there is no such time"
        return ""


class Whole(Kind):
    """A whole number in a range."""

    def __init__(self, least: int = 0, most: int = LARGEST) -> None:
        self._least, self._most = least, most

    def wrong(self, value: object) -> str:
        if type(value) is not int:  # true is none, although Python counts with it
            return ": it is no whole number"
        return "" if self._least <= value <= self._most else ": it is out of range"

    def all_fit(self, values: Sequence[object]) -> bool:
        if any(kind is not int for kind in set(map(type, values))):
            return False
        numbers = cast(Sequence[int], values)
        return not numbers or (self._least <= min(numbers) and max(numbers) <= self._most)


class Number(Kind):
    """A number, whole or not, in a range."""

    def __init__(self, least: float = 0.0, most: float = 1e15) -> None:
        self._least, self._most = least, most

    def wrong(self, value: object) -> str:
        if type(value) not in (int, float):
            return ": it is no number"
        return "" if self._least <= cast(float, value) <= self._most else ": it is out of range"


class Most:
    """At most so many things in a list or an object; the word for ``Annotated``."""

    def __init__(self, count: int) -> None:
        self.count = count


class _YesNo(Kind):
    def wrong(self, value: object) -> str:
        return "" if type(value) is bool else ": it is neither true nor false"


class _Anything(Kind):
    """JSON of any kind, not too deep, and without numbers that nothing can count with."""

    def wrong(self, value: object) -> str:
        level: list[object] = [value]
        for _ in range(_DEEPEST):
            inside: list[object] = []
            for one in level:
                if isinstance(one, dict):
                    inside += one.values()
                elif isinstance(one, list):
                    inside += one
                elif isinstance(one, (int, float)) and not -LARGEST <= one <= LARGEST:
                    return ": it holds a number out of range"
            if not inside:
                return ""
            level = inside
        return f": it is deeper than {_DEEPEST}"


class _OrNone(Kind):
    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def wrong(self, value: object) -> str:
        return "" if value is None else self._kind.wrong(value)


class _List(Kind):
    def __init__(self, kind: Kind, most: int) -> None:
        self._kind, self._most = kind, most

    def wrong(self, value: object) -> str:
        if type(value) is not list:
            return ": it is no list"
        if len(value) > self._most:
            return f": it has more than {self._most} entries"
        if self._kind.all_fit(value):
            return ""
        return _first_wrong(self._kind, ((str(at), one) for at, one in enumerate(value)))


class _Map(Kind):
    def __init__(self, key: Kind, kind: Kind, most: int) -> None:
        self._key, self._kind, self._most = key, kind, most

    def wrong(self, value: object) -> str:
        if type(value) is not dict:
            return ": it is no object"
        if len(value) > self._most:
            return f": it has more than {self._most} entries"
        if not self._key.all_fit(list(value)):
            return _first_wrong(self._key, ((name, name) for name in value))
        if self._kind.all_fit(list(value.values())):
            return ""
        return _first_wrong(self._kind, value.items())


class _Record(Kind):
    def __init__(self, fields: Mapping[str, Kind], required: frozenset[str]) -> None:
        self._fields, self._required = tuple(fields.items()), required
        self._names = frozenset(fields)

    def wrong(self, value: object) -> str:
        if type(value) is not dict:
            return ": it is no object"
        for name, kind in self._fields:
            if name in value:
                if why := kind.wrong(value[name]):
                    return f".{name}{why}"
            elif name in self._required:
                return f".{name}: it is not there"
        if len(value) > _MOST_THINGS:
            return f": it has more than {_MOST_THINGS} fields"
        unknown = [(name, value[name]) for name in value.keys() - self._names]
        return _first_wrong(_ANYTHING, unknown)

    def all_fit(self, values: Sequence[object]) -> bool:
        if any(kind is not dict for kind in set(map(type, values))):
            return False
        records = cast(Sequence[dict[str, object]], values)
        if set(map(len, records)) - {len(self._fields)}:
            return super().all_fit(values)  # one lacks a field, or has one more
        try:
            return all(
                kind.all_fit([record[name] for record in records]) for name, kind in self._fields
            )
        except KeyError:
            return super().all_fit(values)


_ANYTHING = _Anything()


def _first_wrong(kind: Kind, named: Iterable[tuple[str, object]]) -> str:
    for name, value in named:
        if why := kind.wrong(value):
            return f".{printable(name[:_QUOTED])}{why}"
    return ""


@functools.cache
def kind_of(hint: object) -> Kind:
    """What an annotation lets stand.

    :raises TypeError: an annotation that nobody taught this room; found by the tests.
    """
    most = _MOST_THINGS
    if get_origin(hint) is Annotated:
        hint, said, *_ = get_args(hint)
        if isinstance(said, Kind):
            return said
        if isinstance(said, Most):
            most = said.count
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (kind,) = (one for one in inner if one is not types.NoneType)
        return _OrNone(kind_of(kind))
    if origin is Literal:
        return OneOf(*inner)
    if origin is list:
        return _List(kind_of(inner[0]), most)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _Map(kind_of(inner[0]), kind_of(inner[1]), most)
    if is_typeddict(hint):
        fields = get_type_hints(hint, include_extras=True)
        required: object = getattr(hint, "__required_keys__", frozenset())
        return _Record(
            {name: kind_of(one) for name, one in fields.items()},
            cast(frozenset[str], required),
        )
    plain: dict[object, Callable[[], Kind]] = {
        str: Text,
        int: Whole,
        float: Number,
        bool: _YesNo,
        object: _Anything,
    }
    if hint not in plain:
        raise TypeError(f"no kind for {hint!r}")
    return plain[hint]()
