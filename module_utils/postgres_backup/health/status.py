"""What is there, and is it as it should be: listings and the state of one server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta

from ..catalog import history
from ..catalog.backups import Backup, Catalog, newest_good
from ..catalog.owners import owners
from ..catalog.retention import Policy, plan
from ..clock import format_timestamp, parse_timestamp, utc_now
from ..errors import DatabaseError, UsageError
from ..findings import Finding, finding
from ..machine import state
from ..machine.schedule import next_run
from ..postgresql import replaced
from ..postgresql.connection import connect_maintenance
from ..s3.store import Store
from ..settings import Settings
from ..text import human_age, human_bytes
from . import alarms, costs, metrics


def info(settings: Settings, database: str = "", backup: str = "") -> dict:
    """Every whole-database backup under the prefix, newest first.

    :param database: empty: all of the settings' databases; where the settings name none, of all
        that the bucket knows.
    :param backup: a name or ``latest``: which one is meant, and an error that names the nearest
        where there is none.
    :return: ``backups`` (see ``catalog.Backup.describe``, and ``keep`` and ``reason`` as the next
        prune would decide), ``waiting``; ``owners`` where the settings do not say whose backups are
        asked for; ``chosen`` where one is.
    """
    store = Store(settings)
    store.check()
    now = utc_now()
    result: dict = {"changed": False}
    if not settings.databases or not settings.server_name:
        result["owners"] = owners(settings, store)
        settings = dataclasses.replace(
            settings,
            databases=settings.databases
            or tuple(dict.fromkeys(one["database"] for one in result["owners"])),
        )
    if backup:
        result["chosen"] = (
            Catalog(settings, store, settings.for_database(database)).resolve(backup).describe(now)
        )
    found = []
    waiting = 0
    for name in [settings.for_database(database)] if database else settings.databases:
        for decision in plan(Catalog(settings, store, name).backups(), Policy.of(settings), now):
            line = decision.backup.describe(now)
            line["database"] = line["database"] or (name if decision.backup.candidate else "")
            found.append(line | {"keep": decision.keep, "reason": decision.reason})
            waiting += decision.backup.waits_for_adoption
    unique = {(line["key"]): line for line in found if line["ours"] or line["state"] != "foreign"}
    for line in found:  # what lies under a shared prefix is seen by each database; it is listed once, by its owner where it has one
        unique.setdefault(line["key"], line)
    backups = sorted(
        unique.values(), key=lambda line: (line["taken_at"], line["key"]), reverse=True
    )
    return result | {"backups": backups, "waiting": waiting}


def status(settings: Settings) -> dict:
    """Is the newest good backup of every database fresh enough?

    :return: what :func:`judge` says, ``last_run`` (as this server remembers it; empty where it does
        not) and ``alarms`` (open now).
    """
    return look(settings)[0]


def look(settings: Settings) -> tuple[dict, dict[str, list[Backup]]]:
    """What :func:`status` returns, and the backups under the prefix, for each database, newest
    first.
    """
    store = Store(settings)
    store.check()
    now = utc_now()
    backups = {name: Catalog(settings, store, name).backups() for name in settings.databases}
    judged = judge(
        settings, backups, now, {name: _replaced(settings, name) for name in settings.databases}
    )
    return judged | {
        "last_run": state.read(settings, state.LAST_RUN),
        "alarms": alarms.open_troubles(settings),
    }, backups


def judge(
    settings: Settings,
    backups: Mapping[str, list[Backup]],
    now: datetime,
    kept: Mapping[str, list[dict] | DatabaseError],
) -> dict:
    """How things are, from what was read. Pure.

    :param backups: per database, newest first.
    :param kept: per database those that restores replaced, or why the server could not be asked.
    :return: ``healthy`` (bool), ``findings``, ``server``, ``next_run``, ``costs`` (see
        ``costs.total``), ``databases``: per database ``last`` (or None), ``age_hours``, ``kept``,
        ``bytes`` of all that is kept, ``replaced`` (databases kept by restores; None where nobody
        could say), ``waiting``.
    """
    findings: list[Finding] = []
    databases = {
        name: _one(settings, name, backups[name], now, kept[name], findings)
        for name in settings.databases
    }
    return {
        "changed": False,
        "healthy": not any(f["code"] in _UNHEALTHY for f in findings),
        "server": settings.server_name,
        "findings": findings,
        "next_run": format_timestamp(next_run(settings.schedule_time, now)),
        "costs": costs.total(
            costs.estimate(settings, [b.describe(now) for b in found if b.ours])
            for found in backups.values()
        ),
        "databases": databases,
    }


_UNHEALTHY = ("NO_BACKUP", "BACKUP_STALE", "BACKUP_BAD")


def _replaced(settings: Settings, name: str) -> list[dict] | DatabaseError:
    try:
        with connect_maintenance(settings, name) as connection:
            return [
                {
                    "name": there.name,
                    "replaced_at": format_timestamp(there.replaced_at),
                    "by": there.by,
                    "bytes": there.bytes,
                }
                for there in replaced.kept(connection, name)
            ]
    except DatabaseError as error:  # the backups can be judged without the server
        return error


def _one(
    settings: Settings,
    name: str,
    backups: list[Backup],
    now: datetime,
    kept: list[dict] | DatabaseError,
    findings: list[Finding],
) -> dict:
    mine = [b for b in backups if b.ours]
    last = newest_good(backups)
    if last is None:
        findings.append(finding("NO_BACKUP", f"{name} has no good backup", database=name))
    elif now - last.taken_at > timedelta(hours=settings.fresh_hours):
        age = (now - last.taken_at).total_seconds() / 3600
        message = f"the newest good backup of {name} is {age:.1f} hours old ({last.name}); {settings.fresh_hours} are allowed"
        findings.append(finding("BACKUP_STALE", message, database=name))
    for backup in backups:
        if backup.problem and backup.ours:
            newest = last is None or backup.taken_at > last.taken_at
            findings.append(
                finding(
                    "BACKUP_BAD", f"{backup.name}: {backup.problem}", database=name, newest=newest
                )
            )
        elif backup.problem and backup.candidate:  # whose it is cannot be told
            findings.append(finding(backup.problem_code, f"{backup.name}: {backup.problem}"))
    if isinstance(kept, DatabaseError):
        findings.append(finding("DATABASE_UNREACHABLE", kept.message))
    return {
        "last": last.describe(now) if last else None,
        "age_hours": last and round((now - last.taken_at).total_seconds() / 3600, 2),
        "kept": len(mine),
        "oldest": format_timestamp(mine[-1].taken_at) if mine else None,
        "bytes": sum(b.bytes for b in mine),
        "replaced": None if isinstance(kept, DatabaseError) else kept,
        "waiting": sum(b.waits_for_adoption for b in backups),
    }


def publish(settings: Settings, found: dict | None, watched: bool = False) -> list[dict]:
    """Write the metrics.

    :param found: what :func:`status` has said; None where the store does not answer: what was last
        known of the bucket stays.
    :param watched: the hourly look is what has found it.
    :return: findings: what could not be written.
    """
    now = utc_now()
    try:
        look = state.read(settings, state.LAST_LOOK)
        look = {
            "watched_at": format_timestamp(now) if watched else look.get("watched_at"),
            "databases": found["databases"] if found else look.get("databases", {}),
        }
        state.write(settings, state.LAST_LOOK, look)
        facts = {
            "server": settings.server_name,
            "now": now,
            "fresh_hours": settings.fresh_hours,
            "run": state.read(settings, state.LAST_RUN),
            "watched_at": parse_timestamp(look["watched_at"]) if look["watched_at"] else None,
            "databases": look["databases"],
            "counters": state.read(settings, state.COUNTERS),
            "restores": state.read(settings, state.LAST_RESTORE),
            "alarms": alarms.open_troubles(settings),
        }
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    return metrics.write(settings, facts)


def table(backups: list[dict]) -> list[str]:
    """The lines of a listing for a person; the first is the head."""
    if not backups:
        return ["There are no backups yet."]
    head = ("BACKUP", "DATABASE", "AGE", "SIZE", "ROWS", "STATE", "STAYS BECAUSE")
    rows = [head] + [
        (
            line["backup"],
            line["database"] or "?",
            human_age(line["age_hours"]),
            human_bytes(line["bytes"]),
            "?" if line["rows"] is None else f"{line['rows']:,}",
            line["state"],
            line["reason"] if line["keep"] else f"goes at the next prune: {line['reason']}",
        )
        for line in backups
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def owner_lines(found: list[dict]) -> list[str]:
    """Whose backups there are, for a person who has nothing but the bucket, and what to set for a
    restore.
    """
    lines = [
        f"server {one['server']}, database {one['database']}: {one['backups']} backup{'s' if one['backups'] > 1 else ''}, the newest {one['newest']}"
        for one in found
    ]
    return [
        *lines,
        "To restore them, give the server they go to these names: backup_server_name and backup_db_name (SERVER_NAME and DB_NAME)",
        "",
    ]


def lines(found: dict) -> list[str]:
    """:func:`status` for a person."""
    text = [
        f"{found['server']}: {'all is well' if found['healthy'] else 'NOT WELL'}; next run {found['next_run']}"
    ]
    for name, one in found["databases"].items():
        last = one["last"]
        text.append(
            f"  {name}: last good backup {last['backup']}, {human_age(last['age_hours'])} old, {human_bytes(last['bytes'])}, {last['rows']:,} rows"
            if last
            else f"  {name}: no good backup"
        )
        text.append(
            f"    kept: {one['kept']} backups, {human_bytes(one['bytes'])}"
            + (f", the oldest of {one['oldest']}" if one["oldest"] else "")
        )
        for row in one["replaced"] or []:
            text.append(
                f"    replaced database {row['name']}, {human_bytes(row['bytes'])}, by {row['by']}"
            )
        if one["waiting"]:
            text.append(
                f"    {one['waiting']} backups without an owner wait for `postgres-backup adopt`"
            )
    if run := history.last_run_line(found["last_run"]):
        text.append(f"  {run}")
    text += [f"  {line}" for line in costs.lines(found["costs"])]
    text += [
        f"  open alarm since {alarm['since']}: {alarm['code']}: {alarm['message']}"
        for alarm in found["alarms"]
    ]
    return text + [f"  {f['code']}: {f['message']}" for f in found["findings"]]
