"""Bring back chosen tables of a backup and leave the rest of the live database as it is.

All of the backup is read and proved; its definitions and the rows of these tables are loaded into
a side database, and compared, as for a whole restore. Then, in one
transaction of the live one, each table becomes what it was: rows that differ are set back, missing
ones inserted, later ones deleted (:mod:`.repair`). A result that does not fit the other tables, or
would change them, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TypedDict, final

from ..errors import DatabaseError, UsageError
from ..findings import Finding, finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import last_change
from ..postgresql.connection import connect
from ..text import human_bytes, human_seconds
from . import kept_rows
from .first_look import first_look, require_names
from .plan import Plan
from .preflight import make_plan
from .repair import Repair, repair
from .side_database import discard_side_database, discarded_on_failure, load_side_database
from .table_definitions import Made, run_definitions
from .table_rows import Change, TableResult

#: findings that tell what becomes of the live database when another takes its place
_OF_A_SWAP = ("REPLICATION_LEFT", "SUBSCRIPTION_OFF")


@final
class TablesResult(TypedDict):
    """Tables that were brought back; ``rows``: those of the backup in all of them.

    ``kept_database``: where what was changed is kept as rows, None where nothing was.
    ``passed_tables``: others of the backup that were read and proved, and not loaded, with
    ``passed_rows`` in them; ``unread_tables``: not even read. ``read_bytes`` of the object's
    ``bytes`` were used.
    """

    changed: bool
    backup: str
    database: str
    key: str
    tables: list[TableResult]
    rows: int
    kept_database: str | None
    passed_tables: int
    passed_rows: int
    unread_tables: int
    read_bytes: int
    bytes: int
    seconds: float
    findings: list[Finding]


def restore_tables(
    job: Job, backup: str, tables: Sequence[str], triggers: bool = False
) -> TablesResult:
    """The chosen tables become what they were in a backup.

    In check mode they are loaded and compared all the same (only so can the differences be known),
    and nothing in the live database is changed.

    :param tables: names as in SQL: ``users``, ``public.orders``, ``"My table"``.
    :param triggers: those of the tables fire.
    :raises UsageError: a table is not in the backup, or has other columns now.
    :raises DatabaseError: the result would not fit the other tables; the live database is as it
        was.
    """
    job.require()
    plan = make_plan(job, backup, beside=True, tables=tables)
    if plan.live is None:
        raise UsageError(
            f"There is no database {job.database} to bring tables back into",
            "Restore all of it: without tables",
        )
    require_names(plan.backup, tables)
    about = {"backup": plan.name}
    with (
        lock.hold(job.settings, job.database, "restore of tables"),
        outcome.noted(job.settings, "restore", job.database, about, check=job.check),
    ):
        began = time.monotonic()
        look = first_look(job, plan, tables)
        loaded = load_side_database(job, plan, tables=tables, look=look)
        with discarded_on_failure(job, loaded.side_database):
            changes, findings, kept = _bring_back(job, plan, loaded.side_database, tables, triggers)
        findings += _discarded(job, loaded.side_database)
        result: TablesResult = {
            "changed": any(change.table.live_oid is None or change.total for change in changes),
            "backup": plan.name,
            "database": job.database,
            "key": plan.backup.key,
            "tables": [change.describe() for change in changes],
            "rows": sum(change.rows for change in changes),
            "kept_database": kept,
            "passed_tables": loaded.passed_tables,
            "passed_rows": loaded.passed_rows,
            "unread_tables": loaded.unread_tables,
            "read_bytes": loaded.read_bytes,
            "bytes": plan.backup.bytes,
            "seconds": round(time.monotonic() - began, 1),
            "findings": [
                *(found for found in loaded.findings if found["code"] not in _OF_A_SWAP),
                *findings,
            ],
        }
        if not job.check:
            told: dict[str, object] = {
                "backup": result["backup"],
                "database": result["database"],
                "tables": result["tables"],
                "seconds": result["seconds"],
            }
            result["findings"] += outcome.told(job.settings, job.database, "restore-tables", told)
    job.progress.step(lines(result, job.check)[0])
    return result


def _discarded(job: Job, side: str) -> list[Finding]:
    """Remove the side database; where somebody keeps it, what was done is done all the same."""
    try:
        discard_side_database(job, side)
    except DatabaseError as error:
        message = f"{side} could not be removed, the next restore removes it: {error.message}"
        return [finding("SIDE_DATABASE_LEFT", message)]
    return []


def _bring_back(
    job: Job, plan: Plan, side_database: str, wanted: Sequence[str], triggers: bool
) -> tuple[list[Change], list[Finding], str | None]:
    """All of it in one transaction of the live database, which check mode does not commit; and what
    the database is called that keeps what was changed.
    """
    isolation = "REPEATABLE_READ" if job.check else "READ_COMMITTED"
    by = f"restore of tables from {plan.name}"
    with ExitStack() as stack:
        new = ""
        if not job.check and plan.live:
            new = stack.enter_context(kept_rows.begun(job, plan.live))
        side = stack.enter_context(connect(job.settings, side_database))
        live = stack.enter_context(connect(job.settings, plan.database, isolation))
        kept: list[str] = []

        def define(made: Sequence[Made], section: str) -> None:
            run_definitions(plan.tools, side_database, live, made, section)

        def keep(changes: Sequence[Change], keys: Sequence[kept_rows.MadeKey]) -> None:
            last_change.note(live, plan.database, by)
            kept_rows.keep(job, new, live, changes, keys)
            kept_rows.finish(job, new, live, by, plan.database)
            kept.append(new)

        what = Repair(side, live, plan.backup, define, job.progress, job.check, triggers, keep)
        changes, findings = repair(what, wanted)
    return changes, findings, kept[0] if kept else None


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
        *(
            [
                f"How the rows were is kept in {result['kept_database']}",
                "Undo: postgres-backup undo-restore",
            ]
            if result["kept_database"]
            else []
        ),
        *_passed_line(result),
        *(found["message"] for found in result["findings"]),
    ]


def _passed_line(result: TablesResult) -> list[str]:
    told = []
    if result["passed_tables"]:
        others = f"{result['passed_tables']} other tables ({result['passed_rows']} rows)"
        told.append(f"{others} of the backup were read and proved, and not loaded")
    if result["unread_tables"]:
        used, whole = human_bytes(result["read_bytes"]), human_bytes(result["bytes"])
        tables = result["unread_tables"]
        told.append(f"{tables} large tables were not read: {used} of {whole} were needed")
    return told
