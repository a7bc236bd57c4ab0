"""A backup loaded and proved in a side database, beside the live one, and the swap that makes it
live.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ..catalog import manifest
from ..clock import utc_now
from ..errors import BadBackupError, DatabaseError, PostgresBackupError
from ..findings import finding
from ..job import Job
from ..machine.progress import Progress
from ..postgresql import databases, replaced, swap
from ..postgresql.connection import connect, connect_maintenance, first_line
from ..postgresql.facts import database_facts
from ..postgresql.load import Load
from ..postgresql.pg_dump import Dump
from ..stream.inspector import Report
from ..verify.proof import require_whole
from ..verify.reader import Source
from . import roles
from .preflight import Plan

#: seconds between attempts to remove a side database: a server that has just crashed needs a moment
_PATIENCE = (0, 1, 2, 4, 8)


def load_beside(job: Job, made: Plan) -> tuple[str, dict]:
    """Fill and prove a side database.

    :return: its name, and ``rows sha256 findings``.
    :raises PostgresBackupError: the backup is not what it should be, or does not load; the side
        database is gone.
    """
    with connect_maintenance(job.settings, made.database) as connection:
        findings = _clear_up(connection, made.database, job.progress)
        findings += roles.create(connection, made.missing_roles, made.role_statements)
        if made.missing_roles:
            job.progress.step(f"{made.database}: created the roles {', '.join(made.missing_roles)}")
        side = replaced.side_name(connection, made.database, utc_now())
    with discarded_on_failure(job, side):
        with connect_maintenance(job.settings, made.database) as connection:
            databases.create_database(connection, side, made.facts, _side_comment(made))
            # before the rows: the settings may say how they read (lc_monetary), and a right that is
            # missing shows now
            findings += databases.dress_database(connection, side, made.facts)
        job.progress.phase(f"loading {made.backup.name} into {side}")
        source = Source(job.store, made.backup, made.tools, job.identities, job.progress)
        with Load(
            made.tools, side, cleaning=not _is_ours(made), superusers=made.server["superusers"]
        ) as load:
            source.feed(load.feed, lambda: load.guard.current_table)
            report = load.inspect()
            require_whole(made.backup, report)
            load.finish()
        with connect(job.settings, side) as connection:
            job.progress.phase(f"gathering statistics of {side}")
            connection.execute("ANALYZE")
        findings += _prove(made, side, report, job.progress)
        with connect_maintenance(job.settings, made.database) as connection:
            databases.limit_connections(connection, side, made.facts.get("connection_limit", -1))
    return side, {
        "rows": report.rows,
        "sha256": source.sha256,
        "findings": made.findings + findings,
    }


def _clear_up(connection: psycopg.Connection, database: str, progress: Progress) -> list[dict]:
    """Remove what restores that died have left; findings for what another user's restore left."""
    findings = []
    for leftover in replaced.leftovers(connection, database):
        progress.step(f"{database}: removing {leftover}, left by a restore that did not end")
        try:
            databases.drop_database(connection, leftover)
        except psycopg.errors.InsufficientPrivilege as error:
            findings.append(
                finding(
                    "SIDE_DATABASE_LEFT",
                    f"{leftover} of an earlier restore could not be removed: {first_line(error)}",
                )
            )
    return findings


def _side_comment(made: Plan) -> str:
    return replaced.side_comment(made.database, str(made.backup.name), made.facts.get("comment"))


def _prove(made: Plan, side: str, report: Report, progress: Progress) -> list[dict]:
    """Dump the side database through the same inspector: what went in must come out, row by row.

    A dump that was not ours may have been written under other settings (time zone) and by other
    ways (through the partitioned table instead of its partitions), so only rows are counted; where
    there are only INSERT statements, nothing can be compared.
    """
    progress.phase(f"comparing {side} with the backup")
    dump = Dump(made.tools, side)
    for chunk in dump.chunks():
        progress.advance(len(chunk), lambda: dump.inspector.current_table)
    went_in, came_out = manifest.tables_of(report), manifest.tables_of(dump.report)
    found = made.backup.manifest or {}
    if not _is_ours(made):
        if not went_in and any(table["rows"] for table in came_out.values()):
            return [
                finding(
                    "ROWS_NOT_COMPARED",
                    "the dump has its rows as INSERT statements; psql loaded them without an error",
                )
            ]
        went_in, came_out = _only_rows(went_in, came_out)
    differences = manifest.differences(went_in, came_out)
    if differences:
        raise BadBackupError(
            f"The restored database is not what went in: {differences[0]['message']}",
            "The live database is untouched. Please report this with the server's log",
            differences,
        )
    expected = found.get("schema_sha256") if _is_ours(made) else None
    same_major = found.get("postgresql_version", "").split(".")[0] == str(made.server["major"])
    if expected and same_major and expected != dump.report.schema_sha256:
        return [
            finding(
                "SCHEMA_DIFFERS",
                "all rows are equal, but the definitions read differently (another minor version, or extensions of another version)",
            )
        ]
    return []


def _is_ours(made: Plan) -> bool:
    """Our pg_dump wrote it, not somebody's script: when it ended is known to its maker only."""
    return bool((made.backup.manifest or {}).get("ended_at"))


def _only_rows(
    went_in: dict[str, dict], came_out: dict[str, dict]
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Both sides with nothing but numbers of rows, tables that only one of them names added up."""
    sides = []
    for one, other in ((went_in, came_out), (came_out, went_in)):
        rows = {
            name: {"rows": table["rows"], "sha256": ""}
            for name, table in one.items()
            if name in other
        }
        rows["tables of other names"] = {
            "rows": sum(table["rows"] for name, table in one.items() if name not in other),
            "sha256": "",
        }
        sides.append(rows)
    return sides[0], sides[1]


def discard_side_database(job: Job, side: str) -> None:
    """Remove a side database that will not be used.

    :raises DatabaseError: the server does not come back within some seconds.
    """
    for pause in _PATIENCE:
        time.sleep(pause)
        try:
            with connect_maintenance(job.settings, job.database) as connection:
                if side in replaced.leftovers(
                    connection, job.database
                ):  # it may be live by now, or never have been ours
                    databases.drop_database(connection, side)
            return
        except DatabaseError as error:
            refused = error
    raise refused


@contextmanager
def discarded_on_failure(job: Job, side: str) -> Iterator[None]:
    """What failed first is what is told; that the side database could not be removed is a finding
    beside it.
    """
    try:
        yield
    except BaseException as error:
        try:
            discard_side_database(job, side)
        except DatabaseError as second:
            if isinstance(error, PostgresBackupError):
                message = (
                    f"{side} could not be removed, the next restore removes it: {second.message}"
                )
                error.findings.append(finding("SIDE_DATABASE_LEFT", message))
        raise


def swap_in(job: Job, side: str) -> dict:
    """Put the side database in the live one's place, in one transaction.

    :return: ``kept_database`` (None where there was none), ``downtime_seconds``.
    """
    now = utc_now()
    job.progress.step(f"{job.database}: swapping")
    with connect_maintenance(job.settings, job.database) as connection:
        facts = replaced.side(connection, job.database, side)
        live = database_facts(connection, job.database)
        kept = replaced.kept_name(connection, job.database, now) if live else None
    renames = ([(job.database, kept)] if kept else []) + [(side, job.database)]
    comments = {job.database: facts["comment"]}
    if kept:
        comments[kept] = replaced.kept_comment(
            job.database, kept, f"restore of {facts['backup']}", live["comment"]
        )
    downtime = swap.swap(job.settings, renames, comments)
    return {"kept_database": kept, "downtime_seconds": round(downtime, 3) if kept else 0.0}
