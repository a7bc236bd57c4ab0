"""Bring a backup back: load it into a side database, prove it, swap it in; the old one is kept.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import time
from typing import TypedDict, final

import psycopg

from ..errors import UsageError
from ..findings import Finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import last_change, replaced, slots, standby, subscriptions, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import DatabaseFacts, database_facts
from ..postgresql.replaced import KeptDatabase
from ..text import human_seconds
from ..verify.proof import note_restored
from . import in_place
from .live import WithLive, hold_against
from .live import lines as live_lines
from .plan import Plan, PlanResult, Restored, plan_lines
from .preflight import make_plan
from .side_database import discarded_on_failure, load_side_database, swap_in
from .undo_tables import UndoTablesResult, undo_tables
from .undo_tables import lines as undo_tables_lines


class _RestoreKnown(PlanResult, WithLive):
    changed: bool
    kept_database: str | None
    in_place: bool


@final
class RestorePlanned(_RestoreKnown):
    """A restore that is not made yet; ``kept_database`` is what the live one would be called."""


@final
class RestoreResult(_RestoreKnown):
    """A restore; ``sha256``: of the object."""

    sha256: str
    downtime_seconds: float
    seconds: float


class _UndoKnown(TypedDict):
    changed: bool
    database: str
    restored_database: str
    kept_database: str | None
    findings: list[Finding]


@final
class UndoPlanned(_UndoKnown):
    """An undo that is not made yet."""


@final
class UndoResult(_UndoKnown):
    """An undo."""

    downtime_seconds: float


def restore_database(
    job: Job, backup: str, in_place_wanted: bool | None = None
) -> RestorePlanned | RestoreResult:
    """The database becomes what it was in that backup; in check mode the plan, nothing applied.

    :param backup: a name as listed, or ``latest``.
    :param in_place_wanted: load inside the live database in one transaction; None: as the settings
        say.
    """
    inside = job.settings.restore_in_place if in_place_wanted is None else in_place_wanted
    if not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    job.require()
    plan = make_plan(job, backup, inside)
    against: WithLive = hold_against(job, plan)
    if job.check:
        kept = None
        if plan.live and not inside:
            with connect_maintenance(job.settings, job.database) as connection:
                now = replaced.server_now(connection)
                kept = replaced.kept_name(connection, job.database, now)
        planned: RestorePlanned = {
            **plan.describe(),
            **against,
            "changed": True,
            "kept_database": kept,
            "in_place": inside,
        }
        return planned
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": plan.name}),
    ):
        for line in live_lines(job.database, against, inside):
            job.progress.step(f"{job.database}: {line}")
        began = time.monotonic()
        done = in_place.replace(job, plan) if inside else _replace(job, plan)
        result: RestoreResult = {
            **plan.describe(),
            **against,
            "rows": done.rows,
            "sha256": done.sha256,
            "findings": done.findings,
            "kept_database": done.kept_database,
            "downtime_seconds": done.downtime_seconds,
            "changed": True,
            "in_place": inside,
            "seconds": round(time.monotonic() - began, 1),
        }
        told = ("backup", "database", "rows", "seconds", "downtime_seconds", "kept_database")
        result["findings"] = result["findings"] + outcome.restored(job.settings, result, *told)
        result["findings"] += note_restored(job, plan.backup)
    job.progress.step(lines(result)[0])
    return result


def _replace(job: Job, plan: Plan) -> Restored:
    loaded = load_side_database(job, plan)
    with discarded_on_failure(job, loaded.side_database):
        swapped = swap_in(job, loaded.side_database)
    return Restored(
        loaded.rows,
        loaded.sha256,
        swapped.kept_database,
        swapped.downtime_seconds,
        loaded.findings,
    )


def undo_restore(job: Job, kept: str = "") -> UndoPlanned | UndoResult | UndoTablesResult:
    """Take the last restore back: set the rows back that a restore of tables has changed
    (:mod:`.undo_tables`), or swap the database that a restore replaced back in; the restored one is
    kept in turn, so an undo can be undone.

    :param kept: which one; empty: the newest.
    :raises UsageError: none is named, and the last thing done to the live database was another one,
        of which nothing is kept.
    """
    if job.check:
        planned, live, back = _plan_undo(job, kept)
        return undo_tables(job, back, live) if back.holds_rows and live else planned
    with lock.hold(job.settings, job.database, "undo-restore"):
        result, live, back = _plan_undo(job, kept)
        if back.holds_rows and live:
            undone = undo_tables(job, back, live)
            job.progress.step(undo_tables_lines(undone)[0])
            return undone
        chosen, new_kept = result["restored_database"], result["kept_database"]
        renames = [(chosen, job.database)]
        if live and new_kept:
            renames.insert(0, (job.database, new_kept))

        def comments(connection: psycopg.Connection) -> dict[str, str | None]:
            made = {job.database: back.comment}
            if live and new_kept:
                reason = f"undo, which brought {chosen} back"
                made[new_kept] = replaced.kept_comment(
                    connection, job.database, new_kept, reason, live.comment
                )
            return made

        seconds = swap.swap(job.settings, renames, comments)
        if new_kept:
            replaced.count_in(job.settings, job.database, new_kept)
        replaced.count_out(job.settings, back, job.database)
        downtime = round(seconds, 3) if live else 0.0
    done: UndoResult = {**result, "downtime_seconds": downtime}
    noted = ("database", "restored_database", "kept_database", "downtime_seconds")
    facts = {name: fact for name, fact in done.items() if name in noted}
    done["findings"] = done["findings"] + outcome.told(job.settings, job.database, "undo", facts)
    job.progress.step(undo_lines(done)[0])
    return done


def _plan_undo(job: Job, kept: str) -> tuple[UndoPlanned, DatabaseFacts | None, KeptDatabase]:
    """The result to be, the live database's facts, and the one that comes back."""
    with connect_maintenance(job.settings, job.database) as connection:
        standby.require_primary(connection, job.settings, f"undo the restore of {job.database}")
        chosen = replaced.choose(connection, job.settings, job.database, kept)
        if not kept:
            last_change.require_undoable(connection, job.database, chosen)
        live = database_facts(connection, job.database)
        if chosen.holds_rows:
            _require_same_database(connection, job.database, chosen)
        else:
            swap.require_renamable(connection, job.settings, [job.database, chosen.name])
        now = replaced.server_now(connection)
        result: UndoPlanned = {
            "changed": True,
            "database": job.database,
            "restored_database": chosen.name,
            "kept_database": replaced.kept_name(connection, job.database, now) if live else None,
            "findings": [
                *slots.left_behind(connection, job.database),
                *subscriptions.replaced_with(connection, job.database, back=True),
            ],
        }
    return result, live, chosen


def _require_same_database(
    connection: psycopg.Connection, database: str, chosen: KeptDatabase
) -> None:
    """:raises UsageError: the rows are of a database that is not the live one."""
    if replaced.oid_of(connection, database) != chosen.mark.number("live_oid"):
        raise UsageError(
            f"{chosen.name} holds rows of a {database} that is not live now: another restore has "
            "replaced it since",
            "Undo that one first, by the name of the database that it has kept (postgres-backup "
            "status)",
        )


def lines(result: RestorePlanned | RestoreResult) -> list[str]:
    """:func:`restore_database` for a person; of one that was done the first line is what the log
    ends with.
    """
    if "downtime_seconds" not in result:
        head, *more = plan_lines(result, result["in_place"])
        return [head, *live_lines(result["database"], result, result["in_place"]), *more]
    kept = result["kept_database"]
    return [
        f"{result['database']}: restored from {result['backup']}: {result['rows']} rows, "
        f"{human_seconds(result['seconds'])}, unreachable for {result['downtime_seconds']:.2f} s"
        + (f"; the database as it was is kept as {kept}" if kept else ""),
        *(["Undo: postgres-backup undo-restore"] if kept else []),
        *(found["message"] for found in result["findings"]),
    ]


def undo_lines(
    result: UndoPlanned | UndoResult | UndoTablesResult, check: bool = False
) -> list[str]:
    """:func:`undo_restore` for a person; of one that was done the first line is what the log ends
    with.

    :param check: nothing was changed.
    """
    return undo_tables_lines(result, check) if "dropped" in result else _swap_lines(result)


def _swap_lines(result: UndoPlanned | UndoResult) -> list[str]:
    name, back, kept = result["database"], result["restored_database"], result["kept_database"]
    if "downtime_seconds" not in result:
        told = f"{name}: {back} would be live again"
        told += f"; the one it replaces would be kept as {kept}" if kept else ""
    else:
        told = f"{name}: {back} is live again, unreachable for {result['downtime_seconds']:.2f} s"
        told += f"; the one it replaced is kept as {kept}" if kept else ""
    return [told, *(found["message"] for found in result["findings"])]
