"""What is being written into the bucket right now, remembered before it begins: the next run that
holds the same lock removes what a killed one has left, and knows that it is its own.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from ..findings import Finding
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Most, Text
from .names import STEM

#: as many as are remembered of one database: each of a run that could not clean up
_MOST = 20


class Begun(TypedDict):
    """An object and what lies beside it.

    :ivar key: of the object.
    :ivar manifest: its key; where it is there, all is.
    :ivar beside: keys of what was written before the manifest.
    :ivar alone: nobody else may have taken that name.
    """

    key: Annotated[str, Text(1024)]
    manifest: Annotated[str, Text(1024)]
    beside: list[Annotated[str, Text(1024)]]
    alone: bool


#: the state: database (the kit: empty) -> what was begun and not ended
_BEGUN = state.Kept("begun.json", dict[str, Annotated[list[Begun], Most(_MOST)]])


def note(settings: Settings, database: str, begun: Begun) -> list[Finding]:
    """Something begins.

    :param database: whose; empty: it is the kit.
    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _BEGUN, findings) as known:
        known[database] = [*known.get(database, []), begun][-_MOST:]
    return findings


def ended(settings: Settings, database: str, key: str) -> list[Finding]:
    """It is there with its manifest, or nothing of it.

    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, _BEGUN, findings) as known:
        left = [one for one in known.get(database, []) if one["key"] != key]
        known[database] = left
        if not left:
            del known[database]
    return findings


def left(settings: Settings, database: str) -> list[Begun]:
    """What was begun and not ended; of keys, only those that we make."""
    known = state.read(settings, _BEGUN).get(database, [])
    return [one for one in known if all(map(_is_ours, (one["key"], one["manifest"])))]


def _is_ours(key: str) -> bool:
    return key.rpartition("/")[2].startswith(STEM)
