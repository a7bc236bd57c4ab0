"""The events of a server are numbered, one after the other in each journal, so that one which is
missing shows.

The number comes of this server's state, and of the newest event in the bucket where the state is
lost. A number whose event the store did not take is remembered, and each later event says which
these are: that tells a night without a store from one whose event somebody deleted. So does where
the numbers begin, for what is older was pruned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, TypedDict

from ..clock import format_timestamp, utc_now
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment, Most, Whole
from .names import Layout

#: a number that was taken so long ago and is not written was of a run that was killed
_IN_FLIGHT = timedelta(hours=1)
#: ranges that are remembered; of more the oldest become one
MOST_RANGES = 1000
LARGEST = 999_999_999_999

Number = Annotated[int, Whole(1, LARGEST)]


class Range(TypedDict):
    """Numbers, the first and the last of them."""

    first: Number
    last: Number


class Row(TypedDict):
    """The numbers of one journal, as the state keeps them.

    ``number`` is the last that was taken, 0 where none was; ``open`` are those taken of which
    nobody knows yet whether they were written, each with when; ``lost`` those that were not.
    """

    number: Annotated[int, Whole(0, LARGEST)]
    begins: Number
    open: Annotated[dict[str, Annotated[str, Moment()]], Most(1000)]
    lost: Annotated[list[Range], Most(MOST_RANGES)]


#: some 150 bytes of each journal; the smallest block of a disk is 1,024
_ROWS = state.Kept("journal.json", dict[str, Row], room=1023)


@dataclasses.dataclass(frozen=True)
class Taken:
    """A number for an event, and what the event says of the others."""

    number: int
    begins: int
    lost: Sequence[Range]

    def describe(self) -> Mapping[str, object]:
        """As it stands in the event."""
        told: dict[str, object] = {"number": self.number, "begins": self.begins}
        return {**told, "lost": list(self.lost)} if self.lost else told


def new_row(number: int = 0, begins: int = 1, lost: Sequence[Range] = ()) -> Row:
    """Of a journal whose newest event has that number; 0: it has none."""
    return {"number": number, "begins": begins, "open": {}, "lost": list(lost)}


def remembered(settings: Settings, layout: Layout) -> Row | None:
    """What this server remembers of a journal."""
    return state.read(settings, _ROWS).get(_name(settings, layout))


def take(settings: Settings, layout: Layout, newest: Row | None) -> Taken | None:
    """The next number, which nobody else gets.

    :param newest: what the bucket says, where nothing is remembered.
    :return: None where neither is known.
    """
    now = utc_now()
    name = _name(settings, layout)
    with state.changing(settings, _ROWS) as rows:
        row = rows.get(name) or newest
        if row is None:
            return None
        # it may be the same bucket by another address, so theirs are no longer the last
        for other in [one for one in rows if one != name and _place(one) == _place(name)]:
            del rows[other]
        stamp, old = format_timestamp(now), format_timestamp(now - _IN_FLIGHT)
        killed = [number for number, at in row["open"].items() if not old <= at <= stamp]
        opened = {number: at for number, at in row["open"].items() if number not in killed}
        number = row["number"] + 1
        row = rows[name] = {
            "number": number,
            "begins": row["begins"],
            "open": {**opened, str(number): stamp},
            "lost": _with(row["lost"], (int(one) for one in killed if one.isdecimal())),
        }
    return Taken(number, row["begins"], row["lost"])


def ended(settings: Settings, layout: Layout, taken: Taken, written: bool) -> None:
    """The store has taken the event of that number, or not."""
    with state.changing(settings, _ROWS) as rows:
        if row := rows.get(_name(settings, layout)):
            row["open"].pop(str(taken.number), None)
            if not written:
                row["lost"] = _with(row["lost"], [taken.number])


def begin_at(settings: Settings, layout: Layout, number: int) -> None:
    """What has smaller numbers is pruned."""
    with state.changing(settings, _ROWS) as rows:
        if (row := rows.get(_name(settings, layout))) and number > row["begins"]:
            row["begins"] = number
            row["lost"] = [
                {"first": max(one["first"], number), "last": one["last"]}
                for one in row["lost"]
                if one["last"] >= number
            ]


def ranges(numbers: Iterable[int]) -> list[Range]:
    """Numbers as ranges, the smallest first. Pure."""
    found: list[Range] = []
    for number in sorted(set(numbers)):
        if found and found[-1]["last"] == number - 1:
            found[-1]["last"] = number
        else:
            found.append({"first": number, "last": number})
    return found


def without(first: int, last: int, known: Iterable[Range]) -> list[Range]:
    """The numbers from ``first`` to ``last`` that are in none of these ranges. Pure."""
    left, at = [], first
    for one in sorted(known, key=lambda one: one["first"]):
        if one["first"] > last:
            break
        if one["first"] > at:
            left.append(Range(first=at, last=one["first"] - 1))
        at = max(at, one["last"] + 1)
    return [*left, Range(first=at, last=last)] if at <= last else left


def words(known: Sequence[Range]) -> str:
    """``3, 5 to 7`` for a person."""
    return ", ".join(
        str(one["first"]) if one["first"] == one["last"] else f"{one['first']} to {one['last']}"
        for one in known
    )


def _with(known: Sequence[Range], more: Iterable[int]) -> list[Range]:
    merged: list[Range] = []
    for one in sorted([*known, *ranges(more)], key=lambda one: one["first"]):
        if merged and one["first"] <= merged[-1]["last"] + 1:
            merged[-1]["last"] = max(merged[-1]["last"], one["last"])
        else:
            merged.append({**one})
    while len(merged) > MOST_RANGES:
        merged[:2] = [{"first": merged[0]["first"], "last": merged[1]["last"]}]
    return merged


def _name(settings: Settings, layout: Layout) -> str:
    """Of a journal: another bucket, prefix or server has numbers of its own."""
    return " ".join(
        (settings.s3_endpoint_url, settings.s3_bucket, layout.root, settings.server_name)
    )


def _place(name: str) -> str:
    """What :func:`_name` says but for the store's address."""
    return name.partition(" ")[2]
