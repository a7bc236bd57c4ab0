"""What every kind of pruning needs: a clock that can be trusted; and the databases that restores have replaced, which go when their time has come."""

from __future__ import annotations

from datetime import datetime

from ..catalog import manifest
from ..catalog.names import utc_now
from ..catalog.retention import plan_replaced
from ..errors import DatabaseError, PostgresBackupError
from ..machine.progress import Progress
from ..postgresql import databases, replaced
from ..postgresql.connection import connect_maintenance
from ..s3.store import Store
from ..settings import Settings

#: seconds that our clock and the store's may be apart; S3 itself refuses requests that are more than this off
MAX_CLOCK_DIFFERENCE = 15 * 60


def clock_fault(difference: float) -> str:
    """What is wrong with a clock that is so many seconds ahead of the store's; empty where that is nothing."""
    if abs(difference) <= MAX_CLOCK_DIFFERENCE:
        return ""
    return f"this machine's clock is {abs(difference) / 60:.0f} minutes {'ahead of' if difference > 0 else 'behind'} the store's"


def require_honest_clock(store: Store) -> None:
    """:raises PostgresBackupError: our clock and the store's disagree, so no age can be trusted."""
    difference = store.clock_difference()
    if wrong := clock_fault(difference):
        raise PostgresBackupError(
            f"Failed to prune: {wrong}, so no age can be trusted",
            "Set the clock (timedatectl set-ntp true), then try again; nothing was deleted",
            [{"code": "CLOCK_DIFFERS", "message": f"{difference:.0f} seconds"}],
        )


def prune_replaced(settings: Settings, database: str, newest_good: datetime | None, check: bool, progress: Progress) -> dict:
    """Drop what ``retention.plan_replaced`` lets go.

    :param newest_good: when the newest good backup was taken; None where there is none.
    :return: ``replaced_deleted`` and ``replaced_kept`` (each ``database`` and ``reason``), and ``findings``: DATABASE_UNREACHABLE or
        REPLACED_NOT_REMOVED. Neither keeps a prune from its end: the bucket can be judged without the server.
    """
    result: dict = {"replaced_deleted": [], "replaced_kept": [], "findings": []}
    try:
        with connect_maintenance(settings, database) as connection:
            kept = [(row["name"], manifest.moment(row["replaced_at"])) for row in replaced.kept(connection, database)]
    except DatabaseError as error:
        message = f"{error.message}; databases that restores have replaced stay until it can be asked"
        return result | {"findings": [{"code": "DATABASE_UNREACHABLE", "message": message}]}
    for decision in plan_replaced(kept, newest_good, settings.keep_replaced_days, utc_now()):
        line = {"database": decision.name, "reason": decision.reason}
        if decision.keep:
            result["replaced_kept"].append(line)
            continue
        try:
            if not check:
                with connect_maintenance(settings, database) as connection:
                    databases.drop_database(connection, decision.name)
                progress.step(f"{database}: dropped {decision.name}: {decision.reason}")
            result["replaced_deleted"].append(line)
        except DatabaseError as error:
            result["findings"].append({"code": "REPLACED_NOT_REMOVED", "message": f"{decision.name} is past its time and stays: {error.message}"})
    return result
