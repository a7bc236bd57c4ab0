"""The databases that restores have replaced go when their time has come."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TypedDict

from ..catalog.retention import plan_replaced
from ..clock import utc_now
from ..errors import DatabaseError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql import databases, replaced
from ..postgresql.connection import connect_maintenance


class ReplacedLine(TypedDict):
    database: str
    reason: str


@dataclasses.dataclass(frozen=True)
class PrunedReplaced:
    """What went (or would go), what stays, and DATABASE_UNREACHABLE or REPLACED_NOT_REMOVED.

    Neither finding keeps a prune from its end: the bucket can be judged without the server.
    """

    deleted: list[ReplacedLine] = dataclasses.field(default_factory=list)
    kept: list[ReplacedLine] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)


def prune_replaced(job: Job, newest_good: datetime | None) -> PrunedReplaced:
    """Drop what ``retention.plan_replaced`` lets go.

    :param newest_good: when the newest good backup was taken; None where there is none.
    """
    pruned = PrunedReplaced()
    try:
        with connect_maintenance(job.settings, job.database) as connection:
            there = [
                (database.name, database.replaced_at)
                for database in replaced.kept(connection, job.database)
            ]
    except DatabaseError as error:
        message = (
            f"{error.message}; databases that restores have replaced stay until it can be asked"
        )
        pruned.findings.append(finding("DATABASE_UNREACHABLE", message))
        return pruned
    for decision in plan_replaced(there, newest_good, job.settings.keep_replaced_days, utc_now()):
        line: ReplacedLine = {"database": decision.name, "reason": decision.reason}
        if decision.keep:
            pruned.kept.append(line)
            continue
        try:
            if not job.check:
                with connect_maintenance(job.settings, job.database) as connection:
                    databases.drop_database(connection, decision.name)
                job.progress.step(f"{job.database}: dropped {decision.name}: {decision.reason}")
            pruned.deleted.append(line)
        except DatabaseError as error:
            message = f"{decision.name} is past its time and stays: {error.message}"
            pruned.findings.append(finding("REPLACED_NOT_REMOVED", message))
    return pruned
