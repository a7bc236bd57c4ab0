"""Is the journal as it was written? Events that were put there by somebody else, moved, copied or
deleted. Pure.
"""

from __future__ import annotations

import itertools
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..clock import format_time, parse_timestamp
from ..findings import Finding, finding
from ..signing.judge import STRANGER, TRUSTED, UNSIGNED, Kind
from .numbers import Range, Row, ranges, without, words

_NAME = re.compile(
    r"(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})-(?:(?P<number>\d{6,12})-)?(?P<event>[^\d].*)\.json",
    re.ASCII,
)


class Named(NamedTuple):
    """What the name of an event says: its second, its number (0: it has none), and its kind with
    the server's name behind it.
    """

    time: str
    number: int
    rest: str

    def may_be(self, event: str) -> bool:
        """Whether it is of that kind; of one without a number the name alone does not tell."""
        if self.number:
            return self.rest.partition(".")[0] == event
        return self.rest.startswith(f"{event}-")

    def may_be_of(self, server: str) -> bool:
        """Whether it is that server's."""
        whose = urllib.parse.quote(server, safe="._~")
        if self.number:
            return self.rest.partition(".")[2] == whose
        return self.rest.endswith(f"-{whose}")


class Read(NamedTuple):
    """An event that was read, as far as its place in the journal matters.

    :param key: where it lies.
    :param named: what that says.
    :param signature: what its signature is worth.
    """

    key: str
    named: Named
    server: str
    at: str
    event: str
    number: int
    begins: int
    lost: Sequence[Range]
    signature: Kind

    @property
    def misplaced(self) -> bool:
        """It says to be another event than its name says. Those without a number, of earlier
        versions, say too little for that.
        """
        if not (self.number or self.named.number):
            return False
        said = parse(f"{format_time(parse_timestamp(self.at))}-{self._name}.json")
        return said != self.named

    @property
    def _name(self) -> str:
        return event_name(self.event, self.server, self.number)


def parse(name: str) -> Named | None:
    """What the last part of an event's key says; None: it is none."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    return Named(match["time"], int(match["number"] or 0), match["event"])


def event_name(event: str, server: str, number: int = 0) -> str:
    """The part of a key behind the time; with a number it can be taken apart again."""
    whose = urllib.parse.quote(server, safe="._~")
    return f"{number:06d}-{event}.{whose}" if number else f"{event}-{whose}"


def findings_of(
    journal: str,
    listed: Iterable[Named],
    read: Sequence[Read],
    remembered: Mapping[str, Row],
) -> list[Finding]:
    """What is wrong with one journal, and numbers that no store took.

    Judged is each server of which an event is well signed, by what its newest one says. Of a server
    that signs nothing, or of which nobody knows the key, nobody can tell.

    :param journal: where it lies, for the messages.
    :param listed: all that lies there.
    :param read: those that were read.
    :param remembered: the numbers as the asking server remembers them, under its name.
    """
    there = list(listed)
    findings = [
        finding(
            "EVENT_FOREIGN",
            f"{one.key} is not where it was written: it says to be {one.event} number "
            f"{one.number or 'none'} of {one.server}, at {one.at}",
        )
        for one in read
        if one.misplaced and one.signature != STRANGER
    ]
    good = [one for one in read if not one.misplaced]
    for server in sorted({one.server for one in good if one.signature == TRUSTED}):
        of_it = [one for one in good if one.server == server]
        findings += _of_strangers(of_it)
        findings += _of_numbers(journal, server, there, of_it, remembered.get(server))
    return findings


def _of_strangers(of_it: Sequence[Read]) -> list[Finding]:
    """Events under the name of a server that signs, which it has not signed; those from before its
    first number are older than its key.
    """
    told = {
        UNSIGNED: "nobody has signed it, and this server signs its events",
        STRANGER: "a key has signed it that is not trusted for this server",
    }
    since = min((one.at for one in of_it if one.signature == TRUSTED and one.number), default="")
    return [
        finding("EVENT_FOREIGN", f"{one.key}: {told[one.signature]}")
        for one in of_it
        if one.signature in told and since and (one.number or one.at >= since)
    ]


def _of_numbers(
    journal: str, server: str, there: Sequence[Named], of_it: Sequence[Read], row: Row | None
) -> list[Finding]:
    signed = [one for one in of_it if one.signature == TRUSTED and one.number]
    if not signed:
        return []
    newest = max(signed, key=lambda one: one.number)
    last, begins, lost, at_work = newest.number, newest.begins, list(newest.lost), list[Range]()
    if row:
        last, begins = max(last, row["number"]), max(begins, row["begins"])
        lost += row["lost"]
        at_work = ranges(int(number) for number in row["open"] if number.isdecimal())
    whose = urllib.parse.quote(server, safe="._~")
    present = ranges(
        one.number for one in there if one.number and one.rest.partition(".")[2] == whose
    )
    missing = without(begins, last, [*present, *lost, *at_work])
    findings = []
    if missing:
        findings.append(
            finding(
                "EVENT_MISSING",
                f"{journal}: of {server} the events {words(missing[:10])} were written, and are "
                "not there",
            )
        )
    first = min(one.number for one in signed)
    unwritten = [one for one in _within(without(first, last, present), lost) if one]
    if unwritten:
        findings.append(
            finding(
                "EVENT_NOT_WRITTEN",
                f"{journal}: of {server} the events {words(unwritten[:10])} were never written: "
                "the store took none then, or the run was killed",
            )
        )
    numbers = sorted(one.number for one in signed)
    twice = ranges(one for one, other in itertools.pairwise(numbers) if one == other)
    if twice:
        findings.append(
            finding(
                "EVENT_TWICE",
                f"{journal}: {server} has signed several events with the number {words(twice)}",
            )
        )
    return findings


def _within(gaps: Sequence[Range], lost: Sequence[Range]) -> list[Range]:
    """Those numbers of the gaps that are in the ranges of what was lost."""
    return [
        part
        for gap in gaps
        for part in without(gap["first"], gap["last"], without(gap["first"], gap["last"], lost))
    ]
