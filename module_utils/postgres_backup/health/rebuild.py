"""What a rebuild of this server would lack: files of its application that neither the server kit
nor a repository holds.

``setup.yml`` asks Docker as root and tells it here; ``status`` and drills ask nobody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict

from ..catalog.kit_paths import Parts, Paths, parts_of, path_of
from ..findings import Finding, finding
from ..machine import state
from ..settings import Settings

#: so many are named in a sentence; the line to type has all
_NAMED = 5


class Application(TypedDict, total=False):
    """``needs``: paths on this server that no repository brings."""

    needs: list[str]


APPLICATION = state.Kept("application.json", Application)


def remember(settings: Settings, needs: Sequence[str]) -> list[Finding]:
    """Note what ``postgres_backup_app_info`` has found.

    :return: findings: what could not be noted.
    """
    before, now = state.read(settings, APPLICATION), Application(needs=sorted(needs))
    if before == now or not (before or needs):
        return []
    return state.write(settings, APPLICATION, now)


def needed(settings: Settings) -> list[Parts]:
    """What the application needs, but what ``backup_paths_elsewhere`` says comes another way."""
    elsewhere = _paths(settings.paths_elsewhere)
    known = state.read(settings, APPLICATION).get("needs", [])
    found = [parts for path in known if (parts := parts_of(path)) is not None]
    return [parts for parts in found if not elsewhere.hold(parts)]


def lacking(settings: Settings) -> list[str]:
    """Of that, what the server kit does not hold."""
    saved = _paths([*settings.paths, *map(os.path.realpath, settings.paths)])
    return [
        path_of(parts)
        for parts in needed(settings)
        if not saved.hold(parts)
        and not saved.hold(parts_of(os.path.realpath(path_of(parts))) or ())
    ]


def findings_of(settings: Settings) -> list[Finding]:
    """REBUILD_LACKS, with the line that mends it."""
    paths = lacking(settings)
    if not paths:
        return []
    named = ", ".join(paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    line = ", ".join(dict.fromkeys([*settings.paths, *paths]))
    told = (
        f"a rebuild of this server would lack {named}{more}: neither the server kit nor a "
        f"repository holds that. Set backup_paths: [{line}], then ansible-playbook setup.yml "
        "(or name in backup_paths_elsewhere what it gets in another way, or can do without)"
    )
    return [finding("REBUILD_LACKS", told)]


def _paths(named: Sequence[str]) -> Paths:
    return Paths([parts for path in named if (parts := parts_of(path)) is not None])
