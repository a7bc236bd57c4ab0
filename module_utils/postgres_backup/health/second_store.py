"""The second store as this server remembers it: what was copied there last, and whether that is
enough. Nobody asks the store for it, so a look costs no more where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypedDict

from ..clock import parse_timestamp
from ..findings import Finding, finding
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment, Most, Whole
from ..text import human_bytes
from . import verdict

if TYPE_CHECKING:
    from ..catalog.backups import BackupLine

#: backups of one database that are remembered to lie there
_MOST = 100_000


class CopiedDatabase(TypedDict):
    """What lies in the second store of one database: its own backups, all of them, and their bytes;
    ``newest`` is when the newest good one was taken, or
    None.
    """

    newest: Annotated[str, Moment()] | None
    bytes: Annotated[int, Whole()]
    backups: Annotated[list[str], Most(_MOST)]


class Copied(TypedDict, total=False):
    """The last copying: where to, when it ended, and why it did not end well (empty: it did)."""

    place: str
    at: Annotated[str, Moment()]
    error: str
    databases: dict[str, CopiedDatabase]


#: the last copying
COPIED = state.Kept("second-store.json", Copied)


def place_of(settings: Settings) -> str:
    """The second store as a person knows it; empty where there is none."""
    if not settings.has_copy:
        return ""
    prefix = settings.copy_prefix.strip("/")
    return f"s3://{settings.copy_bucket}/{prefix} at {settings.copy_endpoint_url}"


def remembered(settings: Settings) -> Copied:
    """What was copied last to the store that is in the settings now; empty: nothing."""
    found = state.read(settings, COPIED) if settings.has_copy else Copied()
    return found if found.get("place") == place_of(settings) else Copied()


def shown(settings: Settings) -> Copied:
    """The same, and where to; empty where there is no second store."""
    return {"place": place_of(settings), **remembered(settings)} if settings.has_copy else {}


def findings_of(
    settings: Settings, last: Mapping[str, BackupLine | None], now: datetime
) -> list[Finding]:
    """COPY_STALE where the newest backup that was copied is too old, and the first store has a
    newer one; COPY_PENDING where nothing was copied yet.

    :param last: the newest good backup of each database in the first store.
    """
    if not settings.has_copy:
        return []
    known = remembered(settings)
    if not known:
        told = "nothing has been copied to the second store yet; the next night does it"
        return [finding("COPY_PENDING", f"{told}, or now: postgres-backup copy")]
    findings = []
    for name, newest in last.items():
        there = known.get("databases", {}).get(name)
        copied = there["newest"] if there else None
        if newest is None or (copied or "") >= newest["taken_at"]:
            continue
        since = parse_timestamp(copied or newest["taken_at"])
        if verdict.is_stale(since, settings.fresh_hours, now):
            which = f"is of {copied}" if copied else "is none at all"
            message = (
                f"the newest backup of {name} in the second store {which}, and the first has "
                f"{newest['backup']}; {settings.fresh_hours} hours are allowed"
            )
            findings.append(finding("COPY_STALE", message, database=name))
    return findings


def lines(known: Copied) -> list[str]:
    """:func:`shown` for a person; nothing where there is no second store."""
    if not known:
        return []
    place = f"second store {known.get('place', '')}"
    if "at" not in known:
        return [f"{place}: nothing was copied yet"]
    told = [
        f"{name}: {len(one['backups'])} backups, {human_bytes(one['bytes'])}"
        + (f", the newest of {one['newest']}" if one["newest"] else "")
        for name, one in known.get("databases", {}).items()
    ]
    ended = f"last copied {known['at']}"
    if error := known.get("error", ""):
        ended = f"the last copying, {known['at']}, failed: {error}"
    return [f"{place}: {'; '.join([*told, ended])}"]


def advice(settings: Settings, how: str = "--from copy") -> str:
    """What to type where the first store does not answer; empty where nothing is known to lie in a
    second one.

    :param how: as whoever asks types it.
    """
    known = remembered(settings)
    if not settings.has_copy or settings.is_copy:
        return ""
    newest = [
        f"{name}: {one['backups'][0]}"
        for name, one in known.get("databases", {}).items()
        if one["backups"]
    ]
    has = f"has, as of {known.get('at', '')}, {'; '.join(newest)}" if newest else "may have them"
    return f"If the first store is gone, the copy at {place_of(settings)} {has}: add {how}"
