"""Bring a backup back: load it into a side database, prove it, swap it in; the old one is kept.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import time
from typing import TypedDict

from ..clock import utc_now
from ..errors import UsageError
from ..findings import Finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import replaced, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import DatabaseFacts, database_facts
from ..text import human_seconds
from . import in_place
from .plan import Plan, PlanResult, Restored
from .preflight import make_plan
from .side_database import discarded_on_failure, load_side_database, swap_in


class RestorePlanned(PlanResult):
    """A restore that is not made yet; ``kept_database`` is what the live one would be called."""

    changed: bool
    kept_database: str | None
    in_place: bool


class RestoreResult(RestorePlanned):
    """A restore; ``sha256``: of the object."""

    sha256: str
    downtime_seconds: float
    seconds: float


class UndoPlanned(TypedDict):
    """An undo that is not made yet."""

    changed: bool
    database: str
    restored_database: str
    kept_database: str | None
    findings: list[Finding]


class UndoResult(UndoPlanned):
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
    if job.check:
        kept = None
        if plan.live and not inside:
            with connect_maintenance(job.settings, job.database) as connection:
                kept = replaced.kept_name(connection, job.database, utc_now())
        planned: RestorePlanned = {
            **plan.describe(),
            "changed": True,
            "kept_database": kept,
            "in_place": inside,
        }
        return planned
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": plan.name}),
    ):
        began = time.monotonic()
        done = in_place.replace(job, plan) if inside else _replace(job, plan)
        result: RestoreResult = {
            **plan.describe(),
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
        result["findings"] = result["findings"] + outcome.restored(
            job.settings, job.store, result, *told
        )
    kept = f"; the database as it was is kept as {done.kept_database}" if done.kept_database else ""
    job.progress.step(
        f"{job.database}: restored from {plan.name}: {done.rows} rows, "
        f"{human_seconds(result['seconds'])}, unreachable for {done.downtime_seconds:.2f} s{kept}"
    )
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


def undo_restore(job: Job, kept: str = "") -> UndoPlanned | UndoResult:
    """Swap the database that a restore replaced back in; the restored one is kept in turn, so an
    undo can be undone.

    :param kept: which one; empty: the newest.
    """
    if job.check:
        return _plan_undo(job, kept)[0]
    with lock.hold(job.settings, job.database, "undo-restore"):
        result, live, comment = _plan_undo(job, kept)
        chosen, new_kept = result["restored_database"], result["kept_database"]
        renames, comments = [(chosen, job.database)], {job.database: comment}
        if live and new_kept:
            renames.insert(0, (job.database, new_kept))
            comments[new_kept] = replaced.kept_comment(
                job.database, new_kept, f"undo, which brought {chosen} back", live.comment
            )
        seconds = swap.swap(job.settings, renames, comments)
        downtime = round(seconds, 3) if live else 0.0
    job.progress.step(
        f"{job.database}: {chosen} is live again, unreachable for {downtime:.2f} s"
        + (f"; the one it replaced is kept as {new_kept}" if new_kept else "")
    )
    done: UndoResult = {**result, "downtime_seconds": downtime}
    return done


def _plan_undo(job: Job, kept: str) -> tuple[UndoPlanned, DatabaseFacts | None, str | None]:
    """The result to be, the live database's facts, and the comment that the one to come back had
    when it was live.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        chosen = replaced.choose(connection, job.settings, job.database, kept)
        live = database_facts(connection, job.database)
        swap.require_renamable(connection, job.settings, [job.database, chosen.name])
        new_kept = replaced.kept_name(connection, job.database, utc_now()) if live else None
    result: UndoPlanned = {
        "changed": True,
        "database": job.database,
        "restored_database": chosen.name,
        "kept_database": new_kept,
        "findings": [],
    }
    return result, live, chosen.comment
