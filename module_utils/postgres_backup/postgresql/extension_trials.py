"""Whether a server can make extensions, tried in a transaction that is undone.

That it lists one says little: its library may not be there, and some can be made in one database
of a server only (pg_cron: in the one of ``cron.database_name``), which no list tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from .connection import first_line, rows

#: milliseconds after which nobody can say
_PATIENCE = 30_000
_SCHEMA = "postgres_backup_trial"


@dataclasses.dataclass(frozen=True)
class Tried:
    """An extension that cannot be made.

    :param elsewhere: it can, but not in every database: its own script says so; else files of it
        are missing, or another extension that it needs.
    """

    name: str
    why: str
    elsewhere: bool


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
    being made here (a right that is missing, a library that must be preloaded) is left to the
    restore.

    :param connection: to a database other than the one that is restored, as a side database will
        be.
    """
    listed = rows(connection, _Known, _KNOWN, (list(names), list(names)))
    if not listed:
        return []
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL statement_timeout = {_PATIENCE}")
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute("SET LOCAL client_min_messages = error")
        try:
            with connection.transaction():
                # nothing that lies in public here may be in their way
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(_SCHEMA)))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            return []  # nobody can say
        return [tried for known in listed if (tried := _try(connection, known))]


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
        return Tried(known.name, first_line(error), elsewhere=False)
    except psycopg.errors.RaiseException as error:
        detail = error.diag.message_detail or ""
        said = f"{first_line(error)} ({detail})" if detail else first_line(error)
        return Tried(known.name, said, elsewhere=True) if "database" in said else None
    except psycopg.Error:
        if connection.closed:
            raise
    return None
