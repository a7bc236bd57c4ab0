"""A restore in steps, for whoever has something to do between them: stop the application before the
swap, start it after.

Between two steps nothing is held but the side database itself. Where somebody else restores
meanwhile, it is gone, and the swap says so and touches nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from psycopg import sql

from ..clock import utc_now
from ..errors import UsageError
from ..health import outcome
from ..machine import lock
from ..machine.progress import Progress
from ..postgresql import replaced
from ..postgresql.connection import connect, connect_maintenance
from ..postgresql.facts import database_facts
from ..s3.store import Store
from ..settings import Settings
from ..text import human_seconds
from . import in_place as inside
from .database import restore_database
from .preflight import plan
from .side_database import discard_side_database, load_beside, swap_in
from .tables import restore_tables


def perform_step(
    settings: Settings,
    *,
    stage: str = "all",
    backup: str = "",
    tables: list[str] | None = None,
    database: str = "",
    side_database: str = "",
    kept_database: str = "",
    downtime_seconds: float = 0.0,
    in_place: bool | None = None,
    identities: Sequence[str] = (),
    check: bool = False,
    progress: Progress | None = None,
) -> dict:
    """What the module ``postgres_backup_restore`` is asked for: all of a restore, one step of it,
    or chosen tables.

    :param stage: ``all``, ``load``, ``swap``, ``discard``, ``compare`` or ``note``.
    :return: the result of the function that is called.
    :raises UsageError: what is asked for does not go together.
    """
    keys = tuple(identities)
    if stage in ("all", "load", "swap", "note") and not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    if tables and (stage != "all" or in_place):
        raise UsageError(
            "Chosen tables are brought back in one go, through a side database",
            "Leave stage and in_place out",
        )
    if in_place is not None:
        settings = dataclasses.replace(settings, restore_in_place=in_place)
    if tables:
        return restore_tables(settings, backup, tables, database, check, keys, progress)
    if stage == "load":
        return load_step(settings, backup, database, keys, check, progress)
    if stage == "swap":
        return swap_step(settings, backup, side_database or None, database, keys, check, progress)
    if stage == "discard":
        return discard_step(settings, side_database or None, database, check, progress)
    if stage == "compare":
        return compare_step(settings, kept_database, database, progress)
    if stage == "note":
        return note_step(settings, backup, kept_database or None, downtime_seconds, database, check)
    return restore_database(settings, backup, database, check, None, keys, progress)


def load_step(
    settings: Settings,
    backup: str,
    database: str = "",
    identities: tuple[str, ...] = (),
    check: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Everything of a restore up to the swap: the backup loaded beside the live database and
    compared with it.

    In place there is no side database, and nothing is done yet but to look.

    :return: ``backup database key bytes rows seconds findings in_place changed`` and
        ``side_database`` (None in place).
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    store = Store(settings)
    store.check()
    in_place = settings.restore_in_place
    made = plan(settings, store, backup, database, not in_place, identities)
    result = made.describe() | {
        "changed": not in_place,
        "side_database": None,
        "in_place": in_place,
        "seconds": 0.0,
    }
    if check or in_place:
        return result
    with (
        lock.hold(settings, database, "restore"),
        outcome.noted(settings, "restore", database, {"backup": str(made.backup.name)}, ends=False),
    ):
        began = time.monotonic()
        side, facts = load_beside(settings, store, made, identities, progress)
    seconds = round(time.monotonic() - began, 1)
    progress.step(
        f"{database}: {made.backup.name} stands beside it, compared: {facts['rows']} rows, {human_seconds(seconds)}"
    )
    return result | facts | {"side_database": side, "seconds": seconds}


def swap_step(
    settings: Settings,
    backup: str,
    side: str | None,
    database: str = "",
    identities: tuple[str, ...] = (),
    check: bool = False,
    progress: Progress | None = None,
) -> dict:
    """The short step: the side database becomes the live one; in place, the whole load in one
    transaction.

    An application is down meanwhile, so the store, which may be slow or silent, is not asked:
    :func:`note_step` tells the journal afterwards.

    :param backup: as in the result of :func:`load_step`.
    :param side: ``side_database`` of :func:`load_step`.
    :param check: say what would be kept, and do nothing.
    :return: ``backup database kept_database downtime_seconds findings changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    if check:
        return {
            "changed": True,
            "backup": backup,
            "database": database,
            "kept_database": _would_keep(settings, database, side),
            "findings": [],
        }
    with (
        lock.hold(settings, database, "restore"),
        outcome.noted(settings, "restore", database, {"backup": backup}, ends=False),
    ):
        if side:
            found = swap_in(settings, database, side, progress)
        else:
            store = Store(settings)
            found = inside.replace(
                settings,
                store,
                plan(settings, store, backup, database, False, identities),
                identities,
                progress,
            )
        result = {"changed": True, "backup": backup, "database": database, "findings": []} | found
    progress.step(
        f"{database}: is what it was in {backup}, unreachable for {result['downtime_seconds']:.2f} s"
    )
    return result


def _would_keep(settings: Settings, database: str, side: str | None) -> str | None:
    with connect_maintenance(settings, database) as connection:
        if not side or database_facts(connection, database) is None:
            return None
        replaced.side(connection, database, side)
        return replaced.kept_name(connection, database, utc_now())


def discard_step(
    settings: Settings,
    side: str | None,
    database: str = "",
    check: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Remove a side database that will not be swapped in.

    :return: ``database side_database changed``.
    """
    database = settings.for_database(database)
    if side and not check:
        with lock.hold(settings, database, "restore"):
            discard_side_database(settings, database, side)
        (progress or Progress()).step(f"{database}: removed {side}")
    return {"changed": bool(side), "database": database, "side_database": side, "findings": []}


def note_step(
    settings: Settings,
    backup: str,
    kept: str | None,
    downtime: float,
    database: str = "",
    check: bool = False,
) -> dict:
    """Tell of a swap that was made: the journal in the bucket, and whoever was told that an earlier
    restore failed.

    :param kept: ``kept_database`` of :func:`swap_step`.
    :param downtime: ``downtime_seconds`` of it.
    :return: ``backup database kept_database downtime_seconds findings changed``.
    """
    database = settings.for_database(database)
    told = {
        "backup": backup,
        "database": database,
        "downtime_seconds": downtime,
        "kept_database": kept,
    }
    findings: list[dict] = []
    if not check:
        with outcome.noted(settings, "restore", database, {"backup": backup}):
            findings = outcome.restored(settings, Store(settings), told, *told)
    return {"changed": False, "findings": findings} | told


def compare_step(
    settings: Settings, kept: str, database: str = "", progress: Progress | None = None
) -> dict:
    """Tables whose number of rows differs between a replaced database and the live one: what was
    written after the backup.

    :param kept: ``kept_database`` of a restore.
    :return: ``row_differences``: each ``table``, ``kept_rows`` and ``live_rows`` (None where there
        is no such table); ``database kept_database changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    with connect_maintenance(settings, database) as connection:
        kept = replaced.choose(connection, settings, database, kept)["name"]
    progress.phase(f"counting rows of {database} and {kept}")
    live, before = _rows(settings, database), _rows(settings, kept)
    differences = [
        {"table": table, "kept_rows": before.get(table), "live_rows": live.get(table)}
        for table in sorted(live.keys() | before.keys())
        if live.get(table) != before.get(table)
    ]
    return {
        "changed": False,
        "database": database,
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
