"""What this server has signed, as it remembers it itself: whoever may write to the bucket cannot
change that, so a manifest that was put back, or is gone, shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from ..clock import format_timestamp
from ..findings import Finding
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Moment

#: database -> key of a manifest -> its SHA-256
_SIGNED = state.Kept("signed.json", dict[str, dict[str, str]])
#: manifests of one database that are remembered, the newest
_MOST = 2000


class _Where(TypedDict):
    """A bucket, and the first manifest that was signed for it."""

    bucket: str
    since: str


#: database -> where; earlier versions did not remember it
_WHERE = state.Kept("signed-where.json", dict[str, _Where], room=127)
#: database -> key of a manifest that is not there -> when that was seen first
_MISSED = state.Kept("signed-missed.json", dict[str, dict[str, Annotated[str, Moment()]]], room=0)


def note(settings: Settings, database: str, key: str, sha256: str) -> list[Finding]:
    """Remember a manifest that was just signed.

    :param key: where it lies; keys of one database order as their times do.
    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _SIGNED, findings) as known:
        of_database = {**known.get(database, {}), key: sha256}
        known[database] = dict(sorted(of_database.items())[-_MOST:])
    if not since(settings, database):
        with state.changing(settings, _WHERE, findings) as places:
            places[database] = {"bucket": _bucket(settings), "since": key}
    return findings


def forget(settings: Settings, database: str, keys: Collection[str]) -> list[Finding]:
    """Manifests that this server deletes itself.

    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _SIGNED, findings) as known:
        of_database = known.get(database, {})
        known[database] = {key: of_database[key] for key in of_database.keys() - set(keys)}
    return findings


def moved(settings: Settings, database: str, keys: Mapping[str, str]) -> list[Finding]:
    """Manifests that lie under other keys now.

    :param keys: the new one, by the old one.
    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _SIGNED, findings) as known:
        of_database = known.get(database, {})
        if of_database.keys() & keys.keys():
            known[database] = {keys.get(key, key): sha for key, sha in of_database.items()}
    return findings


def look(settings: Settings, database: str) -> Mapping[str, str]:
    """The SHA-256 of each manifest that is remembered, by its key; empty on a new machine."""
    return state.read(settings, _SIGNED).get(database, {})


def since(settings: Settings, database: str) -> str:
    """The first manifest that was signed for the bucket of the settings; empty where that is not
    known.
    """
    where = state.read(settings, _WHERE).get(database)
    return where["since"] if where and where["bucket"] == _bucket(settings) else ""


def missed(
    settings: Settings, database: str, gone: Collection[str], now: datetime, longest: timedelta
) -> set[str]:
    """Those manifests that are to be told of as gone; what was for so long is forgotten.

    :param gone: keys that are not in the bucket, and that this server has not deleted.
    """
    seen = state.read(settings, _MISSED).get(database, {})
    first, stamp = format_timestamp(now - longest), format_timestamp(now)
    told = {key for key in gone if seen.get(key, stamp) >= first}
    noted = {key: min(seen.get(key, stamp), stamp) for key in told}
    if noted != seen:
        with state.changing(settings, _MISSED) as known:
            known[database] = noted
    if past := set(gone) - told:
        forget(settings, database, past)
    return told


def _bucket(settings: Settings) -> str:
    return f"{settings.s3_endpoint_url} {settings.s3_bucket}"
