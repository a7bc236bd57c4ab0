"""Which server the settings lead to, as its backups will say."""

from __future__ import annotations

import psycopg

from ..errors import DatabaseError
from ..machine import identity
from ..machine.identity import Mark
from ..settings import Settings
from .connection import connect_maintenance
from .facts import facts_of


def own_mark(settings: Settings, database: str = "") -> Mark:
    """The server's mark; where it cannot be asked, that of the last backup from here.

    :param database: empty: any of the settings'.
    """
    if not settings.databases:
        return Mark()
    try:
        with connect_maintenance(settings, database or settings.databases[0], True) as connection:
            return mark_over(connection)
    except DatabaseError:
        return identity.remembered(settings)


def mark_over(connection: psycopg.Connection) -> Mark:
    """The mark of a server that is connected."""
    server = facts_of(connection)
    return identity.mark_of(server.system_identifier, server.started)
