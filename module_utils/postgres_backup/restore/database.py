"""Bring a backup back: load it beside the live database, prove it, swap it in; the old one is kept.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import time

from ..clock import utc_now
from ..errors import UsageError
from ..health import outcome
from ..machine import lock
from ..machine.progress import Progress
from ..postgresql import replaced, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts
from ..s3.store import Store
from ..settings import Settings
from ..text import human_seconds
from . import in_place
from .preflight import Plan, plan
from .side_database import discarded_on_failure, load_beside, swap_in


def restore_database(
    settings: Settings,
    backup: str,
    database: str = "",
    check: bool = False,
    in_place_wanted: bool | None = None,
    identities: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> dict:
    """The database becomes what it was in that backup.

    :param backup: a name as listed, or ``latest``.
    :param in_place_wanted: load inside the live database in one transaction; None: as the settings
        say.
    :param check: the plan, nothing applied.
    :param identities: private age keys.
    :return: ``backup database key bytes rows seconds sha256 kept_database downtime_seconds findings
        changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    inside = settings.restore_in_place if in_place_wanted is None else in_place_wanted
    if not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    store = Store(settings)
    store.check()
    made = plan(settings, store, backup, database, not inside, identities)
    if check:
        with connect_maintenance(settings, database) as connection:
            kept = (
                None
                if inside or not made.live
                else replaced.kept_name(connection, database, utc_now())
            )
        return made.describe() | {"changed": True, "kept_database": kept, "in_place": inside}
    with (
        lock.hold(settings, database, "restore"),
        outcome.noted(settings, "restore", database, {"backup": str(made.backup.name)}),
    ):
        began = time.monotonic()
        found = (in_place.replace if inside else _replace)(
            settings, store, made, identities, progress
        )
        result = (
            made.describe()
            | found
            | {"changed": True, "in_place": inside, "seconds": round(time.monotonic() - began, 1)}
        )
        told = ("backup", "database", "rows", "seconds", "downtime_seconds", "kept_database")
        result["findings"] = result["findings"] + outcome.restored(settings, store, result, *told)
    progress.step(
        f"{database}: restored from {result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}, "
        f"unreachable for {result['downtime_seconds']:.2f} s"
        + (
            f"; the database as it was is kept as {result['kept_database']}"
            if result["kept_database"]
            else ""
        )
    )
    return result


def _replace(
    settings: Settings, store: Store, made: Plan, identities: tuple[str, ...], progress: Progress
) -> dict:
    side, facts = load_beside(settings, store, made, identities, progress)
    with discarded_on_failure(settings, made.database, side):
        return facts | swap_in(settings, made.database, side, progress)


def undo_restore(
    settings: Settings,
    database: str = "",
    kept: str = "",
    check: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Swap the database that a restore replaced back in; the restored one is kept in turn, so an
    undo can be undone.

    :param kept: which one; empty: the newest.
    :return: ``database kept_database restored_database downtime_seconds findings changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    if check:
        return _plan_undo(settings, database, kept)[0]
    with lock.hold(settings, database, "undo-restore"):
        result, live, comment = _plan_undo(settings, database, kept)
        chosen, new_kept = result["restored_database"], result["kept_database"]
        comments = {database: comment}
        if live:
            comments[new_kept] = replaced.kept_comment(
                database, new_kept, f"undo, which brought {chosen} back", live["comment"]
            )
        seconds = swap.swap(
            settings, ([(database, new_kept)] if live else []) + [(chosen, database)], comments
        )
        downtime = round(seconds, 3) if live else 0.0
    progress.step(
        f"{database}: {chosen} is live again, unreachable for {downtime:.2f} s"
        + (f"; the one it replaced is kept as {new_kept}" if new_kept else "")
    )
    return result | {"downtime_seconds": downtime}


def _plan_undo(
    settings: Settings, database: str, kept: str
) -> tuple[dict, dict | None, str | None]:
    """The result to be, the live database's facts, and the comment that the one to come back had."""
    with connect_maintenance(settings, database) as connection:
        chosen = replaced.choose(connection, settings, database, kept)
        live = database_facts(connection, database)
        swap.require_renamable(connection, settings, [database, chosen["name"]])
        new_kept = replaced.kept_name(connection, database, utc_now()) if live else None
    result = {
        "changed": True,
        "database": database,
        "restored_database": chosen["name"],
        "kept_database": new_kept,
        "findings": [],
    }
    return result, live, chosen["comment"]
