"""Sessions that a run has left which was killed: a pg_dump that waits for a lock does not notice
that nobody reads it, least of all inside a container, and keeps its own locks meanwhile.
"""

from __future__ import annotations

import dataclasses

import psycopg

from ..findings import Finding, finding
from ..machine import run_mark
from .connection import rows

# ended by the statement that has seen it, so that no other process has got its number since
_END = """
SELECT pid, usename AS user,
       CASE WHEN usename = current_user THEN pg_catalog.pg_terminate_backend(pid) END AS ended
FROM pg_catalog.pg_stat_activity
WHERE application_name ~ %(name)s AND backend_type = 'client backend'
  AND pid <> pg_catalog.pg_backend_pid()
ORDER BY pid"""


@dataclasses.dataclass(frozen=True)
class _Left:
    pid: int
    user: str | None
    ended: bool | None


def end(connection: psycopg.Connection) -> list[Finding]:
    """End the sessions of dead runs that held the lock which is held now; nobody else's, and none
    of another user, who may only call himself so.

    :param connection: to any database of the server.
    :return: findings, code SESSION_LEFT.
    """
    dead = run_mark.of_the_dead()
    left = rows(connection, _Left, _END, {"name": dead}) if dead else []
    ended = [str(one.pid) for one in left if one.ended]
    findings = []
    if ended:
        told = "a run that was killed had left sessions on the server; they were ended"
        findings.append(finding("SESSION_LEFT", f"{told} (process {', '.join(ended)})"))
    for one in left:
        if not one.ended:
            findings.append(
                finding(
                    "SESSION_LEFT",
                    f"the session {one.pid} of the user {one.user} bears the name of a run of ours "
                    "that is dead, and is not ended, for it is another user's. As a superuser: "
                    f"SELECT pg_terminate_backend({one.pid});",
                )
            )
    return findings
