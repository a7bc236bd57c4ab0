"""Tables that had many rows and have none any more. Pure.

Such a backup is whole, and is what there was; but if nobody meant it, the rows are in an older
backup only, and the retention would take that one day.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from ..catalog.backups import Backup
from ..catalog.said import WHOLE, hash_of
from ..catalog.tables import Tables
from ..findings import Finding, finding

#: a table with at least so many rows that has none any more is told of; of a database without any
#: row, one that had one
MANY = 100
#: a loss that nobody has said anything about is told of for so long, and its rows are kept as long
LONGEST = timedelta(days=90)
#: a table that was emptied and filled again so often, as far as backups remember, is meant to be
USUAL = 2
#: stands for every table that is gone, where somebody says that it is meant
ALL = "all"
#: tables that a message names
_NAMED = 3
_DIGITS = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class Gone:
    """A table without rows; ``table`` is ``said.WHOLE`` where the whole database has none.

    :param rows: that it had in the last backup that has them.
    :param there: the table itself is still there.
    :param last: that backup.
    """

    table: str
    rows: int
    there: bool
    last: Backup

    def __str__(self) -> str:
        name = "the whole database" if self.table == WHOLE else self.table
        gone = "" if self.there else " (the table is gone)"
        return f"{name} {self.rows:,} -> 0{gone}, last in {self.last.name}"


def gone(server: str, database: str, backups: Sequence[Backup], now: datetime) -> list[Gone]:
    """The tables that have lost all of their many rows, those with most of them first; what
    somebody said is meant is left out.

    :param server: its name, under which that was said.
    :param backups: of one database, newest first.
    """
    whole = [b for b in backups if b.ours and b.whole and not b.untold]
    good = [b for b in whole if b.good]
    if not good:
        return []
    older = [b for b in whole if not b.good and b.dated_at < good[0].dated_at]
    found = {lost.table: lost for lost in _all_lost(good, now)}
    if older:
        # what nobody vouches for is asked only for what no good one knows: rows that were gone
        # before this server began to sign
        both = sorted([*good, *older], key=lambda b: b.dated_at, reverse=True)
        found = {lost.table: lost for lost in _all_lost(both, now)} | found
    told = [lost for lost in found.values() if not _meant(server, database, lost)]
    return sorted(told, key=lambda lost: (lost.table != WHOLE, -lost.rows, lost.table))


def _all_lost(backups: Sequence[Backup], now: datetime) -> list[Gone]:
    now_there = backups[0].tables
    names = {name for backup in backups[1:] for name in _emptied(backup.tables, now_there)}
    if any(_total(backup) for backup in backups[1:]) and not _total(backups[0]):
        names.add(WHOLE)
    return [lost for name in sorted(names) if (lost := _lost(name, backups, now))]


def _emptied(before: Tables, after: Tables) -> Iterator[str]:
    """Tables that had rows and have none. Those of most nights are the same tables."""
    if before.names is after.names:
        pairs = zip(before.rows, after.rows, strict=True)
        return (before.names[at] for at, (had, has) in enumerate(pairs) if had and not has)
    return (n for n, had in zip(before.names, before.rows, strict=True) if had and not after[n])


def _total(backup: Backup) -> int:
    return sum(backup.tables.rows)


def _lost(name: str, good: Sequence[Backup], now: datetime) -> Gone | None:
    rows = [_total(b) if name == WHOLE else b.tables[name] for b in good]
    place = next(number for number, count in enumerate([*rows, 1]) if count)
    if place == len(rows) or rows[place] < (1 if name == WHOLE else MANY):
        return None
    if now - good[place - 1].dated_at > LONGEST:
        return None
    filled_again = sum(
        bool(later and not earlier and any(rows[number + 2 :]))
        for number, (later, earlier) in enumerate(itertools.pairwise(rows))
    )
    there = name == WHOLE or name in good[0].tables
    if filled_again >= USUAL or (not there and _lives_on(name, good[0], good[place])):
        return None
    return Gone(name, rows[place], there, good[place])


def _lives_on(name: str, newest: Backup, last: Backup) -> bool:
    """A dropped table whose rows another one has now (it was renamed), or that was the oldest of
    many whose names differ by a number (a partition).
    """
    now, before = newest.tables, last.tables
    shape, its = _DIGITS.sub("0", name), before.hash_of(name)
    return any(
        (other not in before and now.hash_of(other) == its)
        or (shape != name and _DIGITS.sub("0", other) == shape)
        for other, rows in zip(now.names, now.rows, strict=True)
        if rows
    )


def _meant(server: str, database: str, lost: Gone) -> bool:
    return hash_of(server, database, lost.table) in lost.last.meant


def findings_of(database: str, lost: Sequence[Gone]) -> list[Finding]:
    """What is gone, as one finding ROWS_GONE; none where nothing is."""
    if not lost:
        return []
    more = f"; and {len(lost) - _NAMED} more tables" if len(lost) > _NAMED else ""
    told = "; ".join(str(one) for one in lost[:_NAMED]) + more
    message = f"all rows are gone: {told}. {advice(database, lost)}"
    return [finding("ROWS_GONE", message, database=database)]


def advice(database: str, lost: Sequence[Gone]) -> str:
    """What to type."""
    first = lost[0]
    named = ",".join(one.table for one in lost if one.last.key == first.last.key)
    whole, several = first.table == WHOLE, any(one.last.key != first.last.key for one in lost)
    tables = "" if whole else f" --tables {shlex.quote(named)}"
    meant = ALL if whole or several or len(lost) > _NAMED else named
    return (
        f"To have them back: postgres-backup restore {first.last.name} "
        f"--database {shlex.quote(database)}{tables}. If that is meant: postgres-backup backup "
        f"--database {shlex.quote(database)} --emptied {shlex.quote(meant)}"
    )


def holding(
    server: str, database: str, backups: Sequence[Backup], now: datetime
) -> Callable[[Backup], str]:
    """For ``retention.plan``: why a backup must stay whatever its age, or an empty string."""
    reasons: dict[str, str] = {}
    for lost in gone(server, database, backups, now):
        what = "any rows" if lost.table == WHOLE else f"the rows of {lost.table}"
        reasons.setdefault(lost.last.key, f"the last backup that has {what}")

    def held(backup: Backup) -> str:
        return backup.held or reasons.get(backup.key, "")

    return held


def named(lost: Sequence[Gone], asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the tables that are gone somebody means, and what names none of them.

    :param asked: names as in the message, without a schema where that is ``public``; or
        :data:`ALL`.
    """
    tables = [one.table for one in lost]
    if ALL in asked:
        return tables, []
    wanted = [name if name in tables or "." in name else f"public.{name}" for name in asked]
    return [t for t in wanted if t in tables], [t for t in wanted if t not in tables]
