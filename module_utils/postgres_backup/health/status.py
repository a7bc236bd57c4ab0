"""Is all as it should be: the state of one server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from ..catalog import history, partials, path_needs, remembered, rpo
from ..catalog.backups import Backup, BackupLine, Catalog, newest_good
from ..catalog.history import LAST_RUN, Event, LastRun, last_run_line
from ..catalog.listed_once import Listings
from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError, StoreError
from ..findings import Finding, each_once, finding
from ..machine import damage, identity, state
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
    listing,
    rebuild,
    recovered_dumps,
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
        _count_recovered(seen, settings, store)
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


def _count_recovered(seen: BucketStatus, settings: Settings, store: Store) -> None:
    """The dumps that were taken out of recovered clusters: they are paid for like the rest."""
    try:
        stored = sum(backup.bytes for backup in recovered_dumps.ours(settings, store))
    except StoreError as refused:
        told = f"what {recovered_dumps.folder(settings)} holds is not counted: {refused.message}"
        seen["findings"].append(finding("RECOVERED_STAY", settings.hide(told)))
        return
    seen["costs"] = costs.with_more(seen["costs"], settings, stored)


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
            + (f", {words}" if (words := listing.proof_words(last)) else "")
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
