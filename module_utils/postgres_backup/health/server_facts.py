"""Everything that the page of playbooks/report.yml tells of one server: from the bucket, and from
what the server itself remembers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ..catalog import history
from ..catalog.backups import Backup
from ..catalog.names import BackupName
from ..catalog.retention import Decision, Policy, plan
from ..clock import format_timestamp, parse_timestamp, utc_now
from ..s3.store import Store
from ..settings import Settings
from . import alarms, costs, status

#: days that the page looks back
DAYS = 90
#: tables of which it shows how they grow
TABLES = 5
_RESTORES = ("restore", "restore-failed", "restore-tables")
_DRILLS = ("drill", "drill-failed")
_FAILURES = ("backup-failed", "prune-failed")


def describe_server(settings: Settings) -> dict:
    """What :func:`describe` makes of this server as it is now: each listing of the bucket, and each
    manifest, is asked for once.

    :raises StoreError: the bucket cannot be read.
    """
    now = utc_now()
    found, backups = status.look(settings)
    events = history.events(settings, Store(settings), now - timedelta(days=DAYS))
    return describe(settings, now, backups, found, events, alarms.open_troubles(settings))


def describe(
    settings: Settings,
    now: datetime,
    backups: Mapping[str, Sequence[Backup]],
    found: dict,
    events: Sequence[dict],
    alarms: Sequence[dict],
) -> dict:
    """One server, JSON throughout; times are UTC, sizes bytes.

    :param backups: per database, newest first, as ``status.look`` gives them.
    :param found: what ``status.look`` says of them.
    :param events: of the last :data:`DAYS` days, newest first, as ``history.events`` gives them.
    :param alarms: as ``alerts.open_troubles`` gives them.
    :return: ``server at next_run schedule_time fresh_hours retention healthy findings alarms costs
        databases``; each database has ``database state last age_hours backups past tables going
        failures restores drills replaced waiting kept bytes`` (see :func:`_database`).
    """
    decisions = {
        name: [d for d in plan(list(backups[name]), Policy.of(settings), now) if d.backup.candidate]
        for name in settings.databases
    }
    stays = {
        name: [d.backup.describe(now) for d in decisions[name] if d.keep and d.backup.ours]
        for name in settings.databases
    }
    return {
        "server": settings.server_name,
        "at": format_timestamp(now),
        "days": DAYS,
        "next_run": found["next_run"],
        "schedule_time": settings.schedule_time,
        "fresh_hours": settings.fresh_hours,
        "retention": {
            "days": settings.retention_days,
            "weekly": settings.keep_weekly,
            "monthly": settings.keep_monthly,
        },
        "healthy": found["healthy"],
        "findings": [one | {"message": settings.hide(one["message"])} for one in found["findings"]],
        "alarms": [one | {"message": settings.hide(one["message"])} for one in alarms],
        "costs": costs.total(costs.estimate(settings, kept) for kept in stays.values()),
        "databases": [
            _database(settings, now, name, decisions[name], found["databases"][name], events)
            for name in settings.databases
        ],
    }


def _database(
    settings: Settings,
    now: datetime,
    name: str,
    decisions: Sequence[Decision],
    found: dict,
    events: Sequence[dict],
) -> dict:
    """``state``: none (no good backup), stale, failed (the last attempt), bad (one that is kept is
    damaged) or well. ``backups``: newest first, with ``keep`` and ``reason``. ``past``: those that
    the journal remembers and the bucket no longer has. ``tables``: the largest, with their rows in
    each of
    ``backups`` (None where it had no such table). ``going``: what the next prune takes."""
    mine = [event for event in events if event["database"] == name]
    lines = [_line(d, now) for d in decisions]
    there = {line["backup"] for line in lines}
    failures = [
        _outcome(settings, e) | {"what": e["event"].removesuffix("-failed")}
        for e in mine
        if e["event"] in _FAILURES
    ]
    return {
        "database": name,
        "state": _state(settings, now, lines, found["last"], failures),
        "last": found["last"] and found["last"]["backup"],
        "age_hours": found["age_hours"],
        "kept": found["kept"],
        "bytes": found["bytes"],
        "backups": lines,
        "past": [
            _past(e)
            for e in mine
            if e["event"] == "backup"
            and e.get("backup") not in there
            and BackupName.parse(str(e.get("backup")))
        ],
        "tables": _tables([d.backup for d in decisions]),
        "going": [line["backup"] for line in lines if not line["keep"]],
        "failures": failures,
        "restores": [_outcome(settings, e) for e in mine if e["event"] in _RESTORES],
        "drills": [_outcome(settings, e) for e in mine if e["event"] in _DRILLS],
        "replaced": found["replaced"],
        "waiting": found["waiting"],
    }


def _state(
    settings: Settings,
    now: datetime,
    lines: Sequence[dict],
    last: dict | None,
    failures: Sequence[dict],
) -> str:
    if last is None:
        return "none"
    if now - parse_timestamp(last["taken_at"]) > timedelta(hours=settings.fresh_hours):
        return "stale"
    if any(one["what"] == "backup" and one["at"] > last["taken_at"] for one in failures):
        return "failed"
    return "bad" if any(line["state"] == "bad" for line in lines) else "well"


def _line(decision: Decision, now: datetime) -> dict:
    about = decision.backup.describe(now)
    names = ("backup", "taken_at", "bytes", "dump_bytes", "rows", "seconds", "state")
    proofs = [{"kind": proof["kind"], "at": proof["at"]} for proof in decision.backup.proofs][-1:]
    return {name: about[name] for name in names} | {
        "keep": decision.keep,
        "reason": decision.reason,
        "problem": about["problem"],
        "proofs": proofs,
    }


def _past(event: dict) -> dict:
    return {"taken_at": event["at"]} | {
        name: event.get(name) for name in ("backup", "bytes", "dump_bytes", "rows", "seconds")
    }


def _outcome(settings: Settings, event: dict) -> dict:
    """What became of a backup, a restore or a drill: ``at ok reason`` and what else the journal has
    of it.
    """
    found = {name: event.get(name) for name in ("backup", "seconds", "downtime_seconds")}
    tables = [
        str(one["table"] if isinstance(one, dict) else one) for one in event.get("tables") or []
    ]
    ok = not event["event"].endswith("-failed")
    return (
        {"at": event["at"], "ok": ok}
        | found
        | {"tables": tables}
        | ({} if ok else {"reason": settings.hide(str(event.get("reason", "")))})
    )


def _tables(backups: Sequence[Backup]) -> list[dict]:
    """Of the newest good backup those with most rows, the largest first: ``table`` and ``rows``, a
    number for each backup.
    """
    newest = next((b.manifest["tables"] for b in backups if b.ours and b.good), {})
    largest = sorted(newest, key=lambda table: (-newest[table]["rows"], table))[:TABLES]
    return [
        {"table": table, "rows": [_rows(backup, table) for backup in backups]} for table in largest
    ]


def _rows(backup: Backup, table: str) -> int | None:
    return backup.manifest["tables"].get(table, {}).get("rows") if backup.good else None


def lines(facts: dict) -> list[str]:
    """:func:`describe_server` for a person: is all well, and if not, why."""
    well = "all is well" if facts["healthy"] else "NOT WELL"
    return [
        f"{facts['server']}: {well}; next run {facts['next_run']}",
        *(f"  {one['code']}: {one['message']}" for one in facts["findings"]),
    ]
