"""Servers that are not there: what ``server_facts`` would say of them, made from a seed, for the
page's tests and bench.

Their backups and events are made up; all that is said of them goes through the same rooms as for a
real server.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import format_timestamp
from postgres_backup.errors import DatabaseError
from postgres_backup.health import status, verdict
from postgres_backup.health.kept_databases import Beside
from postgres_backup.health.server_facts import describe
from postgres_backup.health.verdict import Failed
from postgres_backup.settings import Settings

#: what a server can be: ``well`` and its troubles, by how the page is to show it
KINDS = (
    "well",
    "stale",
    "failed",
    "first day",
    "no backup",
    "damaged",
    "alarm",
    "unreachable",
    "unasked",
)
PRICES = {"price_gb_month": 0.02, "price_requests_1000": 0.005, "price_currency": "USD"}
TABLES = (
    "public.order_items",
    "public.orders",
    "public.events",
    "public.customers",
    "public.invoices",
    "public.products",
    "public.settings",
)
#: why a night failed
REASONS = (
    "Failed to reach the bucket backups: nothing answers",
    "pg_dump ended with 1: server closed the connection unexpectedly",
)


def server(
    kind: str,
    seed: int,
    now: datetime,
    *,
    name: str = "",
    databases: Sequence[str] = ("crm",),
    days: int = 90,
    keep: int = 90,
    **settings,
) -> dict:
    """One server as the page takes it.

    :param kind: one of :data:`KINDS`.
    :param days: nights that have passed; ``keep`` how many days of them are in the bucket.
    """
    name = name or f"db{seed}"
    if kind == "unasked":
        return {
            "name": name,
            "error": (
                "Failed to connect to the host via ssh: "
                f"ssh: connect to host {name} port 22: No route to host"
            ),
        }
    chance = random.Random(seed)
    made = Settings(
        name, tuple(databases), "crm", "https://object.example.com", "backups", "key", "secret",
        retention_days=keep, schedule_time="08:00" if kind == "failed" else "00:00",
        **({"state_dir": "/nonexistent"} | PRICES | settings),
    )  # fmt: skip
    backups: dict[str, list[Backup]] = {}
    events: list[dict] = []
    for database in databases:
        found, told = _nights(kind, chance, made, database, now, days)
        backups[database] = [
            backup for backup in found if now - backup.taken_at <= timedelta(days=keep)
        ]
        events += told
    events.sort(key=lambda event: event["at"], reverse=True)
    failed: dict[str, Failed] = {}
    for event in events:
        if event["event"] == "backup-failed":
            failed.setdefault(event["database"], Failed(event["at"], event["reason"]))
    unreachable = DatabaseError(f"Failed to reach PostgreSQL on {made.db_host}: connection refused")
    kept = {
        database: unreachable if kind == "unreachable" else Beside(_replaced(database, events), [])
        for database in databases
    }
    seen, alarms = (
        status.bucket_status(made, backups, now, kept, failed),
        _alarms(made, kind, events),
    )
    seen |= verdict.of_server(seen["databases"], seen["findings"], alarms)
    return {"name": name, "facts": describe(made, now, backups, seen, events, alarms)}


def _nights(
    kind: str, chance: random.Random, settings: Settings, database: str, now: datetime, days: int
) -> tuple[list[Backup], list[dict]]:
    """Backups, and the events of the journal; both newest first."""
    whose = {"server": settings.server_name, "database": database}
    size = chance.uniform(2e6, 8e8)
    rows = {
        table: int(size / 100 * chance.uniform(0.01, 1) * 0.3**number) + 3
        for number, table in enumerate(TABLES)
    }
    backups, events = [], []
    nights = range({"first day": 1, "no backup": 0}.get(kind, days))
    for night in nights:
        planned = now.replace(
            hour=int(settings.schedule_time[:2]), minute=0, second=0, microsecond=0
        ) - timedelta(days=night)
        at = planned + timedelta(seconds=chance.randint(2, 40))
        ago = (1 - night / 400) * chance.uniform(0.99, 1.0)
        missing = kind == "stale" and night < 3
        failed = (kind == "failed" and night == 0) or (night > 1 and chance.random() < 0.015)
        if failed and not missing:
            told = {"event": "backup-failed", "reason": chance.choice(REASONS)}
            events.append(whose | {"at": format_timestamp(at)} | told)
        if failed or missing or (night > 1 and chance.random() < 0.005):
            continue
        about = {
            "bytes": int(size * 0.2 * ago),
            "dump_bytes": int(size * ago),
            "rows": sum(int(count * ago) for count in rows.values()),
            "seconds": round(size * ago / 4e7 * chance.uniform(0.9, 1.4) + 0.8, 1),
        }
        tables = {
            table: {"rows": int(count * ago), "bytes": 100, "sha256": "0" * 64}
            for table, count in rows.items()
        }
        damaged = kind == "damaged" and night == 4
        backup = _backup(settings, database, at, about | {"tables": tables}, night, damaged)
        backups.append(backup)
        told = {"event": "backup", "backup": str(backup.name)}
        events.append(whose | {"at": format_timestamp(at)} | told | about)
    return backups, events + _restores(chance, whose, backups, now)


def _backup(
    settings: Settings, database: str, at: datetime, about: dict, night: int, damaged: bool
) -> Backup:
    name = BackupName(at)
    layout = Layout("postgres-backup", database if len(settings.databases) > 1 else "")
    read = {"kind": "verify", "at": format_timestamp(at + timedelta(minutes=1))}
    manifest = about | {
        "name": str(name),
        "database": database,
        "server": {"name": settings.server_name},
        "proofs": [read] if night % 30 == 0 else [],
    }
    return Backup(
        name, layout, about["bytes"], manifest, ours=True, candidate=True,
        problem="it has 20 bytes, its manifest says 83,512" if damaged else "",
        problem_code="SIZE_DIFFERS" if damaged else "",
    )  # fmt: skip


def _restores(
    chance: random.Random, whose: dict, backups: Sequence[Backup], now: datetime
) -> list[dict]:
    """What became of those that somebody has made, where there are nights enough."""
    events = []
    for night in (5, 41) if len(backups) > 45 else ():
        chosen = backups[night + 1]
        at = now - timedelta(days=night, minutes=chance.randint(1, 300))
        after = {
            "backup": str(chosen.name),
            "rows": chosen.described["rows"],
            "seconds": round(chance.uniform(4, 300), 1),
        }
        done = {
            "at": format_timestamp(at),
            "event": "restore",
            "downtime_seconds": round(chance.uniform(0.1, 0.6), 3),
            "kept_database": f"{whose['database']}_before_{at:%Y-%m-%d_%H-%M-%S}",
        }
        events.append(whose | done | after)
    if len(backups) > 60:
        failed = {
            "at": format_timestamp(now - timedelta(days=52)),
            "event": "restore-failed",
            "backup": str(backups[50].name),
            "reason": "There is no room for a second copy",
        }
        events.append(whose | failed)
    return events


def _replaced(database: str, events: Sequence[dict]) -> list[dict]:
    mine = [
        event for event in events if event["event"] == "restore" and event["database"] == database
    ][:1]
    return [
        {
            "name": one["kept_database"],
            "replaced_at": one["at"],
            "by": f"restore of {one['backup']}",
            "bytes": 812_345_678,
        }
        for one in mine
    ]


def _alarms(settings: Settings, kind: str, events: Sequence[dict]) -> list[dict]:
    database = settings.databases[0]
    if kind == "failed":
        last = next(event for event in events if event["event"] == "backup-failed")
        return [
            {
                "code": "BACKUP_FAILED",
                "database": database,
                "message": last["reason"],
                "since": last["at"],
                "hint": "",
            }
        ]
    if kind == "alarm":
        return [
            {
                "code": "SIZE_DROPPED",
                "database": database,
                "message": "the backup has 12.1 MB, 47 % less than usual",
                "since": events[0]["at"],
                "hint": "",
            }
        ]
    return []


def fleet(count: int, now: datetime, seed: int = 1) -> list[dict]:
    """Many servers of 90 backups each, nearly all of them well."""
    chance = random.Random(seed)
    troubles = [
        chance.choice(KINDS[1:]) if chance.random() < 0.03 else "well" for _ in range(count)
    ]
    return [
        server(kind, seed + number, now, name=f"db{number:03}")
        for number, kind in enumerate(troubles, 1)
    ]
