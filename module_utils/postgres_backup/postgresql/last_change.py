"""The last thing done to a live database: an undo takes that back, or says that it cannot.

It is noted in the marks of the kept databases, which neither a lost state directory nor another
controller can lose, and which an undo reads anyway.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from ..clock import format_timestamp
from ..errors import UsageError
from . import replaced
from .connection import values
from .replaced import KeptDatabase


def note_statements(connection: psycopg.Connection, database: str, what: str) -> list[sql.Composed]:
    """What notes, in the transaction that changes the live database without keeping it, that an
    undo cannot take this back. Empty where nothing is kept.

    :param connection: to the server; no database in particular.
    :param what: ``restore in place of FILE``.
    """
    may = values(
        connection, str, "SELECT datname FROM pg_database WHERE pg_has_role(datdba, 'USAGE')"
    )
    since = {"later": what, "later_at": format_timestamp(replaced.server_now(connection))}
    return [
        sql.SQL("COMMENT ON DATABASE {} IS {};").format(
            sql.Identifier(there.name), sql.Literal(there.mark.changed(**since).written())
        )
        for there in replaced.kept(connection, database)
        if there.name in may
    ]


def note(connection: psycopg.Connection, database: str, what: str) -> None:
    """:func:`note_statements`, run in the transaction of ``connection``."""
    for statement in note_statements(connection, database, what):
        connection.execute(statement)


def require_undoable(connection: psycopg.Connection, database: str, newest: KeptDatabase) -> None:
    """Whether bringing the newest kept database back takes back the last thing that was done.

    :raises UsageError: it was another thing; the hint says what can be done.
    """
    hint = (
        f"To go back to {database} of {format_timestamp(newest.replaced_at)} all the same, name "
        f"it: postgres-backup undo-restore {newest.name} (Ansible: -e kept={newest.name}); what "
        "is live now is kept in turn. Or restore a backup: postgres-backup list"
    )
    if later := newest.mark.text("later"):
        raise UsageError(
            f"The last thing done to {database} was the {later}, "
            f"at {newest.mark.text('later_at')}: it cannot be undone, "
            "since nothing is kept of how it was before",
            hint,
        )
    expected = newest.mark.number("live_oid")
    live = replaced.oid_of(connection, database)
    if expected is not None and live is not None and live != expected:
        raise UsageError(
            f"{database} is no longer the database that the {newest.by} made live: somebody has "
            "renamed or made it by hand since, and an undo cannot take that back",
            hint,
        )
