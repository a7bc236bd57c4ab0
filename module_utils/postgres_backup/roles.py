"""Roles that a backup refers to and this server lacks: made again from the globals saved beside the backup.

Roles that exist are left as they are: their passwords and rights of today are not those of the backup's day.
"""

from __future__ import annotations

import re

import psycopg
from psycopg import sql

from . import codec
from .errors import DatabaseError
from .postgres import first_line
from .store import Store

#: attributes that only a superuser may mention, even to say no (PostgreSQL: "only roles with the SUPERUSER attribute may change ...")
_SUPERUSER_ONLY = re.compile(r"\b(NOSUPERUSER|NOREPLICATION|NOBYPASSRLS)\b ?")


def missing(connection: psycopg.Connection, wanted: list[str]) -> list[str]:
    """Those of ``wanted`` that this server does not have."""
    have = {row["rolname"] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (wanted,))}
    return [role for role in wanted if role not in have]


def read_globals(store: Store, manifest: dict, identities: tuple[str, ...]) -> str:
    """What pg_dumpall wrote beside the backup; empty where there is none."""
    key = (manifest.get("globals") or {}).get("key")
    data = store.get(key) if key else None
    if data is None:
        return ""
    packed = codec.decrypt([data], identities) if key.endswith(".age") else [data]
    return b"".join(codec.decompress(packed, "gzip")).decode()


def statements_for(connection: psycopg.Connection, globals_text: str, wanted: list[str], superuser: bool) -> list[str]:
    """The statements of a globals dump that make the ``wanted`` roles and their memberships, in their order."""
    forms = {form: role for role in wanted for form in (role, sql.Identifier(role).as_string(connection))}
    any_of = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    made = re.compile(rf"(CREATE ROLE|ALTER ROLE) ({any_of})(;| )")
    granted = re.compile(rf"GRANT (?P<group>.+?) TO (?P<member>{any_of})(?P<with> WITH [^;]*?)?(?: GRANTED BY [^;]+)?;$")
    found = []
    for line in globals_text.splitlines():
        if match := made.match(line):
            # settings for one database alone come with that database, from the manifest
            if " IN DATABASE " in line:
                continue
            head, password, rest = line.partition(" PASSWORD ")
            found.append((head if superuser or match[3] == ";" else _SUPERUSER_ONLY.sub("", head)) + password + rest)
        elif match := granted.match(line):
            # whoever granted it may not exist here; we do
            found.append(f"GRANT {match['group']} TO {match['member']}{(match['with'] or '') if connection.info.server_version >= 160000 else ''};")
    return found


def create(connection: psycopg.Connection, store: Store, manifest: dict, wanted: list[str], identities: tuple[str, ...], superuser: bool) -> list[str]:
    """Make the missing roles, all or none.

    :return: the roles made.
    :raises DatabaseError: nobody saved them, or a right is missing; the hint has the statements to run by hand.
    """
    if not wanted:
        return []
    by_hand = " ".join(f'CREATE ROLE "{role}";' for role in wanted)
    found = statements_for(connection, read_globals(store, manifest, identities), wanted, superuser)
    if not found:
        raise DatabaseError(
            f"Failed to restore: the server lacks the roles {', '.join(wanted)}, and no globals were saved with the backup", f"As a superuser: {by_hand}"
        )
    try:
        with connection.transaction():
            for statement in found:
                connection.execute(statement)
    except psycopg.Error as error:
        raise DatabaseError(f"Failed to create the roles {', '.join(wanted)}: {first_line(error)}", f"As a superuser: {by_hand}") from None
    return wanted
