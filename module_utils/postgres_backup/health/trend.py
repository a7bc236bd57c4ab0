"""Is a backup as large as its predecessors let one expect? Pure: numbers in, findings out.

A whole backup that lost a third of its size over night is whole, and may yet be the first to tell
of a disaster.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..catalog.backup import Backup
from ..catalog.manifest import Described
from ..catalog.tables import Tables
from ..findings import Finding, finding
from ..text import human_bytes

#: so many predecessors make a trend; with fewer, nothing is said
FEWEST = 3
#: and so many are looked at
MOST = 7
#: a change of so few bytes is no news; nor is it that so few rows have gone, or so few have come
SMALL_BYTES = 100_000
FEW_GONE, FEW_COME = 50, 1000
#: a table with at least so many rows that is empty all of a sudden is news all the same
WAS_NOT_EMPTY = 10
#: tables that a message names
_NAMED = 3


class _Night(NamedTuple):
    described: Described
    tables: Tables


def findings(
    newest: Backup,
    earlier: Sequence[Backup],
    drop_percent: int,
    jump_percent: int,
    told: Collection[str] = (),
) -> list[Finding]:
    """What is out of the ordinary in the newest backup.

    Its size (of the dump, so that another compression changes nothing) is held against the median
    of the last :data:`MOST`. A table's rows are held against the least and the most that those had,
    since some tables fill and empty as a matter of course. Both are told of for some nights, until
    the change is what is usual.

    :param newest: has a manifest.
    :param earlier: good backups of the same database before it, newest first.
    :param drop_percent: smaller by more than this is told of; ``jump_percent``: larger by more than
        this; 0: never.
    :param told: tables of which a person hears anyway, see ``rows_gone``.
    :return: SIZE_DROPPED, SIZE_JUMPED, ROWS_DROPPED, ROWS_JUMPED; at most one of each.
    """
    now = _night(newest)
    if now is None:
        return []
    nights = [night for backup in earlier if (night := _night(backup))]
    form = now.described.get("format")
    known = [night for night in nights if night.described.get("format") == form][:MOST]
    if len(known) < FEWEST:
        return []
    return [
        *_size(now.described, [night.described for night in known], drop_percent, jump_percent),
        *_rows(now, known, drop_percent, jump_percent, told),
    ]


def _night(backup: Backup) -> _Night | None:
    return _Night(backup.described, backup.tables) if backup.described else None


def _size(newest: Described, known: Sequence[Described], drop: int, jump: int) -> list[Finding]:
    now, usual = newest["dump_bytes"], statistics.median(m["dump_bytes"] for m in known)
    text = (
        f"{human_bytes(now)} of dump, the last {len(known)} had {human_bytes(usual)} (their median)"
    )
    if drop and now < usual * (1 - drop / 100) and usual - now > SMALL_BYTES:
        return [
            finding(
                "SIZE_DROPPED",
                f"{newest['name']} is {1 - now / usual:.0%} smaller than usual: {text}",
            )
        ]
    if jump and now > usual * (1 + jump / 100) and now - usual > SMALL_BYTES:
        return [
            finding(
                "SIZE_JUMPED",
                f"{newest['name']} is {now / usual:.1f} times as large as usual: {text}",
            )
        ]
    return []


def _rows(
    newest: _Night, known: Sequence[_Night], drop: int, jump: int, told: Collection[str]
) -> list[Finding]:
    dropped, jumped = [], []
    names = set(newest.tables.names).union(*(night.tables.names for night in known))
    for name in sorted(names.difference(told)):
        before = [night.tables[name] for night in known if name in night.tables]
        if len(before) < FEWEST:
            continue  # a new table, or one that comes and goes
        now = newest.tables[name]
        lost = [now < rows * (1 - drop / 100) for rows in before]
        gained = [now > rows * (1 + jump / 100) for rows in before]
        least = min(_before_the_change(before, lost), default=0)
        most = max(_before_the_change(before, gained), default=now)
        emptied = now == 0 and least >= WAS_NOT_EMPTY
        if drop and now < least * (1 - drop / 100) and (least - now > FEW_GONE or emptied):
            dropped.append(
                (
                    least - now,
                    f"{name} {least:,} -> {now:,}"
                    + ("" if name in newest.tables else " (the table is gone)"),
                )
            )
        elif jump and now > most * (1 + jump / 100) and now - most > FEW_COME:
            jumped.append((now - most, f"{name} {most:,} -> {now:,}"))
    name = newest.described["name"]
    return [
        finding(
            code,
            f"{name} has far {word} rows than the last {len(known)}: {_named(changed)}",
        )
        for code, word, changed in (
            ("ROWS_DROPPED", "fewer", dropped),
            ("ROWS_JUMPED", "more", jumped),
        )
        if changed
    ]


def _before_the_change(before: Sequence[int], differs: Sequence[bool]) -> Sequence[int]:
    """The predecessors from before a change, which may be some nights old; none where too few of
    them are left to tell by: it is usual by now.

    :param differs: which of them are not like the newest.
    """
    older = before[differs.index(True) :] if True in differs else []
    return older if len(older) >= FEWEST else []


def _named(changed: list[tuple[int, str]]) -> str:
    """The largest changes first; the rest is counted."""
    worst = [text for _, text in sorted(changed, reverse=True)]
    return "; ".join(worst[:_NAMED]) + (
        f"; and {len(worst) - _NAMED} more tables" if len(worst) > _NAMED else ""
    )
