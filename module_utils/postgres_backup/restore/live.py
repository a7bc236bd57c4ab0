"""The backup held against the live database that it is to replace: how old it is, how many rows
there were and are, which are gone afterwards. One that has far fewer is refused unless it is meant.

A restore waits for none of this: where a table is locked, by a migration that hangs, say,
PostgreSQL's estimate is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypedDict

import psycopg

from ..clock import utc_now
from ..errors import DatabaseError, UsageError
from ..findings import finding
from ..job import Job
from ..postgresql.connection import connect, rows, value
from ..text import human_age, human_bytes
from .plan import Plan
from .row_counts import rows_of

#: a larger database is not counted, but estimated from what PostgreSQL remembers
_COUNTED = 1024**3
#: of an unproven backup only its bytes are known, and they say little of less than this
_TELLING = 10_000_000
#: how much larger than its object the tables are reckoned
_UNPACKED = 5
#: tables that a line names
_NAMED = 5


class NewerRows(TypedDict):
    """A table that has more rows now than the backup."""

    table: str
    then_rows: int
    now_rows: int


class Against(TypedDict):
    """A backup beside the live database; None where nobody knows.

    ``exact``: the rows were counted; else they are PostgreSQL's estimate.
    """

    age_hours: float
    then_rows: int | None
    now_rows: int | None
    exact: bool
    newer: list[NewerRows]


class WithLive(TypedDict, total=False):
    """Part of a result: there where a live database is replaced."""

    live: Against


def hold_against(job: Job, plan: Plan) -> WithLive:
    """Look at the live database; nothing where there is none.

    :raises UsageError: the backup has less than ``restore_min_percent`` of its rows (or bytes), and
        nobody has said that this is meant.
    """
    if plan.live is None:
        return {}
    there, exact = _rows_now(job, plan)
    manifest = plan.backup.manifest
    then = {name: table["rows"] for name, table in manifest["tables"].items()} if manifest else None
    newer: list[NewerRows] = [
        {"table": name, "then_rows": (then or {}).get(name, 0), "now_rows": now}
        for name, now in (there or {}).items()
        if then is not None and now > then.get(name, 0)
    ]
    newer.sort(key=lambda one: (one["then_rows"] - one["now_rows"], one["table"]))
    found: Against = {
        "age_hours": round((utc_now() - plan.backup.taken_at).total_seconds() / 3600, 2),
        "then_rows": manifest["rows"] if manifest else None,
        "now_rows": sum(there.values()) if there is not None else None,
        "exact": exact,
        "newer": newer,
    }
    if not job.smaller:
        _require_enough(job, plan, found)
    return {"live": found}


def lines(database: str, result: WithLive, in_place: bool) -> list[str]:
    """:func:`hold_against` for a person."""
    if (found := result.get("live")) is None:
        return []
    about = "" if found["exact"] else "about "
    then, now = _number(found["then_rows"]), _number(found["now_rows"])
    age = human_age(found["age_hours"])
    told = [f"It is {age} old: {then} rows then, {about}{now} in {database} now"]
    if found["newer"]:
        named = [
            f"{one['table']} {one['now_rows'] - one['then_rows']:,}"
            for one in found["newer"][:_NAMED]
        ]
        more = len(found["newer"]) - _NAMED
        words = ", ".join(named) + (f" and {more} more tables" if more > 0 else "")
        where = "gone afterwards" if in_place else "in the kept database alone afterwards"
        told.append(f"Rows that are newer, {where}: {about}{words}")
    if not in_place:
        told.append(
            "To take it back: ansible-playbook playbooks/undo_restore.yml "
            "(on the server: postgres-backup undo-restore)"
        )
    return told


def _number(rows: int | None) -> str:
    return "an unknown number of" if rows is None else f"{rows:,}"


def _require_enough(job: Job, plan: Plan, found: Against) -> None:
    least, then, now = job.settings.restore_min_percent, found["then_rows"], found["now_rows"]
    what = ""
    if then is not None and now is not None:
        if now and then * 100 < now * least:
            what = f"has {then:,} rows, {plan.database} has {now:,} now"
    elif (live := _table_bytes(job)) >= _TELLING:
        reckoned = plan.backup.bytes * _UNPACKED
        if reckoned * 100 < live * least:
            size = human_bytes(plan.backup.bytes)
            what = f"has {size}, the tables of {plan.database} have {human_bytes(live)} now"
    if what:
        raise UsageError(
            f"{plan.name} {what}: that is less than {least} percent (backup_restore_min_percent)",
            "Is it the right one? postgres-backup list. If it is: --smaller "
            "(Ansible: -e smaller=true)",
            [finding("BACKUP_SMALLER", f"{plan.name} {what}", database=plan.database)],
        )


@dataclasses.dataclass(frozen=True)
class _Estimate:
    name: str
    rows: int


_ESTIMATE = """
SELECT schemaname || '.' || relname AS name, n_live_tup AS rows FROM pg_stat_user_tables"""


def _rows_now(job: Job, plan: Plan) -> tuple[Mapping[str, int] | None, bool]:
    """Rows by table, and whether they were counted."""
    size = plan.live.database_bytes if plan.live else None
    if size is not None and size <= _COUNTED:
        try:
            return rows_of(job.settings, job.database, patient=False), True
        except (psycopg.Error, DatabaseError):  # a table that is locked, or that we may not read
            pass
    try:
        with connect(job.settings, job.database) as connection:
            return {one.name: one.rows for one in rows(connection, _Estimate, _ESTIMATE)}, False
    except (psycopg.Error, DatabaseError):
        return None, False


_BYTES = "SELECT coalesce(sum(pg_table_size(relid)), 0)::bigint FROM pg_stat_user_tables"


def _table_bytes(job: Job) -> int:
    try:
        with connect(job.settings, job.database) as connection:
            connection.execute("SET lock_timeout = '3s'")  # the size of a table takes a lock
            return value(connection, int, _BYTES)
    except (psycopg.Error, DatabaseError):
        return 0
