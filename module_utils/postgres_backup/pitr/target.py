"""Where a recovery is to end, as it is typed, and the backup that it begins from. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Literal

from ..clock import format_timestamp
from ..errors import UsageError
from ..text import nearest
from . import repository
from .repository import Backup

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
#: so many letters of what was typed are quoted
_QUOTED = 80
_FOR_EXAMPLE = "target_time=2026-01-27T14:03:00Z"
#: the end of a backup is known to the second
_SECOND = timedelta(seconds=1)


@dataclasses.dataclass(frozen=True)
class Target:
    """:param kind: what ``value`` is; of ``latest`` there is none.
    :param value: as PostgreSQL takes it.
    :param at: of a time and of a mark, when that was.
    :param lsn: of a position and of a mark, how many bytes of the log lie before it.
    """

    kind: Literal["time", "lsn", "name", "latest"]
    value: str = ""
    at: datetime | None = None
    lsn: int | None = None

    @property
    def words(self) -> str:
        """For a person: ``2026-01-27T14:03:00Z``."""
        if self.kind == "time" and self.at:
            return moment(self.at)
        return {"latest": "the last that was archived", "name": f"the mark {self.value}"}.get(
            self.kind, self.value
        )


def read(
    typed: Mapping[str, str],
    latest: bool,
    marks: Mapping[str, tuple[str, str]],
    now: datetime,
) -> Target:
    """What was typed as a target.

    :param typed: ``time``, ``lsn`` and ``name``, empty where they were not.
    :param marks: name -> the time and the position of each that is known.
    :raises UsageError: it is none, or there are several.
    """
    given = {kind: value for kind, value in typed.items() if value}
    if len(given) + latest != 1:
        raise UsageError(
            "Recover to where? One of target_time, target_lsn, target_name and latest=true",
            f"-e {_FOR_EXAMPLE}",
        )
    if latest:
        return Target("latest")
    [(kind, value)] = given.items()
    if kind == "time":
        at = _time(value, now)
        return Target("time", f"{at:%Y-%m-%d %H:%M:%S.%f}+00", at)
    if kind == "lsn":
        if not _LSN.fullmatch(value):
            raise UsageError(
                f"{value[:_QUOTED]!r} is no position in PostgreSQL's log",
                "It looks like 0/3000028, as SELECT pg_current_wal_lsn() says it: "
                "target_lsn=0/3000028",
            )
        return Target("lsn", value.upper(), lsn=repository.number_of(value))
    if value not in marks:
        known = ", ".join(nearest(value, marks)) or "none"
        raise UsageError(
            f"There is no mark {value[:_QUOTED]!r}; near it: {known}",
            f"They are made by playbooks/backup.yml -e mark=NAME; a time does as well: "
            f"{_FOR_EXAMPLE}",
        )
    at_text, lsn = marks[value]
    return Target("name", value, datetime.fromisoformat(at_text[:19] + "+00:00"), _bytes(lsn))


def _bytes(lsn: str) -> int:
    return repository.number_of(lsn)


def _time(text: str, now: datetime) -> datetime:
    # Python 3.10 knows no Z
    plain = re.sub(r"[zZ]$", "+00:00", text.strip())
    try:
        at = datetime.fromisoformat(plain)
        zoned = at.astimezone(timezone.utc) if at.tzinfo else None
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text[:_QUOTED]!r} is no time",
            f"Write it with its zone, Z for UTC: {_FOR_EXAMPLE}, or ...T19:03:00+05:00",
        ) from None
    if zoned is None:
        raise UsageError(
            f"{text[:_QUOTED]!r} may be the time of here or of there: it has no zone",
            f"Add it, Z for UTC: target_time={at.isoformat()}Z, or {at.isoformat()}+05:00",
        )
    if zoned > now:
        raise UsageError(
            f"{moment(zoned)} is in the future: it is {format_timestamp(now)} on the server",
            "A time of the past, or the last that there is: latest=true",
        )
    return zoned


def moment(at: datetime) -> str:
    """``2026-01-27T14:03:00Z``, with a fraction where there is one."""
    whole = format_timestamp(at)
    fraction = f"{at.microsecond:06d}".rstrip("0")
    return f"{whole[:-1]}.{fraction}Z" if fraction else whole


def choose(
    target: Target, backups: Sequence[Backup], lines: Mapping[int, int | None] | None
) -> Backup:
    """The newest backup that lies before the target and in the cluster's own history.

    It is always named to the engine, which begins with the newest otherwise, whatever the target.

    :param lines: timeline -> the position at which the cluster left it, None: it is on it still.
        None: nothing is known of its history.
    :raises UsageError: there is none; the message says what there is.
    """
    own = [one for one in backups if _is_own(one, lines)]
    fitting = [one for one in own if _is_before(one, target)]
    if fitting:
        return max(fitting, key=lambda one: one.ended)
    if not own:
        raise UsageError(
            "There is no backup of the cluster to begin from",
            "Take one: postgres-backup pitr-backup --config /etc/postgres-backup-pitr/config.env",
        )
    first = min(own, key=lambda one: one.ended)
    raise UsageError(
        f"{target.words} lies before the first backup of the cluster, which ended at "
        f"{format_timestamp(first.ended)} (position {first.stop_lsn})",
        "Take a later target; of before there may be a nightly dump: playbooks/list.yml",
    )


def _is_own(backup: Backup, lines: Mapping[int, int | None] | None) -> bool:
    if lines is None:
        return True
    timeline = int(backup.first_segment[:8], 16)
    left = lines.get(timeline, 0)
    return left is None or repository.number_of(backup.stop_lsn) <= left


def _is_before(backup: Backup, target: Target) -> bool:
    if target.lsn is not None:
        return repository.number_of(backup.stop_lsn) <= target.lsn
    return target.at is None or backup.ended + _SECOND <= target.at


def history(text: str, timeline: int) -> dict[int, int | None]:
    """Timeline -> where it was left, of a history file: ``1<tab>0/5000000<tab>reason`` in each line
    (PostgreSQL's ``src/backend/access/transam/timeline.c``); of the own one None.
    """
    found: dict[int, int | None] = {}
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if len(words) >= 2 and words[0].isdigit() and _LSN.fullmatch(words[1]):
            found[int(words[0])] = repository.number_of(words[1])
    return {**found, timeline: None}
