"""A restore in steps, for whoever has something to do between them: stop the application before the
swap, start it after.

Between two steps nothing is held but the side database itself. Where somebody else restores
meanwhile, it is gone, and the swap says so and touches nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TypeAlias, TypedDict, final

from ..errors import UsageError
from ..findings import Finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import replaced
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts
from ..text import human_seconds
from .copy import CopyPlanned, CopyResult, restore_copy
from .copy import lines as copy_lines
from .database import RestorePlanned, RestoreResult, restore_database
from .database import lines as database_lines
from .in_place import replace as replace_in_place
from .live import WithLive, hold_against
from .live import lines as live_lines
from .plan import PlanResult, plan_lines
from .preflight import make_plan
from .row_counts import CompareResult, compare_step
from .row_counts import lines as compare_lines
from .side_database import discard_side_database, load_side_database, swap_in
from .tables import TablesResult, restore_tables
from .tables import lines as table_lines


class _LoadKnown(PlanResult, WithLive):
    changed: bool
    side_database: str | None
    in_place: bool
    seconds: float


@final
class LoadPlanned(_LoadKnown):
    """A load that is not made yet, or not before the swap: ``side_database`` is None."""


@final
class LoadResult(_LoadKnown):
    """A load; ``sha256``: of the object."""

    sha256: str


class _SwapKnown(TypedDict):
    changed: bool
    backup: str
    database: str
    kept_database: str | None
    findings: list[Finding]


@final
class SwapResult(_SwapKnown, total=False):
    """A swap; in check mode without a downtime. ``rows`` and ``sha256``: in place, where this is
    the step that loads.
    """

    downtime_seconds: float
    rows: int
    sha256: str


@final
class DiscardResult(TypedDict):
    """A side database that was removed; None where there was none to remove."""

    changed: bool
    database: str
    side_database: str | None
    findings: list[Finding]


@final
class NoteResult(TypedDict):
    """A swap that was told of."""

    changed: bool
    findings: list[Finding]
    backup: str
    database: str
    downtime_seconds: float
    kept_database: str | None


StepResult: TypeAlias = (
    RestorePlanned
    | RestoreResult
    | TablesResult
    | CopyPlanned
    | CopyResult
    | LoadPlanned
    | LoadResult
    | SwapResult
    | DiscardResult
    | CompareResult
    | NoteResult
)


def perform_step(
    job: Job,
    *,
    stage: str = "all",
    backup: str = "",
    tables: Sequence[str] | None = None,
    copy_as: str = "",
    keep_days: int | None = None,
    side_database: str = "",
    kept_database: str = "",
    downtime_seconds: float = 0.0,
    in_place: bool | None = None,
    triggers: str = "off",
) -> StepResult:
    """What the module ``postgres_backup_restore`` is asked for: all of a restore, one step of it,
    chosen tables, or a copy under another name.

    :param stage: ``all``, ``load``, ``swap``, ``discard``, ``compare`` or ``note``.
    :param triggers: ``on`` or ``off``: whether those of chosen tables fire.
    :return: the result of the function that is called.
    :raises UsageError: what is asked for does not go together.
    """
    if not backup and stage not in ("discard", "compare"):
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    if tables and (stage != "all" or in_place):
        raise UsageError(
            "Chosen tables are brought back in one go, through a side database",
            "Leave stage and in_place out",
        )
    if copy_as and (stage != "all" or in_place or tables):
        raise UsageError(
            "A copy under another name is made in one go, and holds all of the backup",
            "Leave stage, in_place and tables out",
        )
    if keep_days is not None and not copy_as:
        raise UsageError(
            "Only a copy under another name has days of its own",
            "Name it: --as NAME (Ansible: -e copy_as=NAME); a database that is replaced is kept "
            "for backup_keep_replaced_days",
        )
    if copy_as:
        return restore_copy(job, backup, copy_as, keep_days)
    if in_place is not None:
        settings = dataclasses.replace(job.settings, restore_in_place=in_place)
        job = dataclasses.replace(job, settings=settings)
    if tables:
        return restore_tables(job, backup, tables, triggers == "on")
    if triggers == "on":
        raise UsageError(
            "Only where chosen tables are brought back triggers may fire",
            "Leave triggers out, or name tables",
        )
    match stage:
        case "load":
            return load_step(job, backup)
        case "swap":
            return swap_step(job, backup, side_database or None)
        case "discard":
            return discard_step(job, side_database or None)
        case "compare":
            return compare_step(job, kept_database)
        case "note":
            return note_step(job, backup, kept_database or None, downtime_seconds)
        case _:
            return restore_database(job, backup)


def load_step(job: Job, backup: str) -> LoadPlanned | LoadResult:
    """Everything of a restore up to the swap: the backup loaded into a side database and compared
    with what went in.

    In place there is no side database, and nothing is done yet but to look.
    """
    job.require()
    in_place = job.settings.restore_in_place
    plan = make_plan(job, backup, in_place)
    planned: LoadPlanned = {
        **plan.describe(),
        **hold_against(job, plan),
        "changed": not in_place,
        "side_database": None,
        "in_place": in_place,
        "seconds": 0.0,
    }
    if job.check or in_place:
        return planned
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": plan.name}, ends=False),
    ):
        began = time.monotonic()
        loaded = load_side_database(job, plan)
    result: LoadResult = {
        **planned,
        "rows": loaded.rows,
        "sha256": loaded.sha256,
        "findings": loaded.findings,
        "side_database": loaded.side_database,
        "seconds": round(time.monotonic() - began, 1),
    }
    job.progress.step(_load_line(result))
    return result


def swap_step(job: Job, backup: str, side: str | None) -> SwapResult:
    """The short step: the side database becomes the live one; in place, the whole load in one
    transaction. In check mode it says what would be kept.

    An application is down meanwhile, so the store, which may be slow or silent, is not asked:
    :func:`note_step` tells the journal afterwards.

    :param backup: as in the result of :func:`load_step`.
    :param side: ``side_database`` of :func:`load_step`.
    :raises UsageError: there is none, and in place was not asked for.
    """
    if not side and not job.settings.restore_in_place:
        raise UsageError(
            "Which side database is to be swapped in?",
            "Give the side_database that the result of stage=load names; to restore inside the "
            "live database, of which nothing is kept, ask for it: in_place: true",
        )
    result: SwapResult = {
        "changed": True,
        "backup": backup,
        "database": job.database,
        "kept_database": None,
        "findings": [],
    }
    if job.check:
        return {**result, "kept_database": _would_keep(job, side)}
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": backup}, ends=False),
    ):
        if side:
            swapped = swap_in(job, side)
            result["kept_database"] = swapped.kept_database
            result["downtime_seconds"] = swapped.downtime_seconds
        else:
            done = replace_in_place(job, make_plan(job, backup, in_place=True))
            result["rows"], result["sha256"] = done.rows, done.sha256
            result["downtime_seconds"] = done.downtime_seconds
            result["findings"] = done.findings
    job.progress.step(_swap_line(result, job.check))
    return result


def _would_keep(job: Job, side: str | None) -> str | None:
    with connect_maintenance(job.settings, job.database) as connection:
        if not side or database_facts(connection, job.database) is None:
            return None
        replaced.side(connection, job.database, side)
        now = replaced.server_now(connection)
        return replaced.kept_name(connection, job.database, now)


def discard_step(job: Job, side: str | None) -> DiscardResult:
    """Remove a side database that will not be swapped in."""
    result: DiscardResult = {
        "changed": bool(side),
        "database": job.database,
        "side_database": side,
        "findings": [],
    }
    if side and not job.check:
        with lock.hold(job.settings, job.database, "restore"):
            discard_side_database(job, side)
        job.progress.step(*_discard_lines(result, job.check))
    return result


def note_step(job: Job, backup: str, kept: str | None, downtime: float) -> NoteResult:
    """Tell of a swap that was made: the journal in the bucket, and whoever was told that an earlier
    restore failed.

    :param kept: ``kept_database`` of :func:`swap_step`.
    :param downtime: ``downtime_seconds`` of it.
    """
    result: NoteResult = {
        "changed": False,
        "findings": [],
        "backup": backup,
        "database": job.database,
        "downtime_seconds": downtime,
        "kept_database": kept,
    }
    if not job.check:
        told = ("backup", "database", "downtime_seconds", "kept_database")
        with outcome.noted(job.settings, "restore", job.database, {"backup": backup}):
            result["findings"] = outcome.restored(job.settings, result, *told)
    return result


def lines(result: StepResult, stage: str = "all", check: bool = False) -> list[str]:
    """:func:`perform_step` for a person; the first line is what the log ends with, where it says
    something.

    :param stage: the step that was asked for.
    :param check: nothing was changed.
    """
    if "needed_bytes" in result:  # a plan, or what became of one
        if "copy_database" in result:
            return copy_lines(result)
        if "side_database" not in result:
            return database_lines(result)
        if result["side_database"] is None:
            head, *more = plan_lines(result, result["in_place"])
            return [head, *live_lines(result["database"], result, result["in_place"]), *more]
        told = [_load_line(result)]
    elif "tables" in result:
        return table_lines(result, check)
    elif "row_differences" in result:
        return compare_lines(result)
    elif "side_database" in result:
        told = _discard_lines(result, check)
    else:
        told = [] if stage == "note" else [_swap_line(result, check)]
    return [*told, *(found["message"] for found in result["findings"])]


def _load_line(result: LoadPlanned | LoadResult) -> str:
    return (
        f"{result['database']}: {result['backup']} stands beside it, compared: "
        f"{result['rows']} rows, {human_seconds(result['seconds'])}"
    )


def _swap_line(result: SwapResult | NoteResult, check: bool) -> str:
    if check or "downtime_seconds" not in result:
        kept = result["kept_database"]
        told = f"; as it is it would be kept as {kept}" if kept else ""
        return f"{result['database']}: would be what it was in {result['backup']}{told}"
    return (
        f"{result['database']}: is what it was in {result['backup']}, "
        f"unreachable for {result['downtime_seconds']:.2f} s"
    )


def _discard_lines(result: DiscardResult, check: bool) -> list[str]:
    side = result["side_database"]
    done = "would remove" if check else "removed"
    return [f"{result['database']}: {done} {side}"] if side else []
