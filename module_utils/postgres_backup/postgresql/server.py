"""Which PostgreSQL it is, and whether its programs are here."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TypedDict

import psycopg

from ..errors import DatabaseError
from ..findings import Finding, finding
from ..settings import LOCAL_HOSTS, Settings
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
    #: DATABASE_IN_THE_CLEAR
    findings: list[Finding]


def ask_server(settings: Settings) -> ServerInfo:
    """What the server is, and what of it is installed here.

    It is asked beside the database, which a lost server's new one does not have yet.

    :raises DatabaseError: it does not answer, or does not let us in.
    """
    with connect_maintenance(settings, settings.databases[0], only_ask=True) as connection:
        server, findings = facts_of(connection), _listened(settings, connection)
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
        "findings": findings,
    }


def in_the_clear(settings: Settings) -> list[Finding]:
    """Whether the way to the server can be listened to; where it is on this machine, it is not
    asked.

    :raises DatabaseError: it does not answer, or does not let us in.
    """
    here = settings.db_host.startswith("/") or settings.db_host in LOCAL_HOSTS
    if here or settings.db_container:
        return []
    with connect_maintenance(settings, settings.databases[0], only_ask=True) as connection:
        return _listened(settings, connection)


def _listened(settings: Settings, connection: psycopg.Connection) -> list[Finding]:
    """A container's network is private to this machine."""
    if settings.db_container or connection.pgconn.ssl_in_use:
        return []
    with socket.socket(fileno=os.dup(connection.fileno())) as way:
        if way.family == socket.AF_UNIX or not is_far(way.getpeername()[0], way.getsockname()[0]):
            return []
    return [
        finding(
            "DATABASE_IN_THE_CLEAR",
            f"what is said to PostgreSQL at {settings.db_host} is not encrypted: whoever is on the "
            "way reads passwords and rows. Switch ssl on there, then backup_db_sslmode: "
            "verify-full and backup_db_sslrootcert",
        )
    ]


def is_far(peer: str, own: str) -> bool:
    """Whether an address is on another machine than the one from which it is spoken to."""
    there = ipaddress.ip_address(peer.partition("%")[0])
    mapped = there.ipv4_mapped if isinstance(there, ipaddress.IPv6Address) else None
    return not (mapped or there).is_loopback and peer != own


def lines(result: ServerInfo) -> list[str]:
    """:func:`ask_server` for a person."""
    client = result["client_version"] or "missing"
    return [
        f"PostgreSQL {result['version']}, pg_dump {client}",
        *(f"{found['code']}: {found['message']}" for found in result["findings"]),
    ]
