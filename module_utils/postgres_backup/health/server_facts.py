"""Everything that the page of playbooks/report.yml tells of one server: from the bucket, and from
what the server itself remembers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..catalog import rpo
from ..catalog.backup import BackupLine, ProofLine
from ..catalog.backups import Backup, State
from ..catalog.history import Event, changed_in_words, events
from ..catalog.names import BackupName
from ..catalog.retention import Decision, Policy, plan
from ..catalog.tables import NO_TABLES
from ..clock import format_timestamp, utc_now
from ..findings import Finding
from ..s3.store import Store
from ..settings import Settings
from . import archiving, costs, rows_gone, second_store
from .alarm_kinds import OpenAlarm
from .kept_databases import ReplacedDatabase
from .second_store import Copied
from .status import BucketStatus, DatabaseStatus, head, look
from .verdict import DatabaseState, Reason, ServerState

#: days that the page looks back
DAYS = 90
#: tables of which it shows how they grow
TABLES = 5
#: findings of a drill that it names
_MOST_FOUND = 50
_RESTORES = ("restore", "restore-failed", "restore-tables")
_DRILLS = ("drill", "drill-failed")
_REHEARSALS = ("rehearsal", "rehearsal-failed")
_FAILURES = ("backup-failed", "prune-failed")


class Retention(TypedDict):
    days: int
    weekly: int
    monthly: int


class PastBackup(TypedDict):
    """A backup that the journal remembers and the bucket no longer has."""

    backup: str
    taken_at: str
    bytes: int | None
    dump_bytes: int | None
    rows: int | None
    seconds: float | None


class BackupFacts(TypedDict):
    """A backup in the bucket, whether it stays and why, and the proof that says most."""

    backup: str
    taken_at: str
    bytes: int
    dump_bytes: int | None
    rows: int | None
    seconds: float | None
    state: State
    keep: bool
    reason: str
    problem: str
    proofs: list[ProofLine]


class TableFacts(TypedDict):
    """The rows of a table in each backup; None where it had no such table."""

    table: str
    rows: list[int | None]


class _Outcome(TypedDict):
    at: str
    ok: bool
    backup: str | None
    seconds: float | None
    downtime_seconds: float | None
    tables: list[str]


class Outcome(_Outcome, total=False):
    """What became of a restore or a drill; ``reason`` where it failed."""

    reason: str


class DrillFacts(Outcome):
    """What became of a drill: what it found, what its phases took, and what a restore would."""

    findings: list[Finding]
    phases: dict[str, float]
    rows: int | None
    restore_seconds: float | None


class RehearsalFacts(TypedDict):
    """A rebuild rehearsed on another ``host``; ``reason`` where it failed, else empty."""

    at: str
    host: str
    seconds: float
    phases: dict[str, float]
    reason: str


class Failure(_Outcome):
    """A backup or a prune (``what``) that failed."""

    reason: str
    what: str


class DatabaseFacts(TypedDict):
    """One database."""

    database: str
    state: DatabaseState
    #: the newest good backup
    last: str | None
    age_hours: float | None
    kept: int
    bytes: int
    #: newest first
    backups: list[BackupFacts]
    past: list[PastBackup]
    #: the largest, with their rows in each of ``backups``
    tables: list[TableFacts]
    #: what the next prune takes
    going: list[str]
    failures: list[Failure]
    restores: list[Outcome]
    drills: list[DrillFacts]
    #: the longest time between two backups in these days
    rpo: rpo.Rpo | None
    replaced: list[ReplacedDatabase] | None
    waiting: int


class ChangedSettings(TypedDict):
    """What ``setup.yml``, or the night, has found changed; each setting in words."""

    at: str
    changes: list[str]


class ServerFacts(TypedDict):
    """One server, JSON throughout; times are UTC, sizes bytes."""

    server: str
    at: str
    days: int
    next_run: str
    schedule_time: str
    fresh_hours: int
    retention: Retention
    healthy: bool
    state: ServerState
    why: list[Reason]
    findings: list[Finding]
    alarms: list[OpenAlarm]
    #: whom to call; may be empty
    contact: str
    #: newest first
    changed_settings: list[ChangedSettings]
    costs: costs.Estimate
    #: what was copied there last, for a person; nothing where there is none
    second_store: list[str]
    #: those of the costs, and where they are set; empty where none is
    prices: str
    databases: list[DatabaseFacts]
    #: rebuilds of the whole server, newest first
    rehearsals: list[RehearsalFacts]
    #: whether every second is kept, for a person; empty where it is not asked for
    every_second: list[str]


def describe_server(settings: Settings) -> ServerFacts:
    """What :func:`describe` makes of this server as it is now: each listing of the bucket, and each
    manifest, is asked for once.

    :raises StoreError: the bucket cannot be read.
    """
    now = utc_now()
    store = Store(settings)
    store.looks()
    happened = events(settings, store, now - timedelta(days=DAYS))
    seen, backups = look(settings, happened=happened)
    alarms, copied = seen["alarms"], seen["second_store"]
    facts = describe(settings, now, backups, seen, happened, alarms, copied)
    costs_of_all = archiving.with_archive(facts["costs"], settings, archiving.known(settings))
    return {**facts, "costs": costs_of_all, "every_second": seen["every_second"]}


def describe(
    settings: Settings,
    now: datetime,
    backups: Mapping[str, Sequence[Backup]],
    seen: BucketStatus,
    happened: Sequence[Event],
    alarms: Sequence[OpenAlarm],
    copied: Copied | None = None,
) -> ServerFacts:
    """Everything of one server, from what was read. Pure.

    :param backups: per database, newest first, as ``status.look`` gives them.
    :param seen: what ``status`` says of them.
    :param happened: in the last :data:`DAYS` days, newest first.
    :param copied: what ``status`` says of the second store.
    """
    names = settings.databases
    decisions = {name: _decisions(settings, now, name, backups[name]) for name in names}
    lines = {name: [d.backup.describe(now) for d in decisions[name]] for name in names}
    estimated = costs.total(
        _costs(settings, decisions[name], lines[name], backups[name]) for name in names
    )
    estimated = costs.with_copy(estimated, settings, copied or {})
    return {
        "server": settings.server_name,
        "at": format_timestamp(now),
        "days": DAYS,
        "next_run": seen["next_run"],
        "schedule_time": settings.schedule_time,
        "fresh_hours": settings.fresh_hours,
        "retention": {
            "days": settings.retention_days,
            "weekly": settings.keep_weekly,
            "monthly": settings.keep_monthly,
        },
        "healthy": seen["healthy"],
        "state": seen["state"],
        "why": [
            {**why, "text": settings.hide(why["text"]), "todo": settings.hide(why["todo"])}
            for why in seen["why"]
        ],
        "findings": [{**f, "message": settings.hide(f["message"])} for f in seen["findings"]],
        "alarms": [
            {**a, "message": settings.hide(a["message"]), "hint": settings.hide(a["hint"])}
            for a in alarms
        ],
        "contact": settings.contact,
        "changed_settings": [
            _changed(settings, event) for event in happened if event["event"] == "settings"
        ],
        "costs": estimated,
        "second_store": [settings.hide(line) for line in second_store.lines(copied or {})],
        "prices": costs.prices(estimated),
        "databases": [
            _database(
                settings,
                now,
                decisions[name],
                lines[name],
                seen["databases"][name],
                [event for event in happened if event["database"] == name],
                name,
            )
            for name in names
        ],
        "rehearsals": [_rehearsal(settings, e) for e in happened if e["event"] in _REHEARSALS],
        "every_second": [],
    }


def _decisions(
    settings: Settings, now: datetime, database: str, backups: Sequence[Backup]
) -> list[Decision[Backup]]:
    """What stays of a database, and why; of what may be its own."""
    held = rows_gone.holding(settings.server_name, database, backups, now)
    decided = plan(backups, Policy.of(settings), now, held)
    return [decision for decision in decided if decision.backup.candidate]


def _costs(
    settings: Settings,
    decisions: Sequence[Decision[Backup]],
    lines: Sequence[BackupLine],
    backups: Sequence[Backup],
) -> costs.Estimate:
    """Of the backups of one database that stay.

    :param lines: one for each decision.
    """
    stay = [
        line
        for line, decision in zip(lines, decisions, strict=True)
        if decision.keep and decision.backup.ours
    ]
    return costs.estimate(settings, stay, sum(not backup.ours for backup in backups))


def _rehearsal(settings: Settings, event: Event) -> RehearsalFacts:
    return {
        "at": event["at"],
        "host": event.get("host", ""),
        "seconds": event.get("seconds", 0.0),
        "phases": event.get("phases", {}),
        "reason": settings.hide(str(event.get("reason", ""))),
    }


def _changed(settings: Settings, event: Event) -> ChangedSettings:
    words = [settings.hide(changed_in_words(one)) for one in event.get("changes", [])]
    return {"at": event["at"], "changes": words}


def _database(
    settings: Settings,
    now: datetime,
    decisions: Sequence[Decision[Backup]],
    lines: Sequence[BackupLine],
    seen: DatabaseStatus,
    happened: Sequence[Event],
    name: str,
) -> DatabaseFacts:
    backups = [_backup(*pair) for pair in zip(decisions, lines, strict=True)]
    there = {backup["backup"] for backup in backups}
    failures = [_failure(settings, event) for event in happened if event["event"] in _FAILURES]
    last = seen["last"]
    return {
        "database": name,
        "state": seen["state"],
        "last": last["backup"] if last else None,
        "age_hours": seen["age_hours"],
        "kept": seen["kept"],
        "bytes": seen["bytes"],
        "backups": backups,
        "past": [
            _past(event)
            for event in happened
            if event["event"] == "backup"
            and event.get("backup") not in there
            and BackupName.parse(str(event.get("backup")))
        ],
        "tables": _tables([decision.backup for decision in decisions]),
        "going": [backup["backup"] for backup in backups if not backup["keep"]],
        "failures": failures,
        "restores": [_outcome(settings, e) for e in happened if e["event"] in _RESTORES],
        "drills": [_drill(settings, e) for e in happened if e["event"] in _DRILLS],
        "rpo": rpo.longest(happened, now),
        "replaced": seen["replaced"],
        "waiting": seen["waiting"],
    }


def _backup(decision: Decision[Backup], line: BackupLine) -> BackupFacts:
    return {
        "backup": line["backup"],
        "taken_at": line["taken_at"],
        "bytes": line["bytes"],
        "dump_bytes": line["dump_bytes"],
        "rows": line["rows"],
        "seconds": line["seconds"],
        "state": line["state"],
        "keep": decision.keep,
        "reason": decision.reason,
        "problem": line["problem"],
        "proofs": [line["proof"]] if line["proof"] else [],
    }


def _past(event: Event) -> PastBackup:
    return {
        "taken_at": event["at"],
        "backup": event["backup"],
        "bytes": event.get("bytes"),
        "dump_bytes": event.get("dump_bytes"),
        "rows": event.get("rows"),
        "seconds": event.get("seconds"),
    }


def _outcome(settings: Settings, event: Event) -> Outcome:
    ok = not event["event"].endswith("-failed")
    outcome: Outcome = {
        "at": event["at"],
        "ok": ok,
        "backup": event.get("backup"),
        "seconds": event.get("seconds"),
        "downtime_seconds": event.get("downtime_seconds"),
        "tables": _table_names(event),
    }
    if not ok:
        outcome["reason"] = settings.hide(str(event.get("reason", "")))
    return outcome


def _drill(settings: Settings, event: Event) -> DrillFacts:
    return {
        **_outcome(settings, event),
        "findings": [
            {**found, "message": settings.hide(found["message"])}
            for found in event.get("findings", [])[:_MOST_FOUND]
        ],
        "phases": event.get("phases", {}),
        "rows": event.get("rows"),
        "restore_seconds": event.get("restore_seconds"),
    }


def _failure(settings: Settings, event: Event) -> Failure:
    what, reason = event["event"].removesuffix("-failed"), str(event.get("reason", ""))
    return {**_outcome(settings, event), "reason": settings.hide(reason), "what": what}


def _table_names(event: Event) -> list[str]:
    """Of a restore of tables: a failed one names what was asked for."""
    tables: Sequence[object] = event.get("tables") or []
    return [str(table.get("table", "") if isinstance(table, dict) else table) for table in tables]


def _tables(backups: Sequence[Backup]) -> list[TableFacts]:
    """Of the newest good backup those with most rows, the largest first."""
    newest = next((b.tables for b in backups if b.ours and b.good), NO_TABLES)
    rows = dict(zip(newest.names, newest.rows, strict=True))
    largest = sorted(rows, key=lambda table: (-rows[table], table))[:TABLES]
    return [
        {"table": table, "rows": [_rows(backup, table) for backup in backups]} for table in largest
    ]


def _rows(backup: Backup, table: str) -> int | None:
    return backup.tables[table] if backup.good and table in backup.tables else None


def lines(facts: ServerFacts) -> list[str]:
    """:func:`describe_server` for a person: is all well, and if not, why."""
    return [
        head(facts["server"], facts["state"], facts["next_run"]),
        *(f"  {found['code']}: {found['message']}" for found in facts["findings"]),
    ]
