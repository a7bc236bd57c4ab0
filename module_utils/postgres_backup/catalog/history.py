"""What happened: the events that the journal in the bucket tells of, for whoever asks what last
night was like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict, cast

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


class _Event(TypedDict):
    at: str
    event: str
    server: str
    database: str


class Event(_Event, total=False):
    """What happened, as the journal tells of it: when, what, to whom, and the facts of its kind.

    ``event`` is a verb (``backup``, ``backup-failed``, ``restore``, ``restore-tables``, ``prune``).
    ``database`` is empty for the kit.
    """

    backup: str
    bytes: int
    dump_bytes: int
    rows: int
    seconds: float
    downtime_seconds: float
    kept_database: str
    #: of a prune: each ``backup`` and ``reason``
    deleted: list[Mapping[str, str]]
    #: of a restore of tables: each at least ``table``
    tables: list[Mapping[str, object]]
    #: of a failure: the message, its kind (see ``errors.reason``), and its findings
    reason: str
    kind: str
    findings: list[Finding]


class RunOfDatabase(TypedDict):
    """What the nightly run did with one database; ``backup`` is None where there was none."""

    backup: Mapping[str, object] | None
    deleted: list[Mapping[str, str]]
    error: str


class LastRun(TypedDict, total=False):
    """The last nightly run as this server remembers it: all of it, or nothing."""

    changed: bool
    started_at: str
    seconds: float
    databases: dict[str, RunOfDatabase]
    kit: Mapping[str, object] | None
    kit_error: str
    exit_status: int
    findings: list[Finding]


class History(TypedDict):
    """What happened, newest first; ``last_run`` is empty where none is remembered here."""

    changed: bool
    events: list[Event]
    last_run: LastRun
    findings: list[Finding]


def events(settings: Settings, store: Store, since: datetime, database: str = "") -> list[Event]:
    """What happened since then, newest first; what cannot be read is left out.

    :param database: only what happened to this one. A server without a name in the settings
        (nothing but a bucket is known) hears of all servers.
    """
    keys = [key for root in _roots(settings) for key in _keys(store, root, since)]
    wanted = [
        event
        for event in store.get_many(dict.fromkeys(keys), _parse)
        if event
        and settings.server_name in ("", event["server"])
        and database in ("", event["database"])
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


def _parse(_key: str, data: bytes | None) -> Event | None:
    try:
        fields: object = json.loads(data or b"")
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    if not all(isinstance(fields.get(name), str) for name in ("at", "event", "server")):
        return None
    return cast(Event, {"database": ""} | fields)


def history(settings: Settings, days: float = 7, database: str = "") -> History:
    """What happened in the last days, from the bucket, and the last run as this server remembers
    it.

    A store that cannot be reached leaves what the server itself knows.
    """
    findings: list[Finding] = []
    happened: list[Event] = []
    remembered = cast(LastRun, state.read(settings, state.LAST_RUN) if settings.server_name else {})
    try:
        store = Store(settings)
        store.check()
        happened = events(
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
    return {"changed": False, "events": happened, "last_run": remembered, "findings": findings}


def lines(told: History) -> list[str]:
    """:func:`history` for a person: one line an event, the newest first."""
    text = [f"{finding['code']}: {finding['message']}" for finding in told["findings"]]
    for event in told["events"]:
        words = (
            event["at"],
            event["server"],
            event["database"] or "-",
            event["event"],
            _summary(event),
        )
        text.append("  ".join(words).rstrip())
    if not told["events"] and told["last_run"]:
        text.append(last_run_line(told["last_run"]))
    return text or ["Nothing happened in this time."]


def _summary(event: Event) -> str:
    """What else is known of an event, in a few words."""
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


def last_run_line(run: LastRun) -> str:
    """The last nightly run as a server remembers it, in one line; empty where there is none."""
    if not run:
        return ""
    failed = [
        f"{name}: {database['error']}"
        for name, database in run["databases"].items()
        if database["error"]
    ] + ([f"kit: {run['kit_error']}"] if run["kit_error"] else [])
    outcome = "FAILED: " + "; ".join(failed) if failed else "was OK"
    return f"the run of {run['started_at']} {outcome}, {human_seconds(run['seconds'])}"
