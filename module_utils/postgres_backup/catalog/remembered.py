"""What this server has signed, as it remembers it itself: whoever may write to the bucket cannot
change that, so a manifest that was put back, or is gone, shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import UsageError
from ..findings import Finding, finding
from ..machine import state
from ..settings import Settings

_SIGNED = "signed.json"
#: manifests of one database that are remembered, the newest
_MOST = 2000


def note(settings: Settings, database: str, key: str, sha256: str) -> list[Finding]:
    """Remember a manifest that was just signed.

    :param key: where it lies; keys of one database order as their times do.
    :return: why it could not be remembered; empty where it is.
    """
    try:
        with state.changing(settings, _SIGNED) as known:
            of_database = {**_texts(known.get(database)), key: sha256}
            known[database] = dict(sorted(of_database.items())[-_MOST:])
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return []


def forget(settings: Settings, database: str, keys: Collection[str]) -> list[Finding]:
    """Manifests that this server deletes itself.

    :return: why that could not be written down; empty where it is.
    """
    try:
        with state.changing(settings, _SIGNED) as known:
            of_database = _texts(known.get(database))
            known[database] = {key: of_database[key] for key in of_database.keys() - set(keys)}
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return []


def look(settings: Settings, database: str) -> Mapping[str, str]:
    """The SHA-256 of each manifest that is remembered, by its key; empty on a new machine."""
    try:
        return _texts(state.read(settings, _SIGNED).get(database))
    except UsageError:
        return {}


def _texts(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {key: text for key, text in found.items() if isinstance(text, str)}
