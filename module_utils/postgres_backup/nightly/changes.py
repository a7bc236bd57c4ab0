"""Settings that are others than when ``setup.yml`` or a night looked last, for the journal: who
looks for the reason of something sees what was changed when.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TypedDict

from ..catalog.history import SECRET_CHANGED, SettingChange, changed_in_words
from ..findings import Finding
from ..health import outcome
from ..machine import state
from ..settings import Settings, variables

#: letters of a value that are told
_MOST_LETTERS = 500
#: letters of a secret's hash: enough to see that it is another, and far too few to guess it by
_FEW_LETTERS = 4
#: the variables that are not at their defaults, as they were when they were looked at last
_KNOWN = state.Kept("settings.json", dict[str, str])
#: of those that are secret the beginnings of their hashes; earlier versions remembered none
_SECRETS = state.Kept("settings-secret.json", dict[str, str])


class Noted(TypedDict):
    """What was found changed."""

    changed: bool
    changes: list[SettingChange]
    findings: list[Finding]


def note(settings: Settings, check: bool = False) -> Noted:
    """Tell the journal of what has changed since this was asked last; a new server tells nothing.

    Of passwords, keys and addresses with tokens only that they are others.

    :param check: say what would be told, and remember nothing.
    :return: findings: what could not be noted.
    """
    findings: list[Finding] = []
    changes: list[SettingChange] = []
    for kept, now, secret in (
        (_KNOWN, _values(settings), False),
        (_SECRETS, _hashes(settings), True),
    ):
        before = state.read(settings, kept)
        if before == now:
            continue
        if not check:
            findings += state.write(settings, kept, dict(now))
        names = sorted(before.keys() | now.keys()) if before else []
        changes += [
            {
                "name": name,
                "before": SECRET_CHANGED if secret else before.get(name, ""),
                "after": SECRET_CHANGED if secret else now.get(name, ""),
            }
            for name in names
            if before.get(name) != now.get(name)
        ]
    if changes and not check:
        facts = {"database": "", "changes": changes}
        findings += outcome.told(settings, "", "settings", facts)
    return {"changed": bool(changes), "changes": changes, "findings": findings}


def lines(noted: Noted) -> list[str]:
    """:func:`note` for a person."""
    return [f"Setting changed: {changed_in_words(one)}" for one in noted["changes"]] or [
        "No setting is another than before."
    ]


def _given(settings: Settings, secret: bool) -> dict[str, str]:
    kinds, found = variables(), {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in kinds and field.repr is not secret and value != field.default:
            text = " ".join(value) if isinstance(value, tuple) else str(value)
            found[kinds[field.name][0].name] = text
    return found


def _values(settings: Settings) -> Mapping[str, str]:
    given = _given(settings, secret=False)
    return {name: settings.hide(text)[:_MOST_LETTERS] for name, text in given.items()}


def _hashes(settings: Settings) -> Mapping[str, str]:
    given = _given(settings, secret=True)
    return {
        name: hashlib.sha256(text.encode()).hexdigest()[:_FEW_LETTERS]
        for name, text in given.items()
    }
