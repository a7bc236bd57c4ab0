"""A restore in steps, for whoever has something to do between them: stop the application before the
swap, start it after.

Between two steps nothing is held but the side database itself. Where somebody else restores
meanwhile, it is gone, and the swap says so and touches nothing.
"""

from __future__ import annotations

import dataclasses
import time

from psycopg import sql

from ..clock import utc_now
from ..errors import UsageError
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import replaced
from ..postgresql.connection import connect, connect_maintenance
from ..postgresql.facts import database_facts
from ..s3.store import Store
from ..settings import Settings
from ..text import human_seconds
from . import in_place as inside
from .database import lines as database_lines
from .database import restore_database
from .preflight import plan
from .side_database import discard_side_database, load_beside, swap_in
from .tables import lines as table_lines
from .tables import restore_tables


def perform_step(
    job: Job,
    *,
    stage: str = "all",
    backup: str = "",
    tables: list[str] | None = None,
    side_database: str = "",
    kept_database: str = "",
    downtime_seconds: float = 0.0,
    in_place: bool | None = None,
) -> dict:
    """What the module ``postgres_backup_restore`` is asked for: all of a restore, one step of it,
    or chosen tables.

    :param stage: ``all``, ``load``, ``swap``, ``discard``, ``compare`` or ``note``.
    :return: the result of the function that is called.
    :raises UsageError: what is asked for does not go together.
    """
    if stage in ("all", "load", "swap", "note") and not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    if tables and (stage != "all" or in_place):
        raise UsageError(
            "Chosen tables are brought back in one go, through a side database",
            "Leave stage and in_place out",
        )
    if in_place is not None:
        job = dataclasses.replace(
            job, settings=dataclasses.replace(job.settings, restore_in_place=in_place)
        )
    if tables:
        return restore_tables(job, backup, tables)
    if stage == "load":
        return load_step(job, backup)
    if stage == "swap":
        return swap_step(job, backup, side_database or None)
    if stage == "discard":
        return discard_step(job, side_database or None)
    if stage == "compare":
        return compare_step(job, kept_database)
    if stage == "note":
        return note_step(job, backup, kept_database or None, downtime_seconds)
    return restore_database(job, backup)


def load_step(job: Job, backup: str) -> dict:
    """Everything of a restore up to the swap: the backup loaded beside the live database and
    compared with it.

    In place there is no side database, and nothing is done yet but to look.

    :return: ``backup database key bytes rows seconds findings in_place changed`` and
        ``side_database`` (None in place).
    """
    job.require()
    in_place = job.settings.restore_in_place
    made = plan(job, backup, not in_place)
    result = made.describe() | {
        "changed": not in_place,
        "side_database": None,
        "in_place": in_place,
        "seconds": 0.0,
    }
    if job.check or in_place:
        return result
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(
            job.settings, "restore", job.database, {"backup": str(made.backup.name)}, ends=False
        ),
    ):
        began = time.monotonic()
        side, facts = load_beside(job, made)
    seconds = round(time.monotonic() - began, 1)
    job.progress.step(
        f"{job.database}: {made.backup.name} stands beside it, compared: {facts['rows']} rows, {human_seconds(seconds)}"
    )
    return result | facts | {"side_database": side, "seconds": seconds}


def swap_step(job: Job, backup: str, side: str | None) -> dict:
    """The short step: the side database becomes the live one; in place, the whole load in one
    transaction.

    An application is down meanwhile, so the store, which may be slow or silent, is not asked:
    :func:`note_step` tells the journal afterwards.

    :param backup: as in the result of :func:`load_step`.
    :param side: ``side_database`` of :func:`load_step`.
    :param check: say what would be kept, and do nothing.
    :return: ``backup database kept_database downtime_seconds findings changed``.
    """
    if job.check:
        return {
            "changed": True,
            "backup": backup,
            "database": job.database,
            "kept_database": _would_keep(job, side),
            "findings": [],
        }
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": backup}, ends=False),
    ):
        found = swap_in(job, side) if side else inside.replace(job, plan(job, backup, False))
        result = {
            "changed": True,
            "backup": backup,
            "database": job.database,
            "findings": [],
        } | found
    job.progress.step(
        f"{job.database}: is what it was in {backup}, unreachable for {result['downtime_seconds']:.2f} s"
    )
    return result


def _would_keep(job: Job, side: str | None) -> str | None:
    with connect_maintenance(job.settings, job.database) as connection:
        if not side or database_facts(connection, job.database) is None:
            return None
        replaced.side(connection, job.database, side)
        return replaced.kept_name(connection, job.database, utc_now())


def discard_step(job: Job, side: str | None) -> dict:
    """Remove a side database that will not be swapped in.

    :return: ``database side_database changed``.
    """
    if side and not job.check:
        with lock.hold(job.settings, job.database, "restore"):
            discard_side_database(job, side)
        job.progress.step(f"{job.database}: removed {side}")
    return {"changed": bool(side), "database": job.database, "side_database": side, "findings": []}


def note_step(job: Job, backup: str, kept: str | None, downtime: float) -> dict:
    """Tell of a swap that was made: the journal in the bucket, and whoever was told that an earlier
    restore failed.

    :param kept: ``kept_database`` of :func:`swap_step`.
    :param downtime: ``downtime_seconds`` of it.
    :return: ``backup database kept_database downtime_seconds findings changed``.
    """
    told = {
        "backup": backup,
        "database": job.database,
        "downtime_seconds": downtime,
        "kept_database": kept,
    }
    findings: list[dict] = []
    if not job.check:
        with outcome.noted(job.settings, "restore", job.database, {"backup": backup}):
            findings = outcome.restored(job.settings, Store(job.settings), told, *told)
    return {"changed": False, "findings": findings} | told


def compare_step(job: Job, kept: str) -> dict:
    """Tables whose number of rows differs between a replaced database and the live one: what was
    written after the backup.

    :param kept: ``kept_database`` of a restore.
    :return: ``row_differences``: each ``table``, ``kept_rows`` and ``live_rows`` (None where there
        is no such table); ``database kept_database changed``.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        kept = replaced.choose(connection, job.settings, job.database, kept)["name"]
    job.progress.phase(f"counting rows of {job.database} and {kept}")
    live, before = _rows(job.settings, job.database), _rows(job.settings, kept)
    differences = [
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


def _rows(settings: Settings, database: str) -> dict[str, int]:
    """Rows of every ordinary table, by qualified name."""
    with connect(settings, database) as connection:
        connection.execute("SET row_security = off")
        tables = connection.execute(
            """SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
        ).fetchall()
        counts = {}
        for table in tables:
            query = sql.SQL("SELECT count(*) AS n FROM ONLY {}").format(
                sql.Identifier(table["schema"], table["name"])
            )
            counts[f"{table['schema']}.{table['name']}"] = connection.execute(query).fetchone()["n"]
        return counts


def lines(result: dict, stage: str = "all", check: bool = False) -> list[str]:
    """:func:`perform_step` for a person; the first line is what the log ends with, where it says
    something.

    :param stage: the step that was asked for.
    :param check: nothing was changed.
    """
    if "tables" in result:
        return table_lines(result, check)
    if stage == "all" or (stage == "load" and not result["side_database"]):
        return database_lines(result)
    told = _STEP_LINES[stage](result, check)
    return [*told, *(one["message"] for one in result["findings"])]


def _load_lines(result: dict, _check: bool) -> list[str]:
    return [
        (
            f"{result['database']}: {result['backup']} stands beside it, compared: "
            f"{result['rows']} rows, {human_seconds(result['seconds'])}"
        )
    ]


def _swap_lines(result: dict, check: bool) -> list[str]:
    if check:
        kept = result["kept_database"]
        told = f"; as it is it would be kept as {kept}" if kept else ""
        return [f"{result['database']}: would be what it was in {result['backup']}{told}"]
    return [
        (
            f"{result['database']}: is what it was in {result['backup']}, "
            f"unreachable for {result['downtime_seconds']:.2f} s"
        )
    ]


def _discard_lines(result: dict, check: bool) -> list[str]:
    side = result["side_database"]
    done = "would remove" if check else "removed"
    return [f"{result['database']}: {done} {side}"] if side else []


def _note_lines(_result: dict, _check: bool) -> list[str]:
    return []


def _compare_lines(result: dict, _check: bool) -> list[str]:
    kept = result["kept_database"]
    if not result["row_differences"]:
        return [f"Every table has as many rows as in {kept}."]

    def rows(number: int | None) -> str:
        return "no table" if number is None else str(number)

    return [
        f"What was written after the backup is in {kept}.",
        "Tables with another number of rows (until now -> now):",
        *(
            f"  {one['table']}  {rows(one['kept_rows'])} -> {rows(one['live_rows'])}"
            for one in result["row_differences"]
        ),
    ]


_STEP_LINES = {
    "load": _load_lines,
    "swap": _swap_lines,
    "discard": _discard_lines,
    "note": _note_lines,
    "compare": _compare_lines,
}
