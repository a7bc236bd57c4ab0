"""What happened, one small object per event under ``journal/``; the bucket remembers what a lost
server cannot.

An event's key holds its second, its number, its server and its kind; servers that share a prefix do
not overwrite each other's.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from ..clock import format_timestamp, utc_now
from ..errors import StoreError
from ..findings import Finding, finding
from ..machine import tries
from ..s3 import calls
from ..s3.errors import Refused, may_fail
from ..s3.store import Store
from . import gaps, newest, numbers, signed
from .names import Layout
from .numbers import Taken

#: events that claim a name
BEGAN, KIT_BEGAN = "backup-began", "kit-began"
#: all that happens
EVENTS = (
    *("backup", "backup-failed", "prune", "prune-failed", "kit-failed", "adopt", "settings"),
    *("restore", "restore-failed", "restore-tables", "undo", "drill", "drill-failed"),
    *("rehearsal", "rehearsal-failed", "pitr-drill", "pitr-drill-failed"),
    *("pitr-backup", "pitr-backup-full"),
    *("alarm", "alarm-over", "store-failed", BEGAN, KIT_BEGAN),
)
#: longest pause, seconds, before the next try for a name that nobody else has
LONGEST_PAUSE = 30.0
#: tries for one, and others that may try for the same
_MOST_TRIES, _MOST_RIVALS = 30, 1000


def record(
    store: Store, layout: Layout, at: datetime, event: str, facts: Mapping[str, object]
) -> list[Finding]:
    """Write one event. What happened has happened, so a store that refuses the note makes a finding
    and no failure. What was done from the second store waits for the journal of the first, for a
    server's events are numbered in one.

    :param event: a verb such as ``backup``, ``backup-failed``, ``restore``, ``prune``.
    :param facts: JSON; no secrets.
    :return: findings; empty when it is written.
    """
    if store.settings.is_copy:
        later = {"at": format_timestamp(at), "event": event, **facts, "from": "copy"}
        return tries.keep(store.settings, later)
    findings: list[Finding] = []
    taken = _number(store, layout)
    with may_fail(findings):
        _write(store, layout, at, event, facts, number=taken)
    if taken:
        numbers.ended(store.settings, layout, taken, written=not findings)
    return findings


def _number(store: Store, layout: Layout) -> Taken | None:
    """The number of the next event; None where the store does not say now what its state should:
    an event without one is as good.
    """
    settings, known = store.settings, None
    if numbers.remembered(settings, layout) is None:
        try:
            known = newest.row(store, layout)
        except Refused:  # a key that may only write begins anew
            known = numbers.new_row()
        except StoreError:
            return None
    return numbers.take(settings, layout, known)


def claim(
    store: Store,
    layout: Layout,
    event: str,
    facts: Mapping[str, object],
    taken: Callable[[datetime], bool],
) -> datetime:
    """A second to name a backup or a kit after, that nobody has and nobody takes at the same time.

    A name has no smaller unit, and all servers under one prefix begin at midnight. Few stores
    refuse the second writer of a key, so each says in the journal that it begins, then looks who
    else did; where both see each other, both go on to another second.

    Where the store does not keep or show such notes, the name is used all the same, and that is
    among ``store.refused``: an upload looks once more whether it is free.

    :param event: :data:`BEGAN` or :data:`KIT_BEGAN`.
    :param taken: whether the bucket already has something of that name.
    """
    pause = 0.0
    doubts: list[Finding] = []
    for _ in range(_MOST_TRIES):
        at, free = utc_now(), True
        if not doubts:
            with may_fail(doubts):
                free = _alone(store, layout, at, event, facts)
        with may_fail(doubts):
            free = free and not taken(at)
        if free:
            break
        time.sleep(1.0 - time.time() % 1 + random.uniform(0.0, pause))
        pause = min(pause * 2 or 1.0, LONGEST_PAUSE)
    else:
        told = f"of {_MOST_TRIES} seconds none was free, as the store tells it"
        doubts = [finding("NAME_NOT_CLAIMED", told)]
    store.refused.extend(doubts[:1])
    return at


def is_claimed(store: Store) -> bool:
    """Whether nobody else can have the name that :func:`claim` has found."""
    return all(found["code"] != "NAME_NOT_CLAIMED" for found in store.refused)


def _alone(
    store: Store, layout: Layout, at: datetime, event: str, facts: Mapping[str, object]
) -> bool:
    """Say that we take that second; whether nobody else says so."""
    mine = _write(store, layout, at, event, facts, secrets.token_hex(4))
    those = layout.journal(at, event).removesuffix(".json")
    notes = [note.key for note in store.list(those, most=_MOST_RIVALS, call=calls.RIVALS)]
    return all(key == mine for key in notes if key.startswith(those))


def _write(
    store: Store,
    layout: Layout,
    at: datetime,
    event: str,
    facts: Mapping[str, object],
    tag: str = "",
    number: Taken | None = None,
) -> str:
    server = store.settings.server_name
    name = gaps.event_name(event, server, number.number if number else 0)
    key = layout.journal(at, "-".join(filter(None, (name, tag))))
    counted = number.describe() if number else {}
    body = json.dumps(
        {"at": format_timestamp(at), "event": event, "server": server, **counted, **facts},
        ensure_ascii=False,
        default=str,
    )
    if tag:  # it holds a name for a moment, and nobody reads what it says
        store.put(calls.CLAIM, key, body.encode(), "application/json")
    else:
        signed.put(store, calls.NOTE, key, body.encode())
    return key
