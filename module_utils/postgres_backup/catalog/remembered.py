"""What this server has signed, as it remembers it itself: whoever may write to the bucket cannot
change that, so a manifest that was put back, or is gone, shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..findings import Finding
from ..machine import state
from ..settings import Settings

#: database -> key of a manifest -> its SHA-256
_SIGNED = state.Kept("signed.json", dict[str, dict[str, str]])
#: manifests of one database that are remembered, the newest
_MOST = 2000


def note(settings: Settings, database: str, key: str, sha256: str) -> list[Finding]:
    """Remember a manifest that was just signed.

    :param key: where it lies; keys of one database order as their times do.
    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _SIGNED, findings) as known:
        of_database = {**known.get(database, {}), key: sha256}
        known[database] = dict(sorted(of_database.items())[-_MOST:])
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


def look(settings: Settings, database: str) -> Mapping[str, str]:
    """The SHA-256 of each manifest that is remembered, by its key; empty on a new machine."""
    return state.read(settings, _SIGNED).get(database, {})
