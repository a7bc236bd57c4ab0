"""The databases that restores have replaced, and the copies of backups, go when their time has
come, and nobody uses them.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timedelta
from typing import TypedDict

import psycopg
from psycopg import sql

from ..catalog.retention import (
    Copied,
    Replaced,
    ReplacedDecision,
    plan_copies,
    plan_replaced,
)
from ..errors import DatabaseError
from ..findings import Finding, finding
from ..job import Job
from ..machine import state
from ..machine.patience import OFTEN
from ..postgresql import adopted, copies, databases, replaced, slots, standby, subscriptions, swap
from ..postgresql.connection import connect_maintenance, first_line
from ..postgresql.copies import CopiedDatabase
from ..postgresql.replaced import KeptDatabase
from ..postgresql.written import written_since

#: seconds that an ended session may take to be gone
_PATIENCE = 5.0


class ReplacedLine(TypedDict):
    database: str
    reason: str


@dataclasses.dataclass(frozen=True)
class PrunedReplaced:
    """What went (or would go), what stays, and DATABASE_UNREACHABLE, REPLACED_NOT_REMOVED,
    REPLACED_IN_USE or REPLACED_ADOPTED.

    No finding keeps a prune from its end: the bucket can be judged without the server.
    """

    deleted: list[ReplacedLine] = dataclasses.field(default_factory=list)
    kept: list[ReplacedLine] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)


def prune_replaced(job: Job, newest_good: datetime | None) -> PrunedReplaced:
    """Drop what ``retention.plan_replaced`` and ``plan_copies`` let go, unless somebody uses it.

    :param newest_good: when the newest good backup was taken; None where there is none.
    """
    pruned = PrunedReplaced()
    try:
        with connect_maintenance(job.settings, job.database, only_ask=True) as connection:
            if standby.is_standby(connection):
                why = "this server is a standby: its primary keeps and drops it"
                names = [one.name for one in _beside(connection, job.database)]
                pruned.kept.extend({"database": name, "reason": why} for name in names)
                return pruned
            now = replaced.server_now(connection)
            there = [
                replaced.look_at(connection, job.settings, one, newest_good)
                for one in _beside(connection, job.database)
            ]
            pruned.findings.extend(_newly_adopted(job, adopted.adopted(connection, job.database)))
            if not job.check:
                adopted.take_mark_off(connection, job.database)
                pruned.findings.extend(_remember(connection, there))
    except DatabaseError as error:
        message = (
            f"{error.message}; databases that restores have replaced stay until it can be asked"
        )
        pruned.findings.append(finding("DATABASE_UNREACHABLE", message))
        return pruned
    by_name = {one.name: one for one in there}
    candidates = [_candidate(one) for one in there if not isinstance(one, CopiedDatabase)]
    copied = [_copied(one) for one in there if isinstance(one, CopiedDatabase)]
    days = job.settings.keep_replaced_days
    decisions = plan_replaced(candidates, newest_good, days, now) + plan_copies(copied, now)
    for decision in decisions:
        if decision.keep:
            pruned.kept.append({"database": decision.name, "reason": decision.reason})
        else:
            _let_go(job, by_name[decision.name], decision, pruned)
    return pruned


def _beside(connection: psycopg.Connection, database: str) -> list[KeptDatabase]:
    return [*replaced.kept(connection, database), *copies.copies(connection, database)]


def _candidate(one: KeptDatabase) -> Replaced:
    return Replaced(one.name, one.replaced_at, _seen(one), one.mark.moment("newest_then"))


def _copied(one: CopiedDatabase) -> Copied:
    return Copied(one.name, one.replaced_at, one.days, _seen(one))


def _seen(one: KeptDatabase) -> timedelta:
    return timedelta(seconds=one.mark.number("seen_seconds") or 0)


def _remember(connection: psycopg.Connection, there: list[KeptDatabase]) -> list[Finding]:
    findings = []
    for one in there:
        try:
            replaced.remember(connection, one)
        except psycopg.errors.InsufficientPrivilege as error:
            message = f"{one.name} does not grow older: {first_line(error)}"
            findings.append(finding("REPLACED_NOT_REMOVED", message))
    return findings


def _let_go(
    job: Job, one: KeptDatabase, decision: ReplacedDecision, pruned: PrunedReplaced
) -> None:
    """Drop a database that is past its time, or say what keeps it."""
    line: ReplacedLine = {"database": one.name, "reason": decision.reason}
    try:
        with connect_maintenance(job.settings, job.database, only_ask=True) as connection:
            if use := _use_of(job, connection, one):
                by_hand = sql.SQL("DROP DATABASE {};").format(sql.Identifier(one.name))
                message = (
                    f"{one.name} is past its time and stays: {use}. If nobody needs it: "
                    + by_hand.as_string(connection)
                )
                pruned.kept.append({"database": one.name, "reason": use})
                pruned.findings.append(finding("REPLACED_IN_USE", message))
                return
            if not job.check:
                databases.drop_unused(connection, one.name)
                job.progress.step(f"{job.database}: dropped {one.name}: {decision.reason}")
        pruned.deleted.append(line)
    except DatabaseError as error:
        message = f"{one.name} is past its time and stays: {error.message}"
        pruned.findings.append(finding("REPLACED_NOT_REMOVED", message))


def _use_of(job: Job, connection: psycopg.Connection, one: KeptDatabase) -> str:
    """What keeps a database that is past its time; empty where nothing does."""
    if replaced.oid_of(connection, one.name) != one.oid:
        return "it is another database by now"
    if one.name in job.settings.databases:
        return "it is one of backup_databases"
    if held := slots.slots(connection, one.name):
        name = held[0].name
        return (
            f"the replication slot {name} belongs to it and would go with it "
            f"(SELECT pg_drop_replication_slot('{name}'); ends that)"
        )
    if applied := subscriptions.subscriptions(connection, one.name):
        by_hand = subscriptions.typed_to_drop(connection, applied[0].name)
        return f"it has the subscription {applied[0].name} (in it: {by_hand})"
    if inside := _who_stays(connection, one.name):
        return f"{inside[0].user} is connected to it"
    so_far = swap.sessions_so_far(connection, one.name)
    if written := written_since(job.settings, one.name, one.mark):
        return written
    # while the tables were read somebody may have come, written where it was read already, and left
    if inside := _who_stays(connection, one.name):
        return f"{inside[0].user} is connected to it"
    if so_far is not None and swap.sessions_so_far(connection, one.name) != so_far + 1:
        return "somebody was connected to it a moment ago"
    return ""


def _who_stays(connection: psycopg.Connection, name: str) -> list[swap.Session]:
    """Who is connected, and not about to be gone as our own sessions are."""
    deadline = time.monotonic() + _PATIENCE
    while (inside := swap.sessions(connection, name)) and time.monotonic() < deadline:
        time.sleep(OFTEN)
    return inside


#: what was said of adopted databases, so that it is said once; lost, it is said once more
_TOLD = state.Kept("adopted.json", dict[str, list[str]])


def _newly_adopted(job: Job, found: list[Finding]) -> list[Finding]:
    """Those findings that no prune has told yet."""
    troubles: list[Finding] = []
    told = state.read(job.settings, _TOLD, troubles)
    before = told.get(job.database, [])
    now = [one["message"] for one in found]
    if not job.check and now != before:
        troubles += state.write(job.settings, _TOLD, {**told, job.database: now})
    return troubles + [one for one in found if one["message"] not in before]
