"""A night that failed is tried again: what is left of it, and who is told when."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from ..catalog import journal
from ..catalog.backups import layout_for
from ..clock import format_timestamp, parse_timestamp, utc_now
from ..errors import StoreError
from ..findings import Finding
from ..health import alarms, status
from ..machine import due, tries
from ..machine.due import Again, Tried
from ..machine.progress import Progress
from ..s3.store import HASTY, Store
from ..settings import Settings

#: what no journal has taken for so long is told to nobody any more
_OLD = timedelta(days=7)


def again_of(settings: Settings, tried: Tried) -> Again:
    """What decides over the failures of a try."""
    good = {
        name: parse_timestamp(backup["taken_at"])
        for name, backup in alarms.last_good(settings).items()
    }
    return Again(tried, tries.rules(settings), timedelta(hours=settings.fresh_hours), good)


def still_left(settings: Settings, tried: Tried, progress: Progress) -> dict[str, str]:
    """What this try has to do; for the first one of a night nobody needs to be asked."""
    if tried.number == 1 and not tried.asks:
        return dict(tried.left)
    try:
        seen = status.status(settings)
    except StoreError:  # each of the tries says so
        return due.still_left(tried, {})
    stamp = format_timestamp(tried.planned)
    last = {name: database["last"] for name, database in seen["databases"].items()}
    there = {name: bool(one and one["taken_at"] >= stamp) for name, one in last.items()}
    left = due.still_left(tried, there)
    for name, one in last.items():
        if one and there[name] and tried.left.get(name) == due.BACKUP and not tried.asks:
            progress.step(f"{name}: {one['backup']} is there since, and no other is taken")
    return left


def catch_up(settings: Settings) -> list[Finding]:
    """Write into the bucket's journal what it could not take when it happened.

    :return: findings: what it does not take now.
    """
    waiting = tries.unwritten(settings)
    if not waiting:
        return []
    findings: list[Finding] = []
    done, store = [], Store(settings, patience=HASTY)
    for event in waiting:
        facts = dict(event)
        try:
            at = parse_timestamp(cast(str, facts.pop("at")))
            verb, database = str(facts.pop("event")), str(facts["database"])
        except (KeyError, ValueError, TypeError):  # nobody can tell what that was
            done.append(event)
            continue
        if utc_now() - at > _OLD:
            done.append(event)
            continue
        refused = journal.record(store, layout_for(settings, database), at, verb, facts)
        if refused:
            findings += refused
            break
        done.append(event)
    return findings + (tries.written(settings, done) if done else [])
