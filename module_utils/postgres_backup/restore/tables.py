"""Bring back chosen tables of a backup and leave the rest of the live database as it is.

The backup is loaded into a side database and proved, as for a whole restore. Then, in one
transaction of the live one, each table becomes what it was: rows that differ are set back, missing
ones inserted, later ones deleted. Foreign keys stay in force all the while, so a result that does
not fit the other tables is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypedDict, final

import psycopg
from psycopg import sql

from ..catalog import journal
from ..catalog.backups import layout_for
from ..clock import utc_now
from ..errors import DatabaseError, UsageError
from ..findings import Finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..machine.progress import Progress
from ..postgresql import last_change
from ..postgresql.connection import connect, first_line, own_search_path, plain_search_path
from ..text import human_seconds
from . import table_rows
from .foreign_keys import in_order, lost_with, refuse_cascades
from .plan import Plan
from .preflight import make_plan
from .side_database import discard_side_database, load_side_database
from .table import Table, look
from .table_definitions import move_sequences_on, run_definitions, silence_triggers
from .table_rows import Change, TableResult


@final
class TablesResult(TypedDict):
    """Tables that were brought back; ``rows``: those of the backup in all of them."""

    changed: bool
    backup: str
    database: str
    key: str
    tables: list[TableResult]
    rows: int
    seconds: float
    findings: list[Finding]


def restore_tables(job: Job, backup: str, tables: Sequence[str]) -> TablesResult:
    """The chosen tables become what they were in a backup.

    In check mode they are loaded and compared all the same (only so can the differences be known),
    and nothing in the live database is changed.

    :param tables: names as in SQL: ``users``, ``public.orders``, ``"My table"``.
    :raises UsageError: a table is not in the backup, or has other columns now.
    :raises DatabaseError: the result would not fit the other tables; the live database is as it
        was.
    """
    job.require()
    plan = make_plan(job, backup)
    if plan.live is None:
        raise UsageError(
            f"There is no database {job.database} to bring tables back into",
            "Restore all of it: without tables",
        )
    about = {"backup": plan.name}
    with (
        lock.hold(job.settings, job.database, "restore of tables"),
        outcome.noted(job.settings, "restore", job.database, about, check=job.check),
    ):
        began = time.monotonic()
        loaded = load_side_database(job, plan)
        try:
            changes, findings = _bring_back(job, plan, loaded.side_database, tables)
        finally:
            discard_side_database(job, loaded.side_database)
        result: TablesResult = {
            "changed": any(change.table.live_oid is None or change.total for change in changes),
            "backup": plan.name,
            "database": job.database,
            "key": plan.backup.key,
            "tables": [change.describe() for change in changes],
            "rows": sum(change.rows for change in changes),
            "seconds": round(time.monotonic() - began, 1),
            "findings": loaded.findings + findings,
        }
        if not job.check:
            told: dict[str, object] = {
                "backup": result["backup"],
                "database": result["database"],
                "tables": result["tables"],
                "seconds": result["seconds"],
            }
            layout = layout_for(job.settings, job.database)
            result["findings"] += journal.record(
                job.store, layout, utc_now(), "restore-tables", told
            )
    job.progress.step(lines(result, job.check)[0])
    return result


def _bring_back(
    job: Job, plan: Plan, side_database: str, wanted: Sequence[str]
) -> tuple[list[Change], list[Finding]]:
    """All of it in one transaction of the live database, which check mode does not commit."""
    with (
        connect(job.settings, side_database) as side,
        connect(job.settings, plan.database, "READ_COMMITTED") as live,
    ):
        side.execute(table_rows.WRITTEN_ALIKE)
        live.execute(table_rows.WRITTEN_ALIKE)
        live.execute("SET LOCAL lock_timeout = '30s'")
        looked_at = [
            look(side, live, plan.backup, number, name) for number, name in enumerate(wanted)
        ]
        tables = in_order(side, looked_at)
        own_search_path(live)
        try:
            if not job.check:
                _lock(live, tables)
            changes = []
            for table in tables:
                if table.live_oid is not None:
                    job.progress.phase(f"comparing {table.label}")
                changes.append(table_rows.change_of(side, live, table))
            refuse_cascades(live, changes)
            if job.check:
                live.rollback()
                return changes, []
            _apply(plan, side_database, side, live, changes, job.progress)
            plain_search_path(live)
            findings = lost_with(side, live, tables)
            if any(change.table.live_oid is None or change.total for change in changes):
                last_change.note(live, plan.database, f"restore of tables from {plan.name}")
            live.commit()
            return changes, findings
        except psycopg.errors.ForeignKeyViolation as error:
            raise DatabaseError(
                f"Failed to bring the tables back: {first_line(error)} "
                f"({error.diag.message_detail})",
                "Name the other table too (tables=...), or restore the whole database; "
                "nothing was changed",
            ) from None
        except psycopg.errors.LockNotAvailable:
            raise DatabaseError(
                "Failed to bring the tables back: the application holds locks on them",
                "Stop it, then try again; nothing was changed",
            ) from None


def _lock(live: psycopg.Connection, tables: Sequence[Table]) -> None:
    """Whoever reads goes on; whoever writes waits."""
    existing = [table.identifier for table in tables if table.live_oid is not None]
    if existing:
        names = sql.SQL(", ").join(existing)
        live.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))


def _apply(
    plan: Plan,
    side_database: str,
    side: psycopg.Connection,
    live: psycopg.Connection,
    changes: Sequence[Change],
    progress: Progress,
) -> None:
    existing = [change for change in changes if change.table.live_oid is not None]
    gone = [change.table for change in changes if change.table.live_oid is None]
    triggers = silence_triggers(live, [change.table for change in existing])
    for change in reversed(existing):
        if change.deleted:
            progress.phase(f"deleting {change.deleted} later rows of {change.table.label}")
        table_rows.delete_later(live, change)
    run_definitions(plan, side_database, live, gone, "pre-data")
    for change in changes:
        progress.phase(
            f"bringing back {change.table.label}: "
            f"{change.inserted} rows missing, {change.updated} changed"
        )
        if change.table.live_oid is None:
            table_rows.copy(side, live, change.table, change.table.identifier)
        else:
            table_rows.merge(live, change)
    run_definitions(plan, side_database, live, gone, "post-data")
    for statement in triggers:
        live.execute(statement)
    for change in changes:
        move_sequences_on(live, change.table)
    for change in existing:
        table_rows.require_equal(live, change.table)


def lines(result: TablesResult, check: bool = False) -> list[str]:
    """:func:`restore_tables` for a person; the first line is what the log ends with.

    :param check: nothing was changed in the live database.
    """
    names = ", ".join(table["table"] for table in result["tables"])
    return [
        (
            f"{result['database']}: {names} {'would be' if check else 'are'} as in "
            f"{result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}"
        ),
        *(
            f"{table['table']}: {table['rows']} rows: {table['inserted']} inserted, "
            f"{table['updated']} set back, {table['deleted']} later ones deleted"
            + (", the table created" if table["created"] else "")
            for table in result["tables"]
        ),
        *(found["message"] for found in result["findings"]),
    ]
