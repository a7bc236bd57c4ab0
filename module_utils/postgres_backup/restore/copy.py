"""A backup as a database of its own beside the live one, under a name that somebody chooses: no
swap, no application stopped. It is loaded and proved like every restore, and gone after its days.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import final

import psycopg

from ..catalog import journal
from ..catalog.backups import layout_for
from ..clock import utc_now
from ..errors import DatabaseError, UsageError
from ..findings import Finding, finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import copies, replaced, subscriptions, swap, written
from ..postgresql.connection import connect_maintenance
from ..text import human_seconds
from ..verify.proof import note_restored
from .plan import Plan, PlanResult, plan_lines
from .preflight import make_plan
from .side_database import discarded_on_failure, load_side_database


class _CopyKnown(PlanResult):
    changed: bool
    copy_database: str
    keep_days: int


@final
class CopyPlanned(_CopyKnown):
    """A copy that is not made yet."""


@final
class CopyResult(_CopyKnown):
    """A copy; ``sha256``: of the object."""

    sha256: str
    seconds: float


def restore_copy(
    job: Job, backup: str, name: str, keep_days: int | None = None
) -> CopyPlanned | CopyResult:
    """A copy of a backup beside the live database; in check mode the plan, nothing made.

    :param backup: a name as listed, or ``latest``.
    :param name: what the copy is called.
    :param keep_days: for how many days it stays; None: as long as a database that was replaced.
    :raises UsageError: the name is not safe, reserved or taken, or the days are no such number;
        nothing is touched.
    """
    days = job.settings.keep_replaced_days if keep_days is None else keep_days
    copies.require_name(job.settings, name)
    if not 0 <= days <= copies.MOST_DAYS:
        raise UsageError(
            f"{days} is no number of days that a copy may stay",
            f"Write 0 to {copies.MOST_DAYS}: --keep-days 7 (Ansible: -e keep_days=7)",
        )
    job.require()
    _require_free(job, name)
    plan = make_plan(job, backup, beside=True)
    planned: CopyPlanned = {
        **plan.describe(),
        "findings": _of_a_copy(plan.describe()["findings"], plan, name),
        "replaces": False,
        "changed": True,
        "copy_database": name,
        "keep_days": days,
    }
    if job.check:
        return planned
    about = {"backup": plan.name, "copy_database": name}
    with (
        lock.hold(job.settings, job.database, "restore"),
        # whoever asked for it hears of it, and nobody else misses it
        outcome.noted(job.settings, "restore", job.database, about, ends=False, alarm=False),
    ):
        began = time.monotonic()
        _require_free(job, name)
        loaded = load_side_database(job, plan)
        with discarded_on_failure(job, loaded.side_database):
            _name(job, plan, loaded.side_database, name, days)
        _count(job, name)
        result: CopyResult = {
            **planned,
            "rows": loaded.rows,
            "sha256": loaded.sha256,
            "findings": _of_a_copy(loaded.findings, plan, name),
            "seconds": round(time.monotonic() - began, 1),
        }
        told: dict[str, object] = {
            "backup": result["backup"],
            "database": result["database"],
            "copy_database": name,
            "rows": result["rows"],
            "seconds": result["seconds"],
        }
        layout = layout_for(job.settings, job.database)
        result["findings"] += journal.record(job.store, layout, utc_now(), "restore-copy", told)
        if not plan.backup.name.part:
            result["findings"] += note_restored(job, plan.backup)
    job.progress.step(lines(result)[0])
    return result


def _require_free(job: Job, name: str) -> None:
    with connect_maintenance(job.settings, job.database) as connection:
        copies.require_free(connection, name)


def _of_a_copy(found: list[Finding], plan: Plan, name: str) -> list[Finding]:
    """The findings of a load, without what holds for a database that becomes the live one."""
    stays = [one for one in found if one["code"] != "SUBSCRIPTION_OFF"]
    known = plan.backup.manifest
    if names := known.get("subscriptions", []) if known else []:
        message = (
            f"{name} is without the subscriptions of the backup ({', '.join(names[:10])}): their "
            "slots at the publisher are the live database's"
        )
        stays.append(finding("COPY_UNSUBSCRIBED", message))
    return stays


def _name(job: Job, plan: Plan, side: str, name: str, days: int) -> None:
    """Give a side database its name and its mark, in one transaction."""
    with connect_maintenance(job.settings, job.database) as connection:
        # a copy must never take what a publisher sends the live one, nor drop its slot
        subscriptions.forget(job.settings, connection, side)

    def comments(connection: psycopg.Connection) -> dict[str, str | None]:
        own = plan.wanted.comment
        return {
            name: copies.copy_comment(connection, name, job.database, plan.name, days, own),
        }

    swap.swap(job.settings, [(side, name)], comments)


def _count(job: Job, name: str) -> None:
    """Complete the mark by what only a session inside can count. Where that does not work, the
    first look of a prune does it.
    """
    with (
        contextlib.suppress(DatabaseError),
        connect_maintenance(job.settings, job.database) as connection,
    ):
        for copy in copies.copies(connection, job.database):
            if copy.name == name:
                counted = copy.mark.changed(**written.count(job.settings, name))
                replaced.remember(connection, dataclasses.replace(copy, mark=counted))


def lines(result: CopyPlanned | CopyResult) -> list[str]:
    """:func:`restore_copy` for a person; of one that was made the first line is what the log ends
    with.
    """
    name, days = result["copy_database"], result["keep_days"]
    goes = f"The prune drops it after {days} days, unless somebody has written to it"
    if "seconds" not in result:
        plan = plan_lines(result, in_place=False)
        rows = "an unknown number of" if result["rows"] is None else result["rows"]
        first = f"{name} would be made beside {result['database']}: {result['backup']}, {rows} rows"
        return [first, f"{result['database']} stays as it is", goes, *plan[2:]]
    return [
        (
            f"{result['database']}: {result['backup']} stands beside it as {name}: "
            f"{result['rows']} rows, {human_seconds(result['seconds'])}"
        ),
        f"{goes}; or now: DROP DATABASE",
        *(found["message"] for found in result["findings"]),
    ]
