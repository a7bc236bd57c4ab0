"""A restore in steps, for whoever has something to do between them: stop the application before the
swap, start it after.

Between two steps nothing is held but the side database itself. Where somebody else restores
meanwhile, it is gone, and the swap says so and touches nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TypeAlias, TypedDict

from psycopg import sql

from ..clock import utc_now
from ..errors import UsageError
from ..findings import Finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import replaced
from ..postgresql.connection import connect, connect_maintenance, rows, value
from ..postgresql.facts import database_facts
from ..settings import Settings
from ..text import human_seconds
from .database import RestorePlanned, RestoreResult, restore_database
from .in_place import replace
from .plan import PlanResult
from .preflight import make_plan
from .side_database import discard_side_database, load_side_database, swap_in
from .tables import TablesResult, restore_tables


class LoadPlanned(PlanResult):
    """A load that is not made yet, or not before the swap: ``side_database`` is None."""

    changed: bool
    side_database: str | None
    in_place: bool
    seconds: float


class LoadResult(LoadPlanned):
    """A load; ``sha256``: of the object."""

    sha256: str


class _SwapPlanned(TypedDict):
    changed: bool
    backup: str
    database: str
    kept_database: str | None
    findings: list[Finding]


class SwapResult(_SwapPlanned, total=False):
    """What :func:`swap_step` did; in check mode without a downtime. ``rows`` and ``sha256``: in
    place, where this is the step that loads.
    """

    downtime_seconds: float
    rows: int
    sha256: str


class DiscardResult(TypedDict):
    """What :func:`discard_step` did."""

    changed: bool
    database: str
    side_database: str | None
    findings: list[Finding]


class NoteResult(TypedDict):
    """What :func:`note_step` told."""

    changed: bool
    findings: list[Finding]
    backup: str
    database: str
    downtime_seconds: float
    kept_database: str | None


class RowDifference(TypedDict):
    """A table with another number of rows before and after; None where there is no such table."""

    table: str
    kept_rows: int | None
    live_rows: int | None


class CompareResult(TypedDict):
    """What :func:`compare_step` saw."""

    changed: bool
    database: str
    kept_database: str
    row_differences: list[RowDifference]
    findings: list[Finding]


StepResult: TypeAlias = (
    RestorePlanned
    | RestoreResult
    | TablesResult
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
    side_database: str = "",
    kept_database: str = "",
    downtime_seconds: float = 0.0,
    in_place: bool | None = None,
) -> StepResult:
    """What the module ``postgres_backup_restore`` is asked for: all of a restore, one step of it,
    or chosen tables.

    :param stage: ``all``, ``load``, ``swap``, ``discard``, ``compare`` or ``note``.
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
    if in_place is not None:
        settings = dataclasses.replace(job.settings, restore_in_place=in_place)
        job = dataclasses.replace(job, settings=settings)
    if tables:
        return restore_tables(job, backup, tables)
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
    seconds = round(time.monotonic() - began, 1)
    job.progress.step(
        f"{job.database}: {plan.name} stands beside it, compared: "
        f"{loaded.rows} rows, {human_seconds(seconds)}"
    )
    result: LoadResult = {
        **planned,
        "rows": loaded.rows,
        "sha256": loaded.sha256,
        "findings": loaded.findings,
        "side_database": loaded.side_database,
        "seconds": seconds,
    }
    return result


def swap_step(job: Job, backup: str, side: str | None) -> SwapResult:
    """The short step: the side database becomes the live one; in place, the whole load in one
    transaction. In check mode it says what would be kept.

    An application is down meanwhile, so the store, which may be slow or silent, is not asked:
    :func:`note_step` tells the journal afterwards.

    :param backup: as in the result of :func:`load_step`.
    :param side: ``side_database`` of :func:`load_step`.
    """
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
            done = replace(job, make_plan(job, backup, in_place=True))
            result["rows"], result["sha256"] = done.rows, done.sha256
            result["downtime_seconds"] = done.downtime_seconds
            result["findings"] = done.findings
    job.progress.step(
        f"{job.database}: is what it was in {backup}, "
        f"unreachable for {result['downtime_seconds']:.2f} s"
    )
    return result


def _would_keep(job: Job, side: str | None) -> str | None:
    with connect_maintenance(job.settings, job.database) as connection:
        if not side or database_facts(connection, job.database) is None:
            return None
        replaced.side(connection, job.database, side)
        return replaced.kept_name(connection, job.database, utc_now())


def discard_step(job: Job, side: str | None) -> DiscardResult:
    """Remove a side database that will not be swapped in."""
    if side and not job.check:
        with lock.hold(job.settings, job.database, "restore"):
            discard_side_database(job, side)
        job.progress.step(f"{job.database}: removed {side}")
    return {"changed": bool(side), "database": job.database, "side_database": side, "findings": []}


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
            result["findings"] = outcome.restored(job.settings, job.store, result, *told)
    return result


def compare_step(job: Job, kept: str) -> CompareResult:
    """Tables whose number of rows differs between a kept database and the live one: what was
    written after the backup.

    :param kept: ``kept_database`` of a restore.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        kept = replaced.choose(connection, job.settings, job.database, kept).name
    job.progress.phase(f"counting rows of {job.database} and {kept}")
    live, before = _rows(job.settings, job.database), _rows(job.settings, kept)
    differences: list[RowDifference] = [
        {"table": table, "kept_rows": before.get(table), "live_rows": live.get(table)}
        for table in sorted(live.keys() | before.keys())
        if live.get(table) != before.get(table)
    ]
    return {
        "changed": False,
        "database": job.database,
        "kept_database": kept,
        "row_differences": differences,
        "findings": [],
    }


@dataclasses.dataclass(frozen=True)
class _Table:
    schema: str
    name: str


_TABLES = """
SELECT n.nspname AS schema, c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


def _rows(settings: Settings, database: str) -> dict[str, int]:
    """Rows of every ordinary table, by qualified name."""
    with connect(settings, database) as connection:
        connection.execute("SET row_security = off")
        return {
            f"{table.schema}.{table.name}": value(
                connection,
                int,
                sql.SQL("SELECT count(*) FROM ONLY {}").format(
                    sql.Identifier(table.schema, table.name)
                ),
            )
            for table in rows(connection, _Table, _TABLES)
        }
