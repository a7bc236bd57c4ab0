"""What is there, and is it as it should be: listings and the state of one server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..catalog import history, partials, path_needs, remembered, rpo
from ..catalog.backups import Backup, BackupLine, Catalog, newest_good
from ..catalog.history import LAST_RUN, Event, LastRun, last_run_line
from ..catalog.listings import Listings
from ..catalog.owners import Owner, owners
from ..catalog.retention import Decision, Policy, plan, plan_parts
from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError, StoreError
from ..findings import Finding, each_once, finding
from ..machine import damage, identity, state
from ..machine.identity import Mark
from ..machine.schedule import next_run
from ..postgresql import server
from ..postgresql.own import own_mark
from ..s3.store import Store
from ..settings import Settings
from ..text import human_age, human_bytes
from . import (
    alarms,
    archiving,
    clocks,
    costs,
    disks,
    drills,
    failures,
    foreign_writer,
    kept_databases,
    leftovers,
    rebuild,
    rows_gone,
    second_store,
    two_servers,
    vanished,
    verdict,
)
from .alarm_kinds import OpenAlarm
from .drills import LastDrill
from .kept_databases import Beside, CopiedLine, ReplacedDatabase
from .leftovers import Leftovers
from .verdict import Failed, Judged, Reason, ServerState

#: backups that a sentence names
_NAMED = 3


class ListedBackup(BackupLine):
    """A backup, and whether it stays (``keep``) or goes at the next prune, with the reason;
    ``copied``: it was seen in the second store, as this server remembers it (None: there is none).
    """

    keep: bool
    reason: str
    copied: bool | None


class _Listing(TypedDict):
    changed: bool
    backups: list[ListedBackup]
    #: how many nobody has signed, so that they wait for ``adopt``
    waiting: int
    #: what is kept beside them to recover any second from, for a person
    every_second: list[str]


class Listing(_Listing, total=False):
    """What :func:`info` returns."""

    #: where the settings do not say whose backups are asked for
    owners: list[Owner]
    #: the one that was asked for
    chosen: BackupLine
    #: what was copied to the second store last; where there is one
    second_store: second_store.Copied


class _Backups(TypedDict):
    #: the newest good one
    last: BackupLine | None
    age_hours: float | None
    kept: int
    oldest: str | None
    bytes: int
    #: None where the server could not be asked
    replaced: list[ReplacedDatabase] | None
    #: copies of backups under names of their own; None likewise
    copies: list[CopiedLine] | None
    #: None where nobody has counted
    partial: PartsStatus | None
    #: how many backups nobody has signed, so that they wait for ``adopt``
    waiting: int
    #: when a backup was restored last, by a drill or for good, as the proofs in the bucket say
    restored_at: str | None
    #: the last drill, as this server remembers it
    drill: LastDrill | None
    #: the longest time between two backups of late, by the journal; None where nobody has looked
    rpo: rpo.Rpo | None


class PartsStatus(TypedDict):
    """The parts of backups of one database that are its own."""

    kept: int
    bytes: int


class DatabaseStatus(_Backups, Judged):
    """How the backups of one database are; ``bytes`` are those of all that is kept."""


class BucketStatus(TypedDict):
    """How things are in the bucket."""

    changed: bool
    #: nothing needs anybody; ``state`` is a key of ``verdict.STATES``
    healthy: bool
    state: ServerState
    why: list[Reason]
    server: str
    findings: list[Finding]
    next_run: str
    costs: costs.Estimate
    databases: dict[str, DatabaseStatus]


class Status(BucketStatus):
    """How things are, in the bucket and on this server: ``last_run`` as it remembers it (empty
    where it does not), ``alarms`` that are open.
    """

    last_run: LastRun
    #: the last rehearsal of a rebuild, as this server remembers it; empty where there was none
    rebuilt: drills.Rebuilt
    alarms: list[OpenAlarm]
    #: what was copied to the second store last; empty where there is none
    second_store: second_store.Copied
    #: None where nobody has counted
    leftovers: Leftovers | None
    #: whether every second is kept, for a person; nothing where it is not asked for
    every_second: list[str]


def info(
    settings: Settings, database: str = "", backup: str = "", partial: bool = False
) -> Listing:
    """Every whole-database backup under the prefix, newest first.

    :param database: empty: all of the settings' databases; where the settings name none, of all
        that the bucket knows.
    :param backup: a name or ``latest``: which one is meant, and an error that names the nearest
        where there is none.
    :param partial: the parts of backups instead.
    """
    store = Store(settings)
    store.looks()
    store.check()
    now = utc_now()
    seconds = [] if backup or partial else archiving.lines(archiving.known(settings))
    result: Listing = {"changed": False, "backups": [], "waiting": 0, "every_second": seconds}
    listings = Listings(store)
    servers: dict[str, list[str]] = {}
    if not settings.databases or not settings.server_name:
        result["owners"] = owners(settings, store, listings)
        for owner in result["owners"]:
            servers.setdefault(owner["database"], []).append(owner["server"])
        known = tuple(servers)
        settings = dataclasses.replace(settings, databases=settings.databases or known)
    own = own_mark(settings) if settings.server_name else Mark()
    if backup:
        catalog = Catalog(settings, store, settings.for_database(database), own)
        result["chosen"] = catalog.resolve(backup).describe(now)
    seen: list[ListedBackup] = []
    for name in [settings.for_database(database)] if database else settings.databases:
        catalog = Catalog(settings, store, name, own, listings, servers.get(name))
        there = catalog.backups()
        for decision in _decisions(catalog, there, now, partial):
            seen.append(_listed(decision, name, now))
            result["waiting"] += decision.backup.unvouched and not partial
    # what lies under a shared prefix is seen by each database; it is listed once, by its owner
    # where it has one
    unique = {line["key"]: line for line in seen if line["ours"] or line["state"] != "foreign"}
    for line in seen:
        unique.setdefault(line["key"], line)
    result["backups"] = sorted(
        unique.values(), key=lambda line: (line["taken_at"], line["key"]), reverse=True
    )
    if settings.has_copy and not settings.is_copy and not partial:
        result["second_store"] = second_store.shown(settings)
        copied = result["second_store"].get("databases", {})
        for line in result["backups"]:
            lies = copied.get(line["database"])
            line["copied"] = lies is not None and line["backup"] in lies["backups"]
    return result


def _decisions(
    catalog: Catalog, there: Sequence[Backup], now: datetime, partial: bool
) -> list[Decision[Backup]]:
    """What the next prune would do."""
    settings = catalog.settings
    if partial:
        newest = newest_good(there)
        dated = newest.dated_at if newest else None
        parts = partials.look(catalog, there).parts
        return plan_parts(parts, Policy.of(settings), now, dated, lambda part: part.held)
    held = rows_gone.holding(settings.server_name, catalog.database, there, now)
    return plan(there, Policy.of(settings), now, held)


def _listed(decision: Decision[Backup], database: str, now: datetime) -> ListedBackup:
    """A backup as ``database`` sees it: one that nobody owns may be its own."""
    line = decision.backup.describe(now)
    line["database"] = line["database"] or (database if decision.backup.candidate else "")
    return {**line, "keep": decision.keep, "reason": decision.reason, "copied": None}


def status(settings: Settings, counting: bool = False) -> Status:
    """Is the newest good backup of every database fresh enough?

    :param counting: what lies there and is no backup is counted too, which costs a request for
        each unfinished upload and two more.
    """
    return look(settings, counting)[0]


def look(
    settings: Settings, counting: bool = False, happened: Sequence[Event] | None = None
) -> tuple[Status, dict[str, list[Backup]]]:
    """What :func:`status` returns, and the backups under the prefix, for each database, newest
    first.

    :param happened: events of the last days, where they have been read already.
    """
    store = Store(settings)
    store.looks()
    store.check()
    now = utc_now()
    adopted: list[Finding] = []
    kept = {name: kept_databases.look(settings, name, adopted) for name in settings.databases}
    unreachable = any(isinstance(there, DatabaseError) for there in kept.values())
    own = identity.remembered(settings) if unreachable else own_mark(settings)
    listings = Listings(store)
    catalogs = {name: Catalog(settings, store, name, own, listings) for name in settings.databases}
    backups = {name: catalog.backups() for name, catalog in catalogs.items()}
    last_run = state.read(settings, LAST_RUN)
    unread: list[Finding] = []
    failed = failures.newest(settings, store, backups, last_run, happened, unread, listings)
    in_bucket = bucket_status(settings, backups, now, kept, failed)
    others = _who_else(settings, store, catalogs, backups, now)
    seconds = archiving.known(settings)
    seen: Status = {
        **in_bucket,
        "findings": in_bucket["findings"] + adopted + unread + others,
        "last_run": last_run,
        "rebuilt": state.read(settings, drills.REBUILT),
        "alarms": alarms.open_alarms(settings),
        "second_store": second_store.shown(settings),
        "leftovers": None,
        "every_second": archiving.lines(seconds),
    }
    seen["costs"] = archiving.with_archive(seen["costs"], settings, seconds)
    if counting:
        _count_parts(seen, catalogs, backups)
        seen["leftovers"] = leftovers.count(settings, store, backups, seen["findings"])
        since = now - timedelta(days=rpo.DAYS)
        for name, database in seen["databases"].items():
            taken = history.happened(settings, store, since, name, "backup")["events"]
            database["rpo"] = rpo.longest(taken, now)
    seen["findings"] += archiving.look(settings) + clocks.findings_of(store)
    if fault := settings.retention_fault:
        seen["findings"].append(finding("RETENTION_WRONG", f"nothing is pruned: {fault}"))
    if not unreachable:
        seen["findings"] += server.in_the_clear(settings)
    last = {name: database["last"] for name, database in seen["databases"].items()}
    seen["findings"] += second_store.findings_of(settings, last, now)
    seen["costs"] = costs.with_copy(seen["costs"], settings, seen["second_store"])
    seen["findings"] += rebuild.findings_of(settings)
    seen["findings"] += disks.findings_of(settings) + damage.troubles(settings)
    seen["findings"] = each_once(seen["findings"])
    waits = failures.waiting(last_run)
    judged = verdict.of_server(seen["databases"], seen["findings"], seen["alarms"], waits)
    seen["healthy"], seen["state"], seen["why"] = judged["healthy"], judged["state"], judged["why"]
    return seen, backups


def _who_else(
    settings: Settings,
    store: Store,
    catalogs: Mapping[str, Catalog],
    backups: Mapping[str, Sequence[Backup]],
    now: datetime,
) -> list[Finding]:
    """What came and what went without us."""
    findings: list[Finding] = []
    for name, there in backups.items():
        missing = catalogs[name].described()
        try:
            findings += foreign_writer.look(settings, store, name, there, now)
            findings += vanished.look(settings, store, name, there, missing, now)
        except StoreError as refused:  # it has shown the backups, and does not show the journal
            message = f"who else writes beside {name} is not known: {refused.message}"
            findings.append(finding("EVENT_UNREADABLE", settings.hide(message)))
    return findings


def _count_parts(
    seen: BucketStatus, catalogs: Mapping[str, Catalog], backups: Mapping[str, Sequence[Backup]]
) -> None:
    for name, catalog in catalogs.items():
        ours = [part for part in partials.look(catalog, backups[name]).parts if part.ours]
        held = sum(part.bytes for part in ours)
        seen["databases"][name]["partial"] = {"kept": len(ours), "bytes": held}
        seen["costs"] = costs.with_more(seen["costs"], catalog.settings, held)


def bucket_status(
    settings: Settings,
    backups: Mapping[str, Sequence[Backup]],
    now: datetime,
    kept: Mapping[str, Beside | DatabaseError],
    failed: Mapping[str, Failed] | None = None,
) -> BucketStatus:
    """How things are, from what was read; ``verdict`` says what is wrong. Pure.

    :param backups: per database, newest first.
    :param kept: per database what stands beside it, or why the server could not be asked.
    :param failed: per database the newest backup that failed.
    """
    findings: list[Finding] = []
    databases: dict[str, DatabaseStatus] = {}
    for name in settings.databases:
        last, there = newest_good(backups[name]), kept[name]
        findings += verdict.findings_of(name, backups[name], last, settings.fresh_hours, now)
        findings += clocks.from_the_future(name, backups[name])
        findings += vanished.findings_of(name, backups[name], remembered.look(settings, name))
        findings += two_servers.findings_of(settings.server_name, name, backups[name], now)
        gone = rows_gone.gone(settings.server_name, name, backups[name], now)
        findings += rows_gone.findings_of(name, gone)
        if last and last.described:
            findings += path_needs.findings_of(last.described.get("needs_search_path", []), name)
        if isinstance(there, DatabaseError):
            findings.append(finding("DATABASE_UNREACHABLE", there.message))
        judged = verdict.of_database(
            name,
            format_timestamp(last.taken_at) if last else None,
            settings.fresh_hours,
            (failed or {}).get(name),
            findings,
            now,
        )
        drill = drills.last_drill(settings, name, now)
        databases[name] = {**judged, **_database(backups[name], last, there, now, drill)}
    judged_server = verdict.of_server(databases, findings)
    return {
        "changed": False,
        **judged_server,
        "server": settings.server_name,
        "findings": findings,
        "next_run": format_timestamp(next_run(settings.schedule_time, now)),
        "costs": costs.total(
            costs.estimate(
                settings,
                [b.describe(now) for b in backups_of_one if b.ours],
                sum(not b.ours for b in backups_of_one),
            )
            for backups_of_one in backups.values()
        ),
        "databases": databases,
    }


def _database(
    backups: Sequence[Backup],
    last: Backup | None,
    kept: Beside | DatabaseError,
    now: datetime,
    drill: LastDrill | None,
) -> _Backups:
    mine = [backup for backup in backups if backup.ours]
    return {
        "last": last.describe(now) if last else None,
        "age_hours": round((now - last.taken_at).total_seconds() / 3600, 2) if last else None,
        "kept": len(mine),
        "oldest": format_timestamp(mine[-1].taken_at) if mine else None,
        "bytes": sum(backup.bytes for backup in mine),
        "replaced": None if isinstance(kept, DatabaseError) else kept.replaced,
        "copies": None if isinstance(kept, DatabaseError) else kept.copies,
        "partial": None,
        "waiting": sum(backup.unvouched for backup in backups),
        "restored_at": drills.restored_at(mine, now),
        "drill": drill,
        "rpo": None,
    }


def _state(line: ListedBackup) -> str:
    """How a backup is, and that nobody vouches for it, where the state does not say so itself."""
    told = {"unsigned": "unsigned", "stranger": "signed by a stranger"}.get(line["signature"])
    if not told or line["state"] in ("bad", "unsigned", "unproven"):
        told = ""
    words = proof_words(line) if line["state"] in ("proven", "good") else ""
    proven = f"({words})" if words else ""
    return " ".join(filter(None, [line["state"] + (f", {told}" if told else ""), proven]))


def proof_words(line: BackupLine) -> str:
    """How a backup was proven: ``restored on 2026-01-27``; empty where it was not."""
    if proof := line["proof"]:
        return f"{proof['kind']} on {proof['at'][:10]}"
    return f"object checked on {line['checked_at'][:10]}" if line["checked_at"] else ""


def table(backups: Sequence[ListedBackup], columns: int = 0) -> list[str]:
    """The lines of a listing for a person; the first is the head.

    :param columns: of a terminal; where the table is wider, each backup has two lines. 0: no
        terminal.
    """
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
            _state(line),
            line["reason"] if line["keep"] else f"goes at the next prune: {line['reason']}",
        )
        for line in backups
    ]
    lines = _aligned(rows)
    if not 0 < columns < _width(lines):
        return lines
    # the names of encrypted ones are longer; those of some databases much longer
    heads = _aligned([row[:5] for row in rows])
    if _width(heads) > columns:
        heads = _aligned([row[:5] for row in rows], gap=1)
    counted = _width(heads) > columns
    if counted:
        heads = _aligned([row[:4] for row in rows])
    return [heads[0]] + [
        line
        for first, row in zip(heads[1:], rows[1:], strict=True)
        for line in (first, _below(row, counted))
    ]


def _below(row: Sequence[str], counted: bool) -> str:
    """The second line of a backup; ``counted``: with its rows, for which the first has no room."""
    rows = f"{row[4]} rows; " if counted else ""
    return f"  {rows}{row[5]}; {'' if row[6].startswith('goes') else 'stays: '}{row[6]}"


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def _aligned(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Columns one below the other; the last is as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (" " * gap)
        .join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]


def owner_lines(known: Sequence[Owner]) -> list[str]:
    """Whose backups there are, for a person who has nothing but the bucket, and what to set for a
    restore.
    """
    lines = [
        f"server {owner['server']}, database {owner['database']}: {owner['backups']} "
        f"backup{'s' if owner['backups'] > 1 else ''}, the newest {owner['newest']}"
        for owner in known
    ]
    advice = (
        "To restore them, give the server they go to these names: backup_server_name and "
        "backup_db_name (SERVER_NAME and DB_NAME)"
    )
    return [*lines, advice, ""]


def head(server_name: str, state: ServerState, next_run: str) -> str:
    """Whether all is well, in the first line of an answer."""
    return f"{server_name}: {verdict.in_words(state)}; next run {next_run}"


def lines(seen: Status) -> list[str]:
    """:func:`status` for a person."""
    text = [head(seen["server"], seen["state"], seen["next_run"])]
    for name, database in seen["databases"].items():
        text += _database_lines(name, database)
    text += [f"  {line}" for line in drills.rebuilt_lines(seen["rebuilt"])]
    text += [f"  {line}" for line in second_store.lines(seen["second_store"])]
    text += [f"  {line}" for line in seen["every_second"]]
    if run := last_run_line(seen["last_run"]):
        text.append(f"  {run}")
    text += [f"  {one['failed']}" for one in seen["databases"].values() if one["failed"]]
    text += [f"  {line}" for line in costs.lines(seen["costs"])]
    if seen["leftovers"]:
        text += [f"  {line}" for line in leftovers.lines(seen["leftovers"])]
    text += [
        f"  open alarm since {alarm['since']}: {alarm['code']}: {alarm['message']}"
        for alarm in seen["alarms"]
    ]
    return text + [f"  {f['code']}: {f['message']}" for f in seen["findings"]]


def _database_lines(name: str, database: DatabaseStatus) -> list[str]:
    text = [f"  {name}: no good backup"]
    if last := database["last"]:
        age, size = human_age(last["age_hours"]), human_bytes(last["bytes"])
        text = [
            f"  {name}: last good backup {last['backup']}, {age} old, {size}, {last['rows']:,} rows"
            + (f", {words}" if (words := proof_words(last)) else "")
        ]
    text.append(
        f"    kept: {database['kept']} backups, {human_bytes(database['bytes'])}"
        + (f", the oldest of {database['oldest']}" if database["oldest"] else "")
    )
    text += [f"    {line}" for line in drills.lines(database["drill"], database["restored_at"])]
    text += [f"    {rpo.line(database['rpo'], rpo.DAYS)}"] if database["rpo"] else []
    if (parts := database["partial"]) and parts["kept"]:
        size = human_bytes(parts["bytes"])
        text.append(f"    parts of backups: {parts['kept']}, {size} (list --partial)")
    beside = kept_databases.lines(database["replaced"] or [], database["copies"] or [])
    text += [f"    {line}" for line in beside]
    if waiting := database["waiting"]:
        text.append(
            f"    {waiting} backups that nobody has signed: `postgres-backup adopt` takes "
            "them over, or says why not"
        )
    return text


def info_lines(listing: Listing, columns: int = 0) -> list[str]:
    """:func:`info` for a person: the listing, before it whose backups there are where the settings
    do not say, and after it how many have no owner.

    :param columns: of the terminal, see :func:`table`.
    """
    waiting = (
        f"{listing['waiting']} of these nobody vouches for: `postgres-backup adopt` takes them"
        " over, or says why not"
    )
    return [
        *(owner_lines(listing["owners"]) if listing.get("owners") else []),
        *table(listing["backups"], columns),
        *([waiting] if listing["waiting"] else []),
        *_copied_lines(listing),
        *listing["every_second"],
    ]


def _copied_lines(listing: Listing) -> list[str]:
    """Which of these the second store has too."""
    if "second_store" not in listing:
        return []
    mine = [line for line in listing["backups"] if line["ours"]]
    lacks = [line["backup"] for line in mine if not line["copied"]]
    told = f"{len(mine) - len(lacks)} of these {len(mine)} are in the second store too"
    told += f"; not {', '.join(lacks[:_NAMED])}" if lacks else ""
    told += f" and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
    return [f"{told}: postgres-backup list --from copy"]
