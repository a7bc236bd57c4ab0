"""What happened, one small object per event under ``journal/``; the bucket remembers what a lost
server cannot.

An event's key holds its second, its server and its kind; servers that share a prefix do not
overwrite each other's.
"""

from __future__ import annotations

import json
import secrets
import urllib.parse
from collections.abc import Mapping
from datetime import datetime

from ..clock import format_timestamp
from ..errors import StoreError
from ..findings import Finding, finding
from ..s3.store import Store
from .names import Layout

#: events that claim a name
BEGAN, KIT_BEGAN = "backup-began", "kit-began"


def record(
    store: Store, layout: Layout, moment: datetime, event: str, facts: Mapping[str, object]
) -> list[Finding]:
    """Write one event. What happened has happened, so a store that refuses the note makes a finding
    and no failure.

    :param event: a verb such as ``backup``, ``backup-failed``, ``restore``, ``prune``.
    :param facts: JSON; no secrets.
    :return: findings; empty when it is written.
    """
    try:
        _write(store, layout, moment, event, facts)
    except StoreError as error:
        return [finding("JOURNAL_NOT_WRITTEN", error.message)]
    return []


def claim(
    store: Store,
    layout: Layout,
    moment: datetime,
    facts: Mapping[str, object],
    event: str = BEGAN,
) -> str:
    """Say that a backup (or a kit) named after this second begins; the key of the note.

    :raises StoreError: it could not be written.
    """
    return _write(store, layout, moment, event, facts, secrets.token_hex(4))


def claims(store: Store, layout: Layout, moment: datetime, event: str = BEGAN) -> list[str]:
    """The keys of all notes, by whomever, that say that a backup (or a kit) named after this second
    begins.
    """
    return [item.key for item in store.list(layout.journal(moment, event).removesuffix(".json"))]


def _write(
    store: Store,
    layout: Layout,
    moment: datetime,
    event: str,
    facts: Mapping[str, object],
    tag: str = "",
) -> str:
    server = store.settings.server_name
    key = layout.journal(
        moment, "-".join(filter(None, (event, urllib.parse.quote(server, safe="._~"), tag)))
    )
    body = json.dumps(
        {"at": format_timestamp(moment), "event": event, "server": server, **facts},
        ensure_ascii=False,
        default=str,
    )
    store.put(key, body.encode(), "application/json")
    return key
