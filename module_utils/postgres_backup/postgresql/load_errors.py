"""What is said where a dump does not load: the server's words, the line of the dump, and what can
be done about it.

Causes are told by SQLSTATE, which is the same in every language of the server's messages
(``lc_messages``); names come from the message, between whatever marks that language quotes with.
"""

from __future__ import annotations

import re

from ..errors import DatabaseError
from ..findings import finding
from .wire import Refused

_GRANT = 'As a superuser: GRANT "{0}" TO "{user}";'
_NAME = r"[\"«„“»](.+?)[\"»“”«]"
_NOT_IN_PLACE = "This cannot be done in place: restore beside the live database"
_ELSE = "The database server's log has more"
#: SQLSTATE (or its class), what is said, what helps; the first that fits
_HINTS = (
    ("", "DROP SUBSCRIPTION", _NOT_IN_PLACE),
    ("42704", rf"role {_NAME} does not exist", 'Create it first: CREATE ROLE "{0}";'),
    (
        "0A000",
        rf"extension {_NAME} is not available",
        "Install the package that brings the extension {0} on the database server",
    ),
    (
        "42501",
        rf"permission denied to create extension {_NAME}",
        "Only a superuser may create {0}: restore as one (backup_db_user)",
    ),
    ("42501", rf"must be (?:able to SET ROLE|member of role) {_NAME}", _GRANT),
    (
        "42501",
        rf"permission denied to set session authorization {_NAME}",
        (
            "What {0} granted can be granted again by a superuser only: "
            "restore as one (backup_db_user)"
        ),
    ),
    (
        "42704",
        rf"tablespace {_NAME} does not exist",
        "Make it on the database server: CREATE TABLESPACE \"{0}\" LOCATION '...';",
    ),
    (
        "42704",
        rf"collation {_NAME} for encoding",
        (
            "The server's operating system lacks the locale of {0}: "
            "install it, restart PostgreSQL, try again"
        ),
    ),
    ("53100", "", "The database server's disk is full: make room there"),
    (
        "53200",
        "",
        "Raise max_locks_per_transaction in the server's postgresql.conf and restart it",
    ),
    (
        "55P03",
        "",
        (
            "Somebody holds a lock in the database for a minute: stop the application, "
            "end prepared transactions, then try again"
        ),
    ),
    (
        "40P01",
        "",
        (
            "Another session takes locks in the database that is restored: end what does that "
            "(the server's log names it), then try again"
        ),
    ),
    (
        "25001",
        "",
        (
            "Every dump is loaded in transactions, as all that pg_dump writes can be: take this "
            "statement out of the dump, and run it by hand afterwards"
        ),
    ),
    (
        "42704",
        rf"unrecognized configuration parameter {_NAME}",
        (
            "The backup was made by a newer PostgreSQL than this server: "
            "restore into that version or newer"
        ),
    ),
    ("42704", rf"^type {_NAME} does not exist", _ELSE),
    (
        "42704",
        _NAME,
        "{0} is not on this server: a role, a tablespace, a locale or a setting that it had there",
    ),
    (
        "42501",
        "",
        "{user} lacks a right that the backup takes: restore as a superuser (backup_db_user)",
    ),
    ("57P0", "", "The database server ended the connection: see its log, then try again"),
    ("08", "", "The database server ended the connection: see its log, then try again"),
)
#: SQLSTATEs: a table, a function, anything else, a schema is not there
UNKNOWN = ("42P01", "42883", "42704", "3F000")
_NAMELESS = (
    "A function of the database names it, and finds it by no search_path that the database or its "
    "owner has: in the database that was backed up, ALTER FUNCTION ... SET search_path = ..., and "
    "for this backup, ALTER DATABASE ... SET search_path = ..."
)
#: SQLSTATEs by which a server refuses what an older one took: a syntax, a function, a type or a
#: setting that it no longer knows, a feature that is gone
_NO_LONGER = ("0A", "22023", "42601", "42704", "42804", "42809", "42883", "42P13", "42P17", "42P21")
_LOST = "The connection to the database server was lost: see its log, then try again"


def explained(
    refused: Refused,
    message: str,
    user: str,
    superusers: tuple[str, ...],
    dumped: int = 0,
    server: int = 0,
) -> DatabaseError:
    """An error as a person should read it. The detail of the server's is not in it: it may hold
    rows, which belong in no log of ours.

    :param message: the server's, decoded.
    :param dumped: the major that the dump was taken of; 0: nobody knows.
    :param server: the major that refuses it.
    """
    where = f"line {refused.line}: " if refused.line else ""
    state = f" (SQLSTATE {refused.sqlstate})" if refused.sqlstate else ""
    hint = _hint(
        refused, f"{message} {refused.detail.decode('utf-8', 'replace')}", user, superusers
    )
    error = DatabaseError(f"Failed to load the dump: {where}{message}{state}", hint)
    if hint == _ELSE and 0 < dumped < server and refused.sqlstate.startswith(_NO_LONGER):
        error.hint = (
            f"Restore it into PostgreSQL {dumped}, change there what PostgreSQL {server} no longer "
            "takes, and take a new backup"
        )
        error.findings.append(
            finding(
                "VERSION_TOO_OLD",
                f"the backup was made by PostgreSQL {dumped}, and this server, {server}, does not "
                f"take {where}{message}",
            )
        )
    return error


def _hint(refused: Refused, said: str, user: str, superusers: tuple[str, ...]) -> str:
    if not refused.sqlstate:
        return _LOST
    if refused.inside and refused.sqlstate in UNKNOWN:
        return _NAMELESS
    if refused.sqlstate == "25001" and not refused.line:
        return _NOT_IN_PLACE  # it is what empties the live database
    for state, pattern, hint in _HINTS:
        if not refused.sqlstate.startswith(state):
            continue
        match = re.search(pattern, said)
        if match and not (hint is _GRANT and match[1] in superusers):
            return hint.format(*match.groups(), user=user)
    return _ELSE
