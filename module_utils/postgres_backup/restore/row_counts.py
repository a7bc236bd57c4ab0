"""How many rows the tables of a kept database have, and those of the live one: what was written
after the backup shows there.
"""

from __future__ import annotations

import dataclasses
from typing import TypedDict, final

from psycopg import sql

from ..errors import UsageError
from ..findings import Finding
from ..job import Job
from ..postgresql import replaced
from ..postgresql.connection import connect, connect_maintenance, own_search_path, rows, value
from ..settings import Settings


class RowDifference(TypedDict):
    """A table with another number of rows before and after; None where there is no such table."""

    table: str
    kept_rows: int | None
    live_rows: int | None


@final
class CompareResult(TypedDict):
    """What :func:`compare_step` saw."""

    changed: bool
    database: str
    kept_database: str
    row_differences: list[RowDifference]
    findings: list[Finding]


def compare_step(job: Job, kept: str) -> CompareResult:
    """Tables whose number of rows differs between a kept database and the live one: what was
    written after the backup.

    :param kept: ``kept_database`` of a restore.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        chosen = replaced.choose(connection, job.settings, job.database, kept)
    if chosen.holds_rows:
        raise UsageError(
            f"{chosen.name} holds rows of some tables: there is nothing to compare",
            "Name one that a restore of all has kept: postgres-backup status",
        )
    kept = chosen.name
    job.progress.phase(f"counting rows of {job.database} and {kept}")
    live, before = rows_of(job.settings, job.database), rows_of(job.settings, kept)
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


#: of a look that may come to nothing: how long it waits for a lock, and counts one table
_IMPATIENT = "SET lock_timeout = '3s'; SET statement_timeout = '30s'"


def rows_of(settings: Settings, database: str, patient: bool = True) -> dict[str, int]:
    """Rows of every ordinary table, by qualified name.

    :param patient: wait for whoever has locked a table, and for the largest table.
    :raises psycopg.Error: with ``patient`` False: it would have to wait.
    """
    with connect(settings, database) as connection:
        if not patient:
            connection.execute(_IMPATIENT)
        connection.execute("SET row_security = off")
        own_search_path(connection)  # a plan may look into the functions of an index
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


def lines(result: CompareResult) -> list[str]:
    """:func:`compare_step` for a person."""
    kept = result["kept_database"]
    if not result["row_differences"]:
        return [f"Every table has as many rows as in {kept}."]

    def told(number: int | None) -> str:
        return "no table" if number is None else str(number)

    return [
        f"What was written after the backup is in {kept}.",
        "Tables with another number of rows (until now -> now):",
        *(
            f"  {table['table']}  {told(table['kept_rows'])} -> {told(table['live_rows'])}"
            for table in result["row_differences"]
        ),
    ]
