"""What happened, one small object per event under ``journal/``; the bucket remembers what a lost server cannot."""

from __future__ import annotations

import json
from datetime import datetime

from .errors import StoreError
from .manifest import timestamp
from .names import Layout
from .store import Store


def record(store: Store, layout: Layout, moment: datetime, event: str, facts: dict) -> list[dict]:
    """Write one event. What happened has happened, so a store that refuses the note makes a finding and no failure.

    :param event: a verb such as ``backup``, ``backup-failed``, ``restore``, ``prune``.
    :param facts: JSON; no secrets.
    :return: findings; empty when it is written.
    """
    body = json.dumps({"at": timestamp(moment), "event": event} | facts, ensure_ascii=False, default=str)
    try:
        store.put(layout.journal(moment, event), body.encode(), "application/json")
    except StoreError as error:
        return [{"code": "JOURNAL_NOT_WRITTEN", "message": error.message}]
    return []
