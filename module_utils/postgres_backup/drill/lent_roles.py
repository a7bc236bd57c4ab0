"""Roles that a backup names and the server of a drill elsewhere lacks: made for as long as the copy
stands, without a login and without any power, and removed with it.

Each bears a comment that says so, by which the next drill finds what one that died has left; what
bears none is nobody's but its maker's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import finding
from ..job import Job
from ..postgresql.connection import connect_maintenance, first_line, values

_OURS = "lent to a drill of postgres-backup; it goes with the copy"
_LEFT = """
SELECT rolname::text FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s
   AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass
                   AND d.refobjid = pg_roles.oid AND d.classid <> 'pg_auth_members'::regclass)
ORDER BY 1"""


@contextmanager
def lent_roles(job: Job, names: Sequence[str]) -> Iterator[None]:
    """The block has these roles.

    :raises DatabaseError: finding ROLE_ABSENT: they may not be made here.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        take_back(connection)
        lacking = set(names)  # one of them may have been left by a drill that died
        there = values(connection, str, "SELECT rolname::text FROM pg_roles")
        _lend(connection, sorted(lacking.difference(there)), job.settings.db_user)
    try:
        yield
    finally:
        with connect_maintenance(job.settings, job.database) as connection:
            take_back(connection)


def _lend(connection: psycopg.Connection, names: Sequence[str], user: str) -> None:
    """All or none."""
    try:
        with connection.transaction():
            for name in names:
                role = sql.Identifier(name)
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
                connection.execute(
                    sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(_OURS))
                )
                connection.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(user)))
    except psycopg.Error as error:
        told = f"the roles {', '.join(names)} could not be lent to the drill: {first_line(error)}"
        raise DatabaseError(
            f"Failed to drill here: {told}",
            f'Let {user} make roles on this server: ALTER ROLE "{user}" CREATEROLE;',
            [finding("ROLE_ABSENT", told)],
        ) from None


def take_back(connection: psycopg.Connection) -> None:
    """Remove what was lent and nothing needs any more; what another drill still has stays."""
    for name in values(connection, str, _LEFT, (_OURS,)):
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
