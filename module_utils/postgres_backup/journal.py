"""What happened, one small object per event under ``journal/``; the bucket remembers what a lost server cannot."""

from __future__ import annotations

import json
from datetime import datetime

from .manifest import timestamp
from .names import Layout
from .store import Store


def record(store: Store, layout: Layout, moment: datetime, event: str, facts: dict) -> None:
    """Write one event.

    :param event: a verb such as ``backup``, ``backup-failed``, ``restore``, ``prune``.
    :param facts: JSON; no secrets.
    """
    body = json.dumps({"at": timestamp(moment), "event": event} | facts, ensure_ascii=False, default=str)
    store.put(layout.journal(moment, event), body.encode(), "application/json")
