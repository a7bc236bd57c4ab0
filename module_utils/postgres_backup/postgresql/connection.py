"""The PostgreSQL server: questions, roles and databases. Data goes through pg_dump and :mod:`.wire`
instead.

Identifiers are composed by psycopg, never pasted. Every connection speaks UTC, so that what is
compared between two servers does not depend on their time zones.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import Params
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row, scalar_row

from ..errors import DatabaseError
from ..machine import run_mark
from ..settings import Settings
from . import container, raw_text, refusals, session, sqlstate

T = TypeVar("T")
Query: TypeAlias = str | bytes | sql.SQL | sql.Composed

#: that every server has, as long as nobody drops them or shuts them
MAINTENANCE_DATABASES = ("postgres", "template1")
#: whatever the server, the role or the database say by default, see :mod:`.session`
OPTIONS = session.options(session.COMMON | {"TimeZone": "UTC"})
_PLAIN_PATH = sql.SQL("SET search_path TO public")
#: newer majors only, so they cannot stand in OPTIONS
_NEWER = sql.SQL("""
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
WHERE name IN ({})""").format(sql.SQL(", ").join(map(sql.Literal, session.SINCE)))


@contextmanager
def connect(settings: Settings, database: str, isolation: str = "") -> Iterator[psycopg.Connection]:
    """A connection; autocommit unless an isolation level is named.

    :raises DatabaseError: the server cannot be reached or refuses; says what to check.
    :raises PoolerError: it is no server, but a pooler before one.
    """
    address, port = container.address(settings)
    conninfo = make_conninfo(
        "",
        **session.tls(settings),
        host=settings.db_host,
        hostaddr=address or None,
        port=port,
        user=settings.db_user,
        password=settings.db_password or None,
        dbname=database,
        connect_timeout=10,
        application_name=run_mark.name(),
        # every server takes it; what it converts is asked for in UTF8 a moment later
        client_encoding="SQL_ASCII",
        options=OPTIONS,
    )
    try:
        connection = psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        raise refusals.explained(
            settings,
            database,
            str(error),
            first_line(error),
            lambda: sqlstate.of_refusal(conninfo),
        ) from None
    except KeyboardInterrupt as stop:
        # the error's frames hold half a connection: its server process waits a minute for us to log
        # in, and DROP DATABASE for that process
        traceback.clear_frames(stop.__traceback__)
        raise
    try:
        _refuse_pooler(settings, connection)
        _settle(connection)
        if isolation:
            connection.autocommit = False
            connection.isolation_level = psycopg.IsolationLevel[isolation]
        yield connection
    except psycopg.Error as error:
        full = "max_locks_per_transaction" in (error.diag.message_hint or "")
        raise DatabaseError(
            f"Failed to work in the database {database!r}: {first_line(error)}",
            refusals.NO_ROOM_FOR_LOCKS if full else "",
            # a connection that broke off, a server that goes down, a disk or a memory that is full
            passes=isinstance(error, psycopg.OperationalError) and not full,
        ) from error
    finally:
        connection.close()


def _refuse_pooler(settings: Settings, connection: psycopg.Connection) -> None:
    """A pooler gives its clients numbers of its own, since it cannot know yet which server process
    will serve them; PostgreSQL's are those of its processes. Tried with PgBouncer 1.18.

    :raises PoolerError: before anything else was said over the connection.
    """
    [own] = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone() or (0,)
    if own != connection.info.backend_pid:
        raise refusals.pooler(settings)


def _settle(connection: psycopg.Connection) -> None:
    """What startup options cannot say, in one question: a night asks for eight connections a
    database.
    """
    said: list[sql.Composable] = [_PLAIN_PATH]
    if connection.info.parameter_status("server_encoding") in raw_text.UNCONVERTED:
        raw_text.teach(connection)
    else:
        said.append(sql.SQL("SET client_encoding TO UTF8"))
    said.append(_NEWER)
    if connection.info.parameter_status("is_superuser") == "on":
        # foreign keys are looked at, and what is refused is said in English
        said.append(sql.SQL("SET session_replication_role TO origin; SET lc_messages TO 'C'"))
    connection.execute(sql.SQL("; ").join(said))


def plain_search_path(connection: psycopg.Connection) -> None:
    """As it is over every new connection: our questions find PostgreSQL's own functions, and tables
    are called alike, whatever the database says.
    """
    connection.execute(_PLAIN_PATH)


def own_search_path(connection: psycopg.Connection) -> None:
    """The database's own, behind PostgreSQL's and before ``public``: for statements that run
    functions and operators of the application, which may count on it.

    What is set is not asked back: it may be in letters that the database's encoding does not know.
    """
    connection.execute("RESET search_path")
    connection.execute("""
        SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'pg_catalog',
            nullif(pg_catalog.current_setting('search_path'), ''), 'public'), false) IS NULL""")


@contextmanager
def connect_maintenance(
    settings: Settings, database: str, only_ask: bool = False
) -> Iterator[psycopg.Connection]:
    """A connection to another database than ``database``, from which that one can be made, renamed
    and dropped: the one of the settings, else those that every server has, else another of ours.

    :param only_ask: nothing of that is done, so that it may be ``database`` itself where no other
        lets us in.
    :raises DatabaseError: there is none that we may connect to.
    """
    names = (settings.db_maintenance, *MAINTENANCE_DATABASES, *settings.databases)
    others = [name for name in dict.fromkeys(names) if name and name != database]
    refused: list[DatabaseError] = []
    for name in [*others, database] if only_ask else others:
        try:
            context = connect(settings, name)
            connection = context.__enter__()
        except DatabaseError as error:
            if refusals.same_everywhere(error):
                raise
            refused.append(error)
            continue
        try:
            yield connection
        except psycopg.Error as error:
            raise DatabaseError(
                f"Failed to work on the database {database!r}: {first_line(error)}",
                "The server's log may have more; then try again",
                passes=isinstance(error, psycopg.OperationalError),
            ) from error
        finally:
            connection.close()
        return
    raise refusals.beside(settings, database, others, refused)


def rows(
    connection: psycopg.Connection, kind: type[T], query: Query, parameters: Params | None = None
) -> list[T]:
    """Every row as a ``kind``, whose fields are called as the query's columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def row(
    connection: psycopg.Connection, kind: type[T], query: Query, parameters: Params | None = None
) -> T | None:
    """The first row as a ``kind``; None where there is none."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, parameters).fetchone()


def values(
    connection: psycopg.Connection, kind: type[T], query: Query, parameters: Params | None = None
) -> list[T]:
    """The first column of every row.

    :raises TypeError: a value is not a ``kind``; the query is wrong.
    """
    with connection.cursor(row_factory=scalar_row) as cursor:
        found: list[object] = cursor.execute(query, parameters).fetchall()
    checked = [value for value in found if isinstance(value, kind)]
    if len(checked) != len(found):
        raise TypeError(f"{kind.__name__} expected of {query!r}")
    return checked


def value(
    connection: psycopg.Connection, kind: type[T], query: Query, parameters: Params | None = None
) -> T:
    """The first column of the only row.

    :raises TypeError: it is not a ``kind``, or there is none; the query is wrong.
    """
    found = values(connection, kind, query, parameters)
    if not found:
        raise TypeError(f"{kind.__name__} expected of {query!r}")
    return found[0]


def first_line(error: BaseException) -> str:
    """What PostgreSQL said, on one line and without our connection's address."""
    diagnostic = getattr(getattr(error, "diag", None), "message_primary", None)
    text = diagnostic or next(
        (line for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
    # libpq puts two blanks behind a severity, which is in the server's language
    return re.sub(r"^.*?(FATAL|ERROR):\s*|^connection failed: .*?:  ", "", text.strip())
