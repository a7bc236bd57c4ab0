"""Whether a server can make extensions, tried in a transaction that is undone.

That it lists one says little: its library may not be there, and some can be made in one database
of a server only (pg_cron: in the one of ``cron.database_name``), which no list tells.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import psycopg
from psycopg import sql

from .connection import first_line, rows

#: milliseconds after which nobody can say
_PATIENCE = 30_000
_SCHEMA = "postgres_backup_trial"


class Cause(enum.Enum):
    """Why an extension cannot be made."""

    FILES = "files of it, or of another that it needs, are missing"
    ELSEWHERE = "its own script allows it in another database only"
    ENDED = "the server ended the session"


@dataclasses.dataclass(frozen=True)
class Tried:
    """An extension that cannot be made.

    :param why: the server's words.
    """

    name: str
    why: str
    cause: Cause


@dataclasses.dataclass(frozen=True)
class _Known:
    name: str
    schema: str | None


_KNOWN = """
SELECT a.name::text, v.schema::text AS schema FROM pg_available_extensions a
JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
WHERE a.name = ANY(%s) AND a.installed_version IS NULL ORDER BY array_position(%s, a.name::text)"""


def cannot_be_made(connection: psycopg.Connection, names: Sequence[str]) -> list[Tried]:
    """Those of the extensions that this server lists and cannot make. Whatever else keeps one from
    being made here (a right that is missing) is left to the restore.

    :param connection: of this purpose alone (an extension may end it), to a database other than
        the one that is restored, as a side database will be.
    """
    found: list[Tried] = []
    listed = rows(connection, _Known, _KNOWN, (list(names), list(names)))
    try:
        if listed:
            _try_all(connection, listed, found)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return []  # nobody can say
    except psycopg.OperationalError:
        if not connection.closed:
            raise
    return found


def _try_all(connection: psycopg.Connection, listed: Sequence[_Known], found: list[Tried]) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL statement_timeout = {_PATIENCE}")
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute("SET LOCAL client_min_messages = error")
        # nothing that lies in public here may be in their way
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(_SCHEMA)))
        for known in listed:
            tried = _try(connection, known)
            if tried:
                found.append(tried)
            if connection.closed:
                break


def _try(connection: psycopg.Connection, known: _Known) -> Tried | None:
    place = sql.SQL("SCHEMA {}").format(sql.Identifier(_SCHEMA)) if known.schema is None else None
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} {} CASCADE").format(
                    sql.Identifier(known.name), place or sql.SQL("")
                )
            )
    except psycopg.errors.UndefinedFile as error:
        return Tried(known.name, first_line(error), Cause.FILES)
    except psycopg.errors.RaiseException as error:
        detail = error.diag.message_detail or ""
        said = f"{first_line(error)} ({detail})" if detail else first_line(error)
        return Tried(known.name, said, Cause.ELSEWHERE) if "database" in said else None
    except psycopg.Error as error:
        if connection.closed:
            return Tried(known.name, first_line(error), Cause.ENDED)
    return None
