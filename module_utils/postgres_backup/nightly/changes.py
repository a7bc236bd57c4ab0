"""Settings that are others than in the night before, for the journal: who looks for the reason of
something sees what was changed when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..catalog.history import SettingChange
from ..findings import Finding
from ..health import outcome
from ..machine import state
from ..settings import Settings, variables

#: letters of a value that are told
_MOST_LETTERS = 500
#: the variables that are not at their defaults, as the last night had them
_KNOWN = state.Kept("settings.json", dict[str, str])


def note(settings: Settings) -> list[Finding]:
    """Tell the journal of what has changed since this was asked last; a new server tells nothing.

    Of passwords, keys and addresses with tokens nothing is told or remembered.

    :return: findings: what could not be noted.
    """
    before, now = state.read(settings, _KNOWN), _values(settings)
    if before == now:
        return []
    findings = state.write(settings, _KNOWN, dict(now))
    changes: list[SettingChange] = [
        {"name": name, "before": before.get(name, ""), "after": now.get(name, "")}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if before:
        facts = {"database": "", "changes": changes}
        findings += outcome.told(settings, "", "settings", facts)
    return findings


def _values(settings: Settings) -> Mapping[str, str]:
    kinds = variables()
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in kinds and field.repr and value != field.default:
            text = " ".join(value) if isinstance(value, tuple) else str(value)
            found[kinds[field.name][0].name] = settings.hide(text)[:_MOST_LETTERS]
    return found
