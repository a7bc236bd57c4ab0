"""Whether every second is kept: judged by what PostgreSQL's own user has left in a file, for only
that user may look.

Whoever can write that file can write into the database: what it says is held to its shape, and to
its age.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from ..clock import parse_timestamp, utc_now
from ..errors import UsageError
from ..findings import Finding, finding
from ..machine.files import read_bounded
from ..settings import Settings
from ..shapes.kinds import Moment, Number, Text, Whole
from ..shapes.reader import Unfit, fitted, load
from ..text import human_age, human_bytes, human_seconds
from . import alarms, costs
from .alarm_kinds import Alarm, key

#: where the role ``pitr`` lets it lie, and bytes that it has at most
NAME = "look.json"
PLACE = f"/var/lib/postgres-backup-pitr/{NAME}"
_LIMIT = 1 << 16
#: so often cron lets it be written, and so long one may take: the store is asked now and then
_FRESH = timedelta(minutes=5)
#: a backup each day, a full one each week, and a day for what may come between
_PART, _FULL = timedelta(days=2), timedelta(days=8)
#: what a look may find, each an alarm of the same name
CODES = ("PITR_STOPPED", "PITR_GAP", "PITR_STALE", "PITR_DISK", "PITR_DRILL")
_LONGEST, _LONGEST_RUN = 10_000_000.0, 1e10


class Drill(TypedDict):
    """How the last drill of every second ended, after how many ``seconds``; ``said`` is what it has
    shown, or why it failed.
    """

    at: Annotated[str, Moment()]
    passed: bool
    seconds: Annotated[float, Number(0, _LONGEST)]
    said: Annotated[str, Text(1000)]


class Beside(TypedDict):
    """A recovered cluster that stands beside the live one: since when, of which moment, and where.
    ``ready``: somebody has left it to be looked at; else it is being made, or was broken off.
    """

    at: Annotated[str, Moment()]
    target: Annotated[str, Text(200)]
    directory: Annotated[str, Text(600)]
    ready: bool


class _Looked(TypedDict):
    """What every version looks at."""

    at: Annotated[str, Moment()]
    stopped: Annotated[str, Text(1000)]
    waiting: Annotated[int, Whole(0)]
    waiting_bytes: Annotated[int, Whole(0)]
    oldest_seconds: Annotated[float, Number(0, _LONGEST)]
    log_bytes: Annotated[int, Whole(0)]
    free_bytes: Annotated[int, Whole(0)]
    worst_seconds: Annotated[float, Number(0, _LONGEST)]
    worst_at: Annotated[str, Moment()]
    backups_at: Annotated[str, Moment()] | None
    unasked: Annotated[str, Text(1000)]
    newest_at: Annotated[str, Moment()] | None
    newest_full_at: Annotated[str, Moment()] | None
    gaps: list[Annotated[str, Text(200)]]


class Look(_Looked, total=False):
    """What PostgreSQL's user has seen; sizes are bytes.

    :ivar stopped: why nothing is archived at all; empty where it is.
    :ivar waiting: pieces of the log that wait for their way; ``oldest_seconds`` the first of them.
    :ivar log_bytes: of all that lies in ``pg_wal``; ``free_bytes`` are left on its disk.
    :ivar backups_at: when the store was asked; None where it has not answered yet, ``unasked``
        says why.
    :ivar gaps: pieces that are missing since the newest full backup, each ``first to last``.
    :ivar running: seconds that the machine had run by then, since it was started and without
        those in which it was asleep.
    :ivar first_at: the first moment that can be recovered: the end of the oldest full backup.
    :ivar backups: of the cluster that are kept; with the log they take ``stored_bytes``.
    """

    running: Annotated[float, Number(0, _LONGEST_RUN)]
    first_at: Annotated[str, Moment()] | None
    backups: Annotated[int, Whole(0)]
    stored_bytes: Annotated[int, Whole(0)]
    drill: Drill
    beside: Beside


def read(place: str = "") -> tuple[Look | None, str]:
    """What was seen last, or why nothing is known; neither where nobody can have looked.

    :param place: of the file; empty: the usual one.
    """
    path = place or PLACE
    try:
        return fitted(load(read_bounded(path, _LIMIT)[0]), Look), ""
    except FileNotFoundError:  # no folder: setup.yml is on its way, or says itself why it failed
        return None, "nobody has looked yet" if os.path.isdir(os.path.dirname(path)) else ""
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"
    except (Unfit, UsageError) as error:
        return None, f"{path} cannot be read: {error}".splitlines()[0]


def findings_of(settings: Settings, seen: Look | None, why: str, now: datetime) -> list[Finding]:
    """What is wrong; nothing where every second is kept.

    :param seen: what :func:`read` gives; ``why`` too.
    """
    if seen is None and not why:
        return []
    if seen is None:
        return [finding("PITR_STOPPED", f"whether every second is kept is not known: {why}")]
    told: list[Finding] = []
    lag = seen["oldest_seconds"] if seen["waiting"] else 0.0
    if seen["stopped"]:
        told.append(finding("PITR_STOPPED", f"nothing is archived: {seen['stopped']}"))
    elif lag > settings.pitr_rpo_seconds:
        message = (
            f"what PostgreSQL writes is not archived for {human_seconds(lag)} "
            f"({seen['waiting']} pieces wait); {settings.pitr_rpo_seconds} seconds may be lost"
        )
        told.append(finding("PITR_STOPPED", message))
    elif _age(seen, now) > _FRESH:
        message = f"nobody has looked since {seen['at']} whether every second is kept"
        told.append(finding("PITR_STOPPED", message))
    if seen["gaps"]:
        message = f"pieces of what was archived are missing: {_some(seen['gaps'])}"
        told.append(finding("PITR_GAP", message))
    told += _stale(seen, now) + _undrilled(settings, seen, now)
    if seen["waiting_bytes"] > seen["free_bytes"]:
        message = (
            f"what waits to be archived takes {human_bytes(seen['waiting_bytes'])} of PostgreSQL's "
            f"disk, and {human_bytes(seen['free_bytes'])} are free"
        )
        told.append(finding("PITR_DISK", message))
    return told


def _age(seen: Look, now: datetime) -> timedelta:
    """For how long nobody has looked, though somebody could: a machine that was asleep, off, or
    whose clock was set, is looked at within minutes, and whoever comes first must not cry.
    """
    if (then := seen.get("running")) is None:  # written by an earlier version
        return abs(now - parse_timestamp(seen["at"]))
    running = time.monotonic()
    return timedelta(seconds=running - then if then <= running else running)


def _stale(seen: Look, now: datetime) -> list[Finding]:
    if seen["backups_at"] is None or now - parse_timestamp(seen["backups_at"]) > _PART:
        why = seen["unasked"] or "the store was not asked"
        message = f"whether there is a backup of the cluster is not known: {why}"
        return [finding("PITR_STALE", message)]
    if seen["newest_at"] is None or seen["newest_full_at"] is None:
        return [finding("PITR_STALE", "there is no full backup of the cluster")]
    late = [
        f"the newest {kind} backup of the cluster is of {at}"
        for kind, at, most in (
            ("full", seen["newest_full_at"], _FULL),
            ("", seen["newest_at"], _PART),
        )
        if now - parse_timestamp(at) > most
    ]
    return [finding("PITR_STALE", late[0].replace("  ", " "))] if late else []


def _undrilled(settings: Settings, seen: Look, now: datetime) -> list[Finding]:
    """The last drill failed, or is too long ago: since the first backup, where there was none."""
    last = seen.get("drill")
    if last and not last["passed"]:
        message = f"the drill of every second of {last['at']} failed: {last['said']}"
        return [finding("PITR_DRILL", message)]
    since = last["at"] if last else seen.get("first_at")
    days = settings.drill_max_days
    if days and since and now - parse_timestamp(since) > timedelta(days=days):
        message = f"no drill of every second since {since}; {days} days are allowed"
        return [finding("PITR_DRILL", message)]
    return []


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def look(settings: Settings) -> list[Finding]:
    """What is wrong now; nothing where it is not asked for."""
    return findings_of(settings, *read(), utc_now()) if settings.pitr else []


def settle(settings: Settings) -> list[Finding]:
    """Raise the alarms for what is wrong, and end those for what no longer is.

    :return: findings: what is wrong, and what could not be told.
    """
    found = look(settings)
    raised: dict[str, Alarm] = {}
    for one in found:
        raised.setdefault(one["code"], Alarm(one["code"], "", one["message"]))
    known = {one["code"] for one in alarms.open_alarms(settings)}
    if not raised and not known & set(CODES):
        return []  # every two minutes: nothing is written where nothing is to be told
    return found + alarms.settle(settings, map(key, CODES), list(raised.values()))


def known(settings: Settings) -> Look | None:
    """What was seen last; None where it is not asked for, or nobody has looked."""
    return read()[0] if settings.pitr else None


def with_archive(estimate: costs.Estimate, settings: Settings, seen: Look | None) -> costs.Estimate:
    """The same with what the archive holds, which is paid for like the rest."""
    return costs.with_more(estimate, settings, seen.get("stored_bytes", 0)) if seen else estimate


def lines(seen: Look | None) -> list[str]:
    """How it is, for a person.

    :param seen: what :func:`known` gives.
    """
    if seen is None:
        return []
    lag = human_seconds(seen["oldest_seconds"] if seen["waiting"] else 0.0)
    now = utc_now()
    ages = [
        f"{kind} {human_age((now - parse_timestamp(at)).total_seconds() / 3600)} old"
        for kind, at in (("full", seen["newest_full_at"]), ("newest", seen["newest_at"]))
        if at
    ]
    worst = human_seconds(seen["worst_seconds"])
    waits = f"every second: {seen['waiting']} pieces wait, for {lag} (at most {worst} of late)"
    told = [", ".join([waits, *ages])]
    told += kept_lines(seen)
    if drill := seen.get("drill"):
        how = "passed" if drill["passed"] else "FAILED"
        took = human_seconds(drill["seconds"])
        told.append(f"every second: last drill {drill['at']}: {how}, {took}; {drill['said']}")
    if beside := seen.get("beside"):
        told.append(_beside_line(beside))
    return told


def _beside_line(beside: Beside) -> str:
    """It takes room until somebody removes it, and while it is there none is drilled."""
    how = "is kept" if beside["ready"] else "is being made, or was left by what was broken off"
    return (
        f"every second: the cluster as of {beside['target']} {how}, since {beside['at']}, in "
        f"{beside['directory']}; to remove it: ansible-playbook playbooks/pitr_restore.yml "
        "-e remove=true"
    )


def kept_lines(seen: Look | None) -> list[str]:
    """From when on every second is kept, and what that takes."""
    if seen is None or not (first := seen.get("first_at")):
        return []
    count, stored = seen.get("backups", 0), human_bytes(seen.get("stored_bytes", 0))
    by = f"{count} backup{'s' if count != 1 else ''} of the cluster"
    return [f"every second: kept from {first} on, by {by}; with the log {stored} in the bucket"]
