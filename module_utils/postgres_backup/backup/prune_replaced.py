"""What every kind of pruning needs: a clock that can be trusted; and the databases that restores
have replaced, which go when their time has come.
"""

from __future__ import annotations

from datetime import datetime

from ..catalog.retention import plan_replaced
from ..clock import utc_now
from ..errors import DatabaseError
from ..findings import finding
from ..job import Job
from ..postgresql import databases, replaced
from ..postgresql.connection import connect_maintenance


def prune_replaced(job: Job, newest_good: datetime | None) -> dict:
    """Drop what ``retention.plan_replaced`` lets go.

    :param newest_good: when the newest good backup was taken; None where there is none.
    :return: ``replaced_deleted`` and ``replaced_kept`` (each ``database`` and ``reason``), and
        ``findings``: DATABASE_UNREACHABLE or REPLACED_NOT_REMOVED. Neither keeps a prune from its
        end: the bucket can be judged without the server.
    """
    result: dict = {"replaced_deleted": [], "replaced_kept": [], "findings": []}
    try:
        with connect_maintenance(job.settings, job.database) as connection:
            kept = [
                (there.name, there.replaced_at) for there in replaced.kept(connection, job.database)
            ]
    except DatabaseError as error:
        message = (
            f"{error.message}; databases that restores have replaced stay until it can be asked"
        )
        return result | {"findings": [finding("DATABASE_UNREACHABLE", message)]}
    for decision in plan_replaced(kept, newest_good, job.settings.keep_replaced_days, utc_now()):
        line = {"database": decision.name, "reason": decision.reason}
        if decision.keep:
            result["replaced_kept"].append(line)
            continue
        try:
            if not job.check:
                with connect_maintenance(job.settings, job.database) as connection:
                    databases.drop_database(connection, decision.name)
                job.progress.step(f"{job.database}: dropped {decision.name}: {decision.reason}")
            result["replaced_deleted"].append(line)
        except DatabaseError as error:
            result["findings"].append(
                finding(
                    "REPLACED_NOT_REMOVED",
                    f"{decision.name} is past its time and stays: {error.message}",
                )
            )
    return result
