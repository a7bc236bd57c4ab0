"""A hot standby: a server that only follows its primary. It can be asked and dumped, and nothing
can be made on it.
"""

from __future__ import annotations

import psycopg

from ..errors import DatabaseError, StandbyError
from ..findings import Finding, finding
from ..settings import Settings
from .connection import value, values
from .pg_dump import CONFLICT_HINT
from .programs import NO_CAUSE_KNOWN

#: tables that a finding names
_NAMED = 3


def is_standby(connection: psycopg.Connection) -> bool:
    """Whether the server is in recovery."""
    return value(connection, bool, "SELECT pg_is_in_recovery()")


def require_primary(connection: psycopg.Connection, settings: Settings, doing: str) -> None:
    """:param doing: for the error: ``restore crm``.
    :raises StandbyError: the server is a standby.
    """
    if is_standby(connection):
        raise StandbyError(
            f"Failed to {doing}: the PostgreSQL at {settings.db_host}:{settings.db_port} is a "
            "standby, which only follows its primary: nothing can be made on it",
            "Do it on the primary (backup_db_host, or --config of that server). If the primary is "
            "lost, make this one the primary first: SELECT pg_promote();",
        )


def unlogged(connection: psycopg.Connection) -> list[str]:
    """The unlogged tables of the connected database, by qualified name."""
    return values(
        connection,
        str,
        """
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relpersistence = 'u' AND c.relkind = 'r' ORDER BY 1""",
    )


def left_out(connection: psycopg.Connection) -> list[Finding]:
    """UNLOGGED_LEFT_OUT where the database has unlogged tables, whose rows no standby has."""
    tables = unlogged(connection)
    if not tables:
        return []
    more = f" and {len(tables) - _NAMED} more" if len(tables) > _NAMED else ""
    told = (
        f"the backup is of a standby, which has no rows of unlogged tables: "
        f"{', '.join(tables[:_NAMED])}{more} are in it without theirs"
    )
    return [finding("UNLOGGED_LEFT_OUT", told)]


def explained(error: DatabaseError) -> DatabaseError:
    """A dump of a standby that failed: where nothing else is known of it, what its primary did may
    be why, whatever language the server speaks.
    """
    if error.hint in ("", NO_CAUSE_KNOWN) or "conflict with recovery" in error.message:
        error.hint, error.passes = CONFLICT_HINT, True
    return error
