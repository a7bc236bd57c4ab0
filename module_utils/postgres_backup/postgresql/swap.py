"""Renaming databases that are in use: who is in them, how they are made to leave, and the swap
itself.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..settings import Settings
from .connection import connect_maintenance, first_line, row, rows
from .databases import comment_on

# Whom we may end: pg_signal_backend() in PostgreSQL's signalfuncs.c. A session without a user is a
# process of the server's own, such as an autovacuum worker, which a rename ends itself
# (CountOtherDBBackends in procarray.c). What others do, even what kind of process they are, is
# hidden from us in pg_stat_activity; who and where they are is not.
_SESSIONS = """
SELECT a.pid, a.usename AS user, a.application_name AS application,
       coalesce(a.client_addr::text, 'local') AS address,
       me.rolsuper OR NOT r.rolsuper AND (
           pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')) AS closable
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
JOIN pg_roles me ON me.rolname = current_user
WHERE a.datname = %(name)s AND a.pid <> pg_backend_pid() AND a.leader_pid IS NULL"""

#: seconds for which a swap waits until sessions that nobody but their owners may end have ended:
#: monitoring comes and goes
_PATIENCE = 5.0


class _InUse(DatabaseError):
    """Somebody is in a database whom we may not send away."""


@dataclasses.dataclass(frozen=True)
class Session:
    """Somebody who is connected to a database.

    :param application: empty where it gave no name; None where we may not know.
    :param address: ``local`` for a socket.
    :param closable: we may end it.
    """

    pid: int
    user: str
    application: str | None
    address: str
    closable: bool


def sessions(connection: psycopg.Connection, name: str) -> list[Session]:
    """Who is connected to a database, we excepted."""
    return rows(connection, Session, _SESSIONS + " ORDER BY 1", {"name": name})


def sessions_so_far(connection: psycopg.Connection, name: str) -> int | None:
    """How many sessions a database has had, those that have ended included; None where the server
    does not count them (before 14). Its own processes are none.
    """
    asked = """
    SELECT (to_jsonb(s) ->> 'sessions')::bigint AS number
    FROM pg_stat_database s WHERE s.datname = %s"""
    found = row(connection, _Number, asked, (name,))
    return found.number if found else None


@dataclasses.dataclass(frozen=True)
class _Number:
    number: int | None


@dataclasses.dataclass(frozen=True)
class _Rights:
    owner: str
    ours: bool
    createdb: bool


_RIGHTS = """
SELECT pg_get_userbyid(d.datdba) AS owner, pg_has_role(d.datdba, 'USAGE') AS ours,
       r.rolsuper OR r.rolcreatedb AS createdb
FROM pg_database d, pg_roles r WHERE d.datname = %s AND r.rolname = current_user"""


def require_renamable(
    connection: psycopg.Connection, settings: Settings, names: Sequence[str], createdb: bool = True
) -> None:
    """Everything that would stop the databases of these names from being renamed, found now.

    :param createdb: ask also for the right to create databases.
    :raises DatabaseError: a right is missing, a prepared transaction or a session that we may not
        end is in one of them.
    """
    for name in names:
        rights = row(connection, _Rights, _RIGHTS, (name,))
        if rights is None:
            continue
        if not rights.ours:
            raise DatabaseError(
                f"{settings.db_user} may not rename the database {name}: "
                f"its owner is {rights.owner}",
                f'As a superuser: GRANT "{rights.owner}" TO "{settings.db_user}";',
            )
        if createdb and not rights.createdb:
            raise DatabaseError(
                f"{settings.db_user} may not rename the database {name}: "
                "that takes the right to create databases",
                f'As a superuser: ALTER ROLE "{settings.db_user}" CREATEDB;',
            )
        _require_empty(connection, settings, name)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    gid: str
    owner: str


def _require_empty(connection: psycopg.Connection, settings: Settings, name: str) -> None:
    prepared = rows(
        connection,
        _Prepared,
        "SELECT gid, owner FROM pg_prepared_xacts WHERE database = %s ORDER BY prepared",
        (name,),
    )
    if prepared:
        first = sql.Literal(prepared[0].gid).as_string(connection)
        raise DatabaseError(
            f"The database {name} cannot be replaced: {len(prepared)} prepared transactions are "
            f"open in it ({', '.join(transaction.gid for transaction in prepared[:3])})",
            f"End them, connected to {name} as {prepared[0].owner}: "
            f"ROLLBACK PREPARED {first}; (or COMMIT PREPARED {first};)",
        )
    fixed = [session for session in sessions(connection, name) if not session.closable]
    if fixed:
        who = ", ".join(
            sorted({s.user + (f" ({s.application})" if s.application else "") for s in fixed})
        )
        raise _InUse(
            f"The database {name} is in use, and {settings.db_user} may not close the "
            f"connections of {who}",
            "Stop what is connected, or, as a superuser: "
            f'GRANT pg_signal_backend TO "{settings.db_user}"; '
            "(connections of superusers can be closed by superusers only)",
        )


def _wait_until_renamable(
    connection: psycopg.Connection, settings: Settings, names: Sequence[str]
) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return require_renamable(connection, settings, names)
        except _InUse:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


class Ejector(threading.Thread):
    """Closes the connections to a database, again and again, until told to stop.

    A pool connects anew as soon as it is cut off, so once is not enough. While a rename waits for
    its lock, newcomers wait at the door, and this makes room for it.

    :param avoid: the database that we must not be in ourselves; empty: the one that is emptied.
    :param spare: the application whose connections stay; empty: nobody's.
    """

    def __init__(self, settings: Settings, name: str, avoid: str = "", spare: str = "") -> None:
        super().__init__(daemon=True, name="ejector")
        self.settings, self.target, self.closed = settings, name, 0
        self.error: DatabaseError | None = None
        self._avoid, self._spare = avoid or name, spare
        self._ended = threading.Event()

    def run(self) -> None:
        chosen = (
            f"WITH inside AS MATERIALIZED ({_SESSIONS})"
            " SELECT pg_terminate_backend(pid) FROM inside WHERE closable"
        )
        if self._spare:
            chosen += " AND application IS DISTINCT FROM %(spare)s"
        try:
            with connect_maintenance(self.settings, self._avoid) as connection:
                while not self._ended.wait(0.02):
                    self.closed += len(
                        connection.execute(
                            chosen, {"name": self.target, "spare": self._spare}
                        ).fetchall()
                    )
        except DatabaseError as error:
            self.error = error

    def stop(self) -> None:
        self._ended.set()
        self.join()


def swap(
    settings: Settings,
    renames: Sequence[tuple[str, str]],
    comments: Callable[[psycopg.Connection], Mapping[str, str | None]],
) -> float:
    """Rename databases in order, all or none, in one transaction, after closing the connections to
    them.

    A rename takes an exclusive lock on its database first, so that nobody new gets in, and waits up
    to five seconds for those who are inside (CountOtherDBBackends in PostgreSQL's procarray.c); the
    ejector sees to it that they leave. Killed at any moment, it leaves the names as they were.

    :param renames: pairs of (name now, name then), the live database first.
    :param comments: makes the new comments, by the name after the renames, while nobody can be in
        any of these databases.
    :return: seconds from the first connection closed to the new names.
    :raises DatabaseError: somebody could not be made to leave, or a right is missing; nothing was
        renamed.
    """
    live = renames[0][0]
    ejectors = [Ejector(settings, old, live) for old, _ in renames]
    with connect_maintenance(settings, live) as connection:
        _wait_until_renamable(connection, settings, [old for old, _ in renames])
        began = time.monotonic()
        for ejector in ejectors:
            ejector.start()
        try:
            with connection.transaction():
                for old, new in renames:
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                            sql.Identifier(old), sql.Identifier(new)
                        )
                    )
                for name, comment in comments(connection).items():
                    comment_on(connection, name, comment)
            return time.monotonic() - began
        except psycopg.errors.ObjectInUse as error:
            for old, _ in renames:
                _require_empty(connection, settings, old)
            cause = next((e.error.message for e in ejectors if e.error), first_line(error))
            raise DatabaseError(
                f"Failed to swap the databases: {cause} "
                f"({error.diag.message_detail or 'no details'})",
                "Stop the application, then try again",
            ) from None
        finally:
            for ejector in ejectors:
                ejector.stop()
