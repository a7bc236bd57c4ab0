"""What happened: the events that the journal in the bucket tells of, for whoever asks what last
night was like.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypedDict, cast

from ..clock import format_time, utc_now
from ..errors import PostgresBackupError, StoreError
from ..findings import Finding, finding
from ..machine import state, tries
from ..s3.store import Store
from ..settings import Settings
from ..shapes.kinds import Moment, Most, Number, OneOf, Text, Whole
from ..shapes.reader import Unfit, fitted, load
from ..signing.judge import WRONG, Kind
from ..text import human_bytes, human_seconds
from . import gaps, journal, numbers, signed
from .listed_once import Listings
from .names import Layout, own_folder, shared_prefix

#: notes by which a name is claimed; they tell of nothing
_CLAIMS = (f"{journal.BEGAN}-", f"{journal.KIT_BEGAN}-")
#: events that cannot be read, by name; the rest is counted
_MOST_NAMED = 10
#: bytes of one event at most; a prune names all that it deleted
_MOST_BYTES = 4 * 1024 * 1024
_Count = Annotated[int, Whole()]
_Seconds = Annotated[float, Number()]
#: backups that one prune deleted, tables that one restore brought back
_MOST_TOLD = 100_000


class _Event(TypedDict):
    at: Annotated[str, Moment()]
    event: Annotated[str, Text(64)]
    server: str
    database: Annotated[str, Text(255)]


#: stands for what a secret was, and for what it is
SECRET_CHANGED = "changed"


class SettingChange(TypedDict):
    """A variable of the config; empty where it was, or is, not set."""

    name: Annotated[str, Text(255)]
    before: str
    after: str


class Event(_Event, total=False):
    """What happened, as the journal tells of it: when, what, to whom, and the facts of its kind.

    ``event`` is a verb (``backup``, ``backup-failed``, ``restore``, ``restore-tables``,
    ``restore-copy``, ``prune``). ``database`` is empty for the kit.
    """

    #: among the events of its server, in its journal; earlier versions gave none
    number: numbers.Number
    #: the first number that was not pruned when it was written, and those that were never written
    begins: numbers.Number
    lost: Annotated[list[numbers.Range], Most(numbers.MOST_RANGES)]
    backup: str
    bytes: _Count
    dump_bytes: _Count
    rows: _Count
    seconds: _Seconds
    downtime_seconds: _Seconds
    #: of a drill: what each phase took, and what a restore would
    phases: Annotated[dict[str, _Seconds], Most(100)]
    restore_seconds: _Seconds
    #: of a rehearsal: the host on which the server was rebuilt
    host: Annotated[str, Text(255)]
    kept_database: str | None
    #: of a restore under another name
    copy_database: str
    #: of a prune: each ``backup`` and ``reason``
    deleted: Annotated[list[Mapping[str, str]], Most(_MOST_TOLD)]
    #: of a restore of tables: each at least ``table``
    tables: Annotated[list[object], Most(_MOST_TOLD)]
    #: of a failure: the message, its kind (see ``errors.reason``), when it is tried again, and its
    #: findings
    reason: str
    #: of an alarm
    code: str
    #: of an adoption: the names
    adopted: Annotated[list[str], Most(_MOST_TOLD)]
    #: of changed settings: each variable with what it was and is
    changes: Annotated[list[SettingChange], Most(1000)]
    kind: str
    again_at: Annotated[str, Moment()]
    findings: Annotated[list[Finding], Most(_MOST_TOLD)]
    #: what its own signature is worth; never read from the object
    signature: Annotated[str, OneOf("trusted", "unsigned", "stranger", "wrong")]


class RunOfDatabase(TypedDict):
    """What the nightly run did with one database; ``backup`` is None where there was none."""

    backup: Mapping[str, object] | None
    deleted: list[Mapping[str, str]]
    error: str


class _LastRun(TypedDict):
    """The last nightly run as this server remembers it: all of it, or nothing."""

    changed: bool
    started_at: Annotated[str, Moment()]
    seconds: float
    databases: dict[str, RunOfDatabase]
    kit: Mapping[str, object] | None
    kit_error: str
    exit_status: int
    findings: list[Finding]


class LastRun(_LastRun, total=False):
    """And what version 0.1.0 did not remember."""

    #: when what failed is tried again; empty: it is not
    again_at: str


LAST_RUN = state.Kept("last-run.json", LastRun)


class _History(TypedDict):
    """What happened, newest first; ``last_run`` is empty where none is remembered here."""

    changed: bool
    events: list[Event]
    last_run: LastRun
    findings: list[Finding]


class History(_History, total=False):
    """And what waits for a store that takes it, as this server remembers it."""

    waiting: list[Mapping[str, object]]


class Happened(TypedDict):
    """Events, newest first, and findings: those that cannot be read."""

    events: list[Event]
    findings: list[Finding]


def happened(
    settings: Settings,
    store: Store,
    since: datetime,
    database: str = "",
    only: str = "",
    listings: Listings | None = None,
    quick: bool = False,
) -> Happened:
    """What happened to this server since then: what others have written is not read, as their names
    stand in the keys. A server without a name in the settings (nothing but a bucket is known) hears
    of all servers.

    An event that cannot be read is a finding, and hides no other; so is one that somebody else has
    put there, or has taken away, where all are looked at.

    :param database: only what happened to this one.
    :param only: events of this name alone; no other is read.
    :param listings: what a look has listed already.
    :param quick: whether events are missing is not told; older ones are not even listed.
    """
    events: list[Event] = []
    findings: list[Finding] = []
    for root in _roots(settings):
        if listings is not None and listings.is_absent(root):
            continue
        # numbers that are missing show only in all of it
        first = format_time(since) if only or quick else ""
        for journal_, listed in _journals(store, root, first).items():
            told = _happened(settings, store, journal_, listed, since, only, quick)
            findings += told["findings"]
            events += [
                event
                for event in told["events"]
                if settings.server_name in ("", event["server"])
                and only in ("", event["event"])
                and database in ("", event["database"])
            ]
    unread = [found for found in findings if found["code"] == "EVENT_UNREADABLE"]
    if len(unread) > _MOST_NAMED:
        more = f"and {len(unread) - _MOST_NAMED} more events"
        findings = [found for found in findings if found not in unread[_MOST_NAMED:]]
        findings.append(finding("EVENT_UNREADABLE", more))
    events.sort(key=_order, reverse=True)
    return {"events": events, "findings": findings}


def _order(event: Event) -> tuple[str, str]:
    return event["at"], event["event"]


def _happened(
    settings: Settings,
    store: Store,
    journal_: str,
    listed: Sequence[str],
    since: datetime,
    only: str,
    quick: bool,
) -> Happened:
    """:func:`happened` by one journal.

    :param listed: all keys in it.
    """
    # before what was listed is read: what is written from now on is no gap
    layout = Layout(journal_.removesuffix("journal/").rstrip("/"))
    row = numbers.remembered(settings, layout) if settings.server_name else None
    first, keys, there = format_time(since), dict[str, gaps.Named](), []
    for key in listed:
        named = gaps.parse(key.removeprefix(journal_))
        if named and not named.rest.startswith(_CLAIMS):
            there.append(named)
            if settings.server_name and not named.may_be_of(settings.server_name):
                continue
            if named.time >= first and (not only or named.may_be(only)):
                keys[key] = named
    reader = _Reader(
        signed.Believed.by(settings), signed.signatures(store, keys, frozenset(listed))
    )

    def read(key: str, data: bytes | PostgresBackupError | None) -> tuple[str, _Answer]:
        return key, reader(key, data)

    found = dict(store.get_many(keys, read, _MOST_BYTES))
    findings = [unread for _, unread in found.values() if unread]
    told = [(_as_read(key, keys[key], event), event) for key, (event, _) in found.items() if event]
    remembered = {settings.server_name: row} if row else {}
    if not (only or quick):
        findings += gaps.findings_of(journal_, there, [one for one, _ in told], remembered)
    return {"events": [event for one, event in told if not one.misplaced], "findings": findings}


def _as_read(key: str, named: gaps.Named, event: Event) -> gaps.Read:
    return gaps.Read(
        key,
        named,
        event["server"],
        event["at"],
        event["event"],
        event.get("number", 0),
        event.get("begins", 1),
        event.get("lost", []),
        cast(Kind, event["signature"]),
    )


def events(settings: Settings, store: Store, since: datetime, database: str = "") -> list[Event]:
    """What happened to this server, as :func:`happened` tells it; what is missing is not told."""
    return happened(settings, store, since, database, quick=True)["events"]


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


def _in_own_folder(settings: Settings) -> Settings | None:
    """The settings of a server in its own folder, where these name the prefix of all servers and
    what happened to it may stand there; None where they do not.
    """
    prefix, server = settings.s3_prefix.strip("/"), settings.server_name
    if not (settings.databases and server) or shared_prefix(prefix, server) != prefix:
        return None
    return dataclasses.replace(settings, s3_prefix=own_folder(prefix, server))


def _journals(store: Store, root: str, first: str) -> dict[str, list[str]]:
    """The keys in each journal under a root, by where it lies.

    :param first: the second from which on they are wanted; empty: all.
    """
    found: dict[str, list[str]] = {root: []} if root.endswith("journal/") else {}
    after = root + first if first and root.endswith("journal/") else ""
    for item in store.list(root, after=after):
        below = item.key.removeprefix(root).split("/")
        if root.endswith("journal/"):
            found[root].append(item.key)
        elif "journal" in below[:3] and below.index("journal") == len(below) - 2:
            place = item.key.removesuffix(below[-1])
            found.setdefault(place, []).append(item.key)
    return found


_Answer = tuple["Event | None", "Finding | None"]


class _Reader:
    """Reads events, and judges each by its signature.

    :param signatures: by the events' keys.
    """

    def __init__(self, believed: signed.Believed, signatures: Mapping[str, bytes]) -> None:
        self._believed, self._signatures = believed, signatures

    def __call__(self, key: str, data: bytes | PostgresBackupError | None) -> _Answer:
        """An event, or a finding where it cannot be read; neither where it has gone."""
        if data is None:
            return None, None
        if isinstance(data, PostgresBackupError):
            return None, finding("EVENT_UNREADABLE", f"{key} cannot be read: {data.message}")
        try:
            event = fitted({"database": ""} | load(data, _MOST_BYTES), Event)
        except Unfit as error:
            return None, finding("EVENT_UNREADABLE", f"{key} cannot be read: {error}")
        standing = self._believed.judge(data, self._signatures.get(key), event["server"])
        if standing.kind == WRONG:
            return None, finding("SIGNATURE_WRONG", f"{key}: {standing.says}")
        return {**event, "signature": standing.kind}, None


def history(settings: Settings, days: float = 7, database: str = "") -> History:
    """What happened in the last days, from the bucket, and the last run as this server remembers
    it.

    A store that cannot be reached leaves what the server itself knows.
    """
    findings: list[Finding] = []
    told: list[Event] = []
    remembered = state.read(settings, LAST_RUN) if settings.server_name else cast(LastRun, {})
    try:
        store = Store(settings)
        store.looks()
        store.check()
        since = utc_now() - timedelta(days=days)
        of = settings.for_database(database) if database and settings.databases else database
        read = happened(settings, store, since, of)
        told, findings = read["events"], read["findings"]
        if not told and (own := _in_own_folder(settings)):
            read = happened(own, store, since, of)
            told, findings = read["events"], [*findings, *read["findings"]]
    except StoreError as error:
        if not remembered:
            raise
        findings.append(
            finding(
                "STORE_FAILS",
                f"{error.message} What follows is this server's own memory of its last run",
            )
        )
    return {
        "changed": False,
        "events": told,
        "last_run": remembered,
        "waiting": tries.unwritten(settings) if settings.server_name else [],
        "findings": findings,
    }


def lines(told: History) -> list[str]:
    """:func:`history` for a person: one line an event, the newest first."""
    text = [f"{finding['code']}: {finding['message']}" for finding in told["findings"]]
    for late in reversed(told.get("waiting", [])):
        named = (str(late.get(name) or "-") for name in ("at", "database", "event"))
        text.append("  ".join((*named, "not in the bucket yet")))
    for event in told["events"]:
        words = (
            event["at"],
            f"#{event['number']}" if event.get("number") else "-",
            event["server"],
            event["database"] or "-",
            event["event"],
            _summary(event),
        )
        text.append("  ".join(words).rstrip())
    if told["events"] and all(event["signature"] == "unsigned" for event in told["events"]):
        text.append(
            "Nobody has signed these events, so nobody can tell whether some were altered or are "
            "missing: `ansible-playbook setup.yml` makes the key"
        )
    if not told["events"] and told["last_run"]:
        text.append(last_run_line(told["last_run"]))
    return text or ["Nothing happened in this time."]


def _summary(event: Event) -> str:
    """What else is known of an event, in a few words."""
    words = [str(event["backup"])] if event.get("backup") else []
    words += [f"on {event['host']}"] if event.get("host") else []
    if event.get("copy_database"):
        words.append(f"as {event['copy_database']}")
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
    words += [f"{len(event['adopted'])} adopted"] if event.get("adopted") else []
    words += [event["code"]] if event.get("code") else []
    words += [changed_in_words(one) for one in event.get("changes", [])]
    if event["signature"] == "stranger":
        words.append("signed by a stranger")
    if event.get("reason"):
        words.append(str(event["reason"]))
    if event.get("again_at"):
        words.append(f"tried again at {event['again_at']}")
    return ", ".join(words)


def changed_in_words(change: SettingChange) -> str:
    """A changed setting for a person; of secrets alone that they are others now."""
    before, after = change["before"], change["after"]
    if before == after:
        return f"{change['name']}: {SECRET_CHANGED}"
    return f"{change['name']}: {before or 'not set'} -> {after or 'not set'}"


def last_run_line(run: LastRun) -> str:
    """The last nightly run as a server remembers it, in one line; empty where there is none."""
    if len(run) == 0:  # mypy knows only whole ones
        return ""
    failed = [
        f"{name}: {database['error']}"
        for name, database in run["databases"].items()
        if database["error"]
    ] + ([f"kit: {run['kit_error']}"] if run["kit_error"] else [])
    outcome = "FAILED: " + "; ".join(failed) if failed else "was OK"
    again = f"; it is tried again at {run['again_at']}" if run.get("again_at") else ""
    return f"the run of {run['started_at']} {outcome}, {human_seconds(run['seconds'])}{again}"
