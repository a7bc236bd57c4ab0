"""Events of the journal that are past their time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from ..catalog import gaps, journal, numbers, signed
from ..catalog.names import Layout
from ..clock import format_time
from ..errors import PostgresBackupError
from ..s3.store import Store
from ..shapes.kinds import Moment, Text
from ..shapes.reader import Unfit, fitted, load
from ..signing.judge import TRUSTED, UNSIGNED

#: that one prune deletes at most, so that the first one of an old journal does not take hours
MOST = 500
#: bytes of one at most, as of all events
_MOST_BYTES = 4 * 1024 * 1024
#: behind the name of a server in a claim
_TAG = re.compile(r"-[0-9a-f]{8}")


class _Said(TypedDict):
    """What an event says of its place."""

    at: Annotated[str, Moment()]
    event: Annotated[str, Text(64)]
    server: str
    number: numbers.Number


@dataclasses.dataclass(frozen=True)
class OldEvents:
    """Those of one journal, the oldest first.

    :param keys: what is deleted, claims of names too; without the signatures.
    :param begins: the first number that stays; 0: none of them has a number that can be believed.
    """

    layout: Layout
    keys: Sequence[str] = ()
    begins: int = 0


def find(store: Store, layout: Layout, days: int, now: datetime) -> OldEvents:
    """This server's events that are older.

    One more listing, of as much as is old, and what is old and has a number is read: whoever may
    write there must not make this server believe that numbers were pruned.

    :param days: 0: none is too old.
    """
    if not days:
        return OldEvents(layout)
    place, until = f"{layout.root}journal/", format_time(now - timedelta(days=days))
    ours, listed = dict[str, gaps.Named](), set[str]()
    for item in store.list(place):
        # where somebody has deleted an event, its signature is all that is left
        key = item.key.removesuffix(signed.SUFFIX)
        name = key.removeprefix(place)
        if name[: len(until)] >= until or (len(ours) >= MOST and key not in ours):
            break
        listed.add(item.key)
        named = gaps.parse(name)
        if named and is_ours(named, store.settings.server_name):
            ours[key] = named
    counted = [key for key, named in ours.items() if named.number]
    believed = signed.Believed.by(store.settings)
    signatures = signed.signatures(store, counted, listed)
    good = TRUSTED if believed.signers.own else UNSIGNED

    def number(key: str, data: bytes | PostgresBackupError | None) -> int:
        try:
            said = fitted(load(data, _MOST_BYTES), _Said) if isinstance(data, bytes) else None
        except Unfit:
            said = None
        if said is None or not isinstance(data, bytes):
            return 0
        standing = believed.judge(data, signatures.get(key), said["server"])
        return said["number"] if standing.kind == good and _is_at(ours[key], said) else 0

    last = max(store.get_many(counted, number, _MOST_BYTES), default=0)
    return OldEvents(layout, list(ours), last + 1 if last else 0)


def _is_at(named: gaps.Named, said: _Said) -> bool:
    name = gaps.event_name(said["event"], said["server"], said["number"])
    return gaps.parse(f"{named.time}-{name}.json") == named


def is_ours(named: gaps.Named, server: str) -> bool:
    """Whether its name says that this server wrote it."""
    if named.number:
        return named.may_be_of(server)
    rest, whose = named.rest, gaps.event_name("", server)
    if rest.startswith((f"{journal.BEGAN}-", f"{journal.KIT_BEGAN}-")) and _TAG.fullmatch(
        rest[-9:]
    ):
        rest = rest[:-9]
    return any(rest == event + whose for event in journal.EVENTS)
