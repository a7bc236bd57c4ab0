"""What happened: the events that the journal in the bucket tells of, for whoever asks what last
night was like.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from ..clock import format_time, utc_now
from ..errors import StoreError
from ..findings import Finding, finding
from ..machine import state
from ..s3.store import Store
from ..settings import Settings
from ..text import human_bytes, human_seconds
from . import journal
from .names import Layout

_KEY = re.compile(
    r"(?:[^/]+/)?journal/(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})-(?P<event>.+)\.json"
)


def events(settings: Settings, store: Store, since: datetime, database: str = "") -> list[dict]:
    """What happened since then, newest first.

    :param database: only what happened to this one. A server without a name in the settings
        (nothing but a bucket is known) hears of all servers.
    :return: each ``at event server database`` and the facts of that event; what cannot be read is
        left out.
    """
    keys = [key for root in _roots(settings) for key in _keys(store, root, since)]
    with ThreadPoolExecutor(8) as pool:
        found = [
            event for event in pool.map(lambda key: _read(store, key), dict.fromkeys(keys)) if event
        ]
    wanted = [
        e
        for e in found
        if settings.server_name in ("", e["server"]) and database in ("", e.get("database", ""))
    ]
    return sorted(wanted, key=lambda event: (event["at"], event["event"]), reverse=True)


def _roots(settings: Settings) -> list[str]:
    """Where journals lie: under the prefix, and under it for each database."""
    root = Layout(settings.s3_prefix).root
    if not settings.databases or not settings.server_name:
        return [root]
    return [
        f"{layout.root}journal/"
        for layout in (
            Layout(settings.s3_prefix),
            *(Layout(settings.s3_prefix, name) for name in settings.databases),
        )
    ]


def _keys(store: Store, root: str, since: datetime) -> list[str]:
    first = format_time(since)
    folder = root if root.endswith("journal/") else ""
    whole = [item.key for item in store.list(root, after=folder + first if folder else "")]
    base = len(root.removesuffix("journal/"))
    matches = [(key, _KEY.fullmatch(key[base:])) for key in whole]
    return [
        key
        for key, match in matches
        if match
        and match["time"] >= first
        and not match["event"].startswith((f"{journal.BEGAN}-", f"{journal.KIT_BEGAN}-"))
    ]


def _read(store: Store, key: str) -> dict | None:
    try:
        event = json.loads(store.get(key) or b"")
    except ValueError:
        return None
    there = isinstance(event, dict) and all(
        isinstance(event.get(name), str) for name in ("at", "event", "server")
    )
    return {"database": ""} | event if there else None


def history(settings: Settings, days: float = 7, database: str = "") -> dict:
    """What happened in the last days, from the bucket, and the last run as this server remembers
    it.

    A store that cannot be reached leaves what the server itself knows.

    :return: ``events`` (see :func:`events`), ``last_run`` (empty where none is remembered here),
        ``findings``, ``changed``.
    """
    findings: list[Finding] = []
    found: list[dict] = []
    remembered = state.read(settings, state.LAST_RUN) if settings.server_name else {}
    try:
        store = Store(settings)
        store.check()
        found = events(
            settings,
            store,
            utc_now() - timedelta(days=days),
            settings.for_database(database) if database and settings.databases else database,
        )
    except StoreError as error:
        if not remembered:
            raise
        findings.append(
            finding(
                "STORE_FAILS",
                f"{error.message} What follows is this server's own memory of its last run",
            )
        )
    return {"changed": False, "events": found, "last_run": remembered, "findings": findings}


def lines(found: dict) -> list[str]:
    """:func:`history` for a person: one line an event, the newest first."""
    text = [f"{finding['code']}: {finding['message']}" for finding in found["findings"]]
    text += [
        f"{event['at']}  {event['server']}  {event['database'] or '-'}  {event['event']}  {tell(event)}".rstrip()
        for event in found["events"]
    ]
    if not found["events"] and found["last_run"]:
        text.append(last_run_line(found["last_run"]))
    return text or ["Nothing happened in this time."]


def tell(event: dict) -> str:
    """The facts of an event in a few words."""
    words = [str(event["backup"])] if event.get("backup") else []
    if isinstance(event.get("deleted"), list):
        words.append(f"{len(event['deleted'])} deleted")
    if event.get("rows") is not None:
        words.append(f"{event['rows']:,} rows")
    if event.get("bytes") is not None:
        words.append(human_bytes(event["bytes"]))
    if event.get("seconds") is not None:
        words.append(human_seconds(event["seconds"]))
    if event.get("downtime_seconds") is not None:
        words.append(f"out of reach for {event['downtime_seconds']:.2f} s")
    if event.get("reason"):
        words.append(str(event["reason"]))
    return ", ".join(words)


def last_run_line(run: dict) -> str:
    """The last nightly run as a server remembers it, in one line; empty where none is remembered."""
    if not run:
        return ""
    failed = [
        f"{name}: {one['error']}" for name, one in run["databases"].items() if one["error"]
    ] + ([f"kit: {run['kit_error']}"] if run["kit_error"] else [])
    return f"the run of {run['started_at']} {'FAILED: ' + '; '.join(failed) if failed else 'was OK'}, {human_seconds(run['seconds'])}"
