"""Which PostgreSQL it is, and whether its programs are here."""

from __future__ import annotations

from typing import TypedDict

from ..errors import DatabaseError
from ..settings import Settings
from . import programs
from .connection import connect_maintenance
from .facts import facts_of, table_counts


class ServerInfo(TypedDict):
    """What :func:`ask_server` found; see ``facts.ServerFacts`` for what the server says itself."""

    changed: bool
    version: str
    version_number: int
    major: int
    superuser: bool
    createdb: bool
    createrole: bool
    data_directory: str
    system_identifier: str
    #: of each database of the settings; None where there is no such database
    tables: dict[str, int | None]
    #: of the installed pg_dump of that major; empty where there is none
    client_version: str


def ask_server(settings: Settings) -> ServerInfo:
    """What the server is, and what of it is installed here.

    It is asked beside the database, which a lost server's new one does not have yet.

    :raises DatabaseError: it does not answer, or does not let us in.
    """
    with connect_maintenance(settings, settings.databases[0]) as connection:
        server = facts_of(connection)
    try:
        client = programs.find(settings, server.major).version
    except DatabaseError:
        client = ""  # an answer, not a failure: the caller installs it
    return {
        "changed": False,
        "version": server.version,
        "version_number": server.version_number,
        "major": server.major,
        "superuser": server.superuser,
        "createdb": server.createdb,
        "createrole": server.createrole,
        "data_directory": server.data_directory,
        "system_identifier": server.system_identifier,
        "tables": table_counts(settings),
        "client_version": client,
    }


def lines(result: ServerInfo) -> list[str]:
    """:func:`ask_server` for a person."""
    client = result["client_version"] or "missing"
    return [f"PostgreSQL {result['version']}, pg_dump {client}"]
