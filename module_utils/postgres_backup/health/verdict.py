"""Is everything all right? What each server is, why, and all of it in one line; for the page. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import date

from ..clock import parse_timestamp
from ..text import printable

#: what a server can be: its kind (bad and unknown need somebody, warn is worth a look), and how
#: that is called; the worst first
STATES = {
    "none": ("bad", "No good backup"),
    "stale": ("bad", "Stale"),
    "failed": ("bad", "Last backup failed"),
    "bad": ("bad", "Damaged backup"),
    "unasked": ("unknown", "Could not be asked"),
    "look": ("warn", "Worth a look"),
    "well": ("good", "All is well"),
}
#: findings that make a server unhealthy
_GRAVE = ("NO_BACKUP", "BACKUP_STALE", "BACKUP_BAD")
#: English whatever the locale
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def judge(servers: Sequence[Mapping]) -> list[dict]:
    """What each server is, the worst first: ``name limit facts state kind label why``."""
    order = list(STATES)
    seen = []
    for one in servers:
        facts = one.get("facts")
        state = _state(facts)
        kind, label = STATES[state]
        error = printable(one.get("error") or "it gave no answer") if facts is None else ""
        why = [{"text": error, "alarm": None}] if facts is None else _reasons(facts)
        limit = shlex.quote(one["name"])
        seen.append(
            {
                "name": one["name"],
                "limit": limit,
                "facts": facts,
                "state": state,
                "kind": kind,
                "label": label,
                "why": why,
            }
        )
    return sorted(seen, key=lambda one: (order.index(one["state"]), one["name"]))


def _state(facts: Mapping | None) -> str:
    if facts is None:
        return "unasked"
    states = [one["state"] for one in facts["databases"]]
    worst = next((state for state in STATES if state in states), "none")
    return "look" if worst == "well" and (facts["alarms"] or facts["findings"]) else worst


def _reasons(facts: Mapping) -> list[dict]:
    """Why a server is not simply well, the worst first, nothing twice: ``text``, and the ``alarm``
    that was raised for it (or None).
    """
    texts = [one["message"] for one in facts["findings"] if one["code"] in _GRAVE]
    for one in facts["databases"]:
        if one["state"] == "failed":
            failure = next(f for f in one["failures"] if f["what"] == "backup")
            texts.append(
                f"the backup of {one['database']} failed on {when(failure['at'])} UTC: {failure['reason']}"
            )
    texts += [one["message"] for one in facts["findings"] if one["code"] not in _GRAVE]
    alarms: dict[str, dict] = {}
    for alarm in facts["alarms"]:
        told = next((text for text in texts if alarm["message"] in text), "")
        if not told:
            texts.append(alarm["message"])
        alarms[told or alarm["message"]] = alarm
    return [
        {"text": printable(re.sub("^the ", "The ", text)), "alarm": alarms.get(text)}
        for text in dict.fromkeys(texts)
    ]


def line(seen: Sequence[Mapping]) -> str:
    """Is everything all right? In one line.

    :param seen: as :func:`judge` says it.
    """
    if not seen:
        return "There is no server in the inventory"
    wrong = [one for one in seen if one["kind"] in ("bad", "unknown")]
    if wrong:
        names = ", ".join(
            f"{printable(one['name'])} ({one['label'].lower()})" for one in wrong[:3]
        ) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        if len(seen) == 1:
            return f"{printable(wrong[0]['name'])} needs you: {wrong[0]['label'].lower()}"
        return f"{len(wrong)} of {len(seen)} servers need{'s' * (len(wrong) == 1)} you: {names}"
    look = sum(one["kind"] == "warn" for one in seen)
    if look:
        some = f"{look} of {len(seen)} servers" if len(seen) > 1 else printable(seen[0]["name"])
        return f"The backups are fresh; {some} {'is' if look == 1 else 'are'} worth a look"
    return "All is well: every database has a fresh, good backup"


def when(text: str) -> str:
    """``27 Jan 2026 09:02``, of a timestamp."""
    at = parse_timestamp(text)
    return f"{day(at.date())} {at.year} {at:%H:%M}"


def day(moment_day: date) -> str:
    return f"{moment_day.day} {MONTHS[moment_day.month - 1]}"
