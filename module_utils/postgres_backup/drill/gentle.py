"""A drill is nobody's emergency: it goes at a bounded rate, looks around before and while, and ends
where the server needs what it would take.
"""

from __future__ import annotations

import dataclasses
import os

from ..errors import DatabaseError
from ..findings import finding
from ..job import Job
from ..machine.pace import Pace
from ..postgresql.connection import connect_maintenance, value
from ..postgresql.facts import facts_of, free_bytes
from ..restore.plan import Plan
from ..settings import LOCAL_HOSTS
from ..text import human_bytes

#: connections that must stay free beside ours
FREE_CONNECTIONS = 5
#: of the room that was free at the beginning, so much must be left
LEAST_ROOM = 0.1
#: runnable processes for each processor above which a drill takes but a part of its rate
BUSY, BUSY_PART = 1.5, 0.25

_CONNECTIONS = """
SELECT current_setting('max_connections')::int
     - current_setting('superuser_reserved_connections')::int
     - (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend')"""


@dataclasses.dataclass(frozen=True)
class Seen:
    """How a server is; None where nobody can say.

    :param load: runnable processes for each processor.
    """

    free_bytes: int | None
    free_connections: int
    load: float | None


def look(job: Job, tablespace: str | None) -> Seen:
    """How the server is now."""
    with connect_maintenance(job.settings, job.database) as connection:
        server = facts_of(connection)
        free = free_bytes(job.settings, connection, server, tablespace)
        connections = value(connection, int, _CONNECTIONS)
    host = job.settings.db_host
    local = host in LOCAL_HOSTS or host.startswith("/")
    load = os.getloadavg()[0] / (os.cpu_count() or 1) if local else None
    return Seen(free, connections, load)


def require_room(seen: Seen, free_before: int | None) -> float:
    """The part of the rate that the server has to spare.

    :param free_before: bytes that were free when the drill began.
    :raises DatabaseError: it has none to spare: DISK_SHORT, CONNECTIONS_SHORT.
    """
    if seen.free_connections < FREE_CONNECTIONS:
        raise _short(
            "CONNECTIONS_SHORT", f"the server has {seen.free_connections} connections left"
        )
    if free_before and seen.free_bytes is not None and seen.free_bytes < free_before * LEAST_ROOM:
        raise _short(
            "DISK_SHORT",
            f"{human_bytes(seen.free_bytes)} are free on the database server, "
            f"when the drill began it were {human_bytes(free_before)}",
        )
    return BUSY_PART if seen.load is not None and seen.load > BUSY else 1.0


def _short(code: str, why: str) -> DatabaseError:
    return DatabaseError(
        f"The drill ended so that nobody goes short: {why}",
        "Drill at another time, or with --fast on a server where nobody waits",
        [finding(code, why)],
    )


def pace_of(job: Job, plan: Plan, rate: float) -> Pace:
    """How a drill goes about it.

    :param rate: bytes a second at most; 0: as a restore does, at no bound.
    """
    place = plan.wanted.tablespace
    return Pace(rate, lambda: require_room(look(job, place), plan.free_bytes))
