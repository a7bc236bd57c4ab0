"""Bring a backup back: load it beside the live database, prove it, swap it in; the old one is kept.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import time

from ..clock import utc_now
from ..errors import UsageError
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..postgresql import replaced, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts
from ..text import human_bytes, human_seconds
from . import in_place
from .preflight import Plan, plan
from .side_database import discarded_on_failure, load_beside, swap_in


def restore_database(job: Job, backup: str, in_place_wanted: bool | None = None) -> dict:
    """The database becomes what it was in that backup.

    :param backup: a name as listed, or ``latest``.
    :param in_place_wanted: load inside the live database in one transaction; None: as the settings
        say.
    :param check: the plan, nothing applied.
    :param identities: private age keys.
    :return: ``backup database key bytes rows seconds sha256 kept_database downtime_seconds findings
        changed``.
    """
    inside = job.settings.restore_in_place if in_place_wanted is None else in_place_wanted
    if not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    job.require()
    made = plan(job, backup, not inside)
    if job.check:
        with connect_maintenance(job.settings, job.database) as connection:
            kept = (
                None
                if inside or not made.live
                else replaced.kept_name(connection, job.database, utc_now())
            )
        return made.describe() | {"changed": True, "kept_database": kept, "in_place": inside}
    with (
        lock.hold(job.settings, job.database, "restore"),
        outcome.noted(job.settings, "restore", job.database, {"backup": str(made.backup.name)}),
    ):
        began = time.monotonic()
        found = (in_place.replace if inside else _replace)(job, made)
        result = (
            made.describe()
            | found
            | {"changed": True, "in_place": inside, "seconds": round(time.monotonic() - began, 1)}
        )
        told = ("backup", "database", "rows", "seconds", "downtime_seconds", "kept_database")
        result["findings"] = result["findings"] + outcome.restored(
            job.settings, job.store, result, *told
        )
    job.progress.step(
        f"{job.database}: restored from {result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}, "
        f"unreachable for {result['downtime_seconds']:.2f} s"
        + (
            f"; the database as it was is kept as {result['kept_database']}"
            if result["kept_database"]
            else ""
        )
    )
    return result


def _replace(job: Job, made: Plan) -> dict:
    side, facts = load_beside(job, made)
    with discarded_on_failure(job, side):
        return facts | swap_in(job, side)


def undo_restore(job: Job, kept: str = "") -> dict:
    """Swap the database that a restore replaced back in; the restored one is kept in turn, so an
    undo can be undone.

    :param kept: which one; empty: the newest.
    :return: ``database kept_database restored_database downtime_seconds findings changed``.
    """
    if job.check:
        return _plan_undo(job, kept)[0]
    with lock.hold(job.settings, job.database, "undo-restore"):
        result, live, comment = _plan_undo(job, kept)
        chosen, new_kept = result["restored_database"], result["kept_database"]
        comments = {job.database: comment}
        if live:
            comments[new_kept] = replaced.kept_comment(
                job.database, new_kept, f"undo, which brought {chosen} back", live["comment"]
            )
        seconds = swap.swap(
            job.settings,
            ([(job.database, new_kept)] if live else []) + [(chosen, job.database)],
            comments,
        )
        downtime = round(seconds, 3) if live else 0.0
    job.progress.step(
        f"{job.database}: {chosen} is live again, unreachable for {downtime:.2f} s"
        + (f"; the one it replaced is kept as {new_kept}" if new_kept else "")
    )
    return result | {"downtime_seconds": downtime}


def _plan_undo(job: Job, kept: str) -> tuple[dict, dict | None, str | None]:
    """The result to be, the live database's facts, and the comment that the one to come back had."""
    with connect_maintenance(job.settings, job.database) as connection:
        chosen = replaced.choose(connection, job.settings, job.database, kept)
        live = database_facts(connection, job.database)
        swap.require_renamable(connection, job.settings, [job.database, chosen["name"]])
        new_kept = replaced.kept_name(connection, job.database, utc_now()) if live else None
    result = {
        "changed": True,
        "database": job.database,
        "restored_database": chosen["name"],
        "kept_database": new_kept,
        "findings": [],
    }
    return result, live, chosen["comment"]


def lines(result: dict) -> list[str]:
    """:func:`restore_database` for a person; of one that was done the first line is what the log
    ends with.
    """
    if "downtime_seconds" not in result:
        return _plan_lines(result)
    kept = result["kept_database"]
    return [
        f"{result['database']}: restored from {result['backup']}: {result['rows']} rows, "
        f"{human_seconds(result['seconds'])}, unreachable for {result['downtime_seconds']:.2f} s"
        + (f"; the database as it was is kept as {kept}" if kept else ""),
        *(["Undo: postgres-backup undo-restore"] if kept else []),
        *(one["message"] for one in result["findings"]),
    ]


def _plan_lines(made: dict) -> list[str]:
    """What is going to happen, and in which state the rest is."""
    rows = "an unknown number of" if made["rows"] is None else made["rows"]
    proven = "proven" if made["proven"] else "not yet read to its end by anybody: that comes first"
    name = made["database"]
    text = [
        (
            f"{name} would become what it was in {made['backup']} "
            f"({rows} rows, {human_bytes(made['bytes'])}, {proven})"
        )
    ]
    if made["in_place"]:
        text.append(
            "In place, in one transaction: nothing is kept to go back to, "
            "and the application waits for all of it"
        )
    elif made["replaces"]:
        kept = made.get("kept_database") or f"{name}_before_<time>"
        text.append(f"The database as it is would be kept as {kept}")
    else:
        text.append(f"There is no database {name} now")
    if made["free_bytes"] is not None:
        needed, free = human_bytes(made["needed_bytes"]), human_bytes(made["free_bytes"])
        text.append(f"Room for a second copy: {needed} needed, {free} free")
    if made["missing_roles"]:
        text.append(f"Roles that are made first: {', '.join(made['missing_roles'])}")
    if made["sessions"]:
        text.append(f"Connections that the swap closes: {made['sessions']}")
    return [*text, *(one["message"] for one in made["findings"])]


def undo_lines(result: dict) -> list[str]:
    """:func:`undo_restore` for a person; of one that was done the first line is what the log ends
    with.
    """
    name, back, kept = result["database"], result["restored_database"], result["kept_database"]
    if "downtime_seconds" not in result:
        told = f"{name}: {back} would be live again"
        told += f"; the one it replaces would be kept as {kept}" if kept else ""
    else:
        told = f"{name}: {back} is live again, unreachable for {result['downtime_seconds']:.2f} s"
        told += f"; the one it replaced is kept as {kept}" if kept else ""
    return [told, *(one["message"] for one in result["findings"])]
