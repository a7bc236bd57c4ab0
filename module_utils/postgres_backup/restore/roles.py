"""Roles that a backup refers to and this server lacks: made again from the globals saved beside the
backup.

Roles that exist are left as they are: their passwords and rights of today are not those of the
backup's day. They get back nothing but their memberships in roles that had gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

import psycopg
from psycopg import sql

from ..catalog.manifest import Manifest
from ..errors import DatabaseError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.connection import first_line, values
from ..postgresql.facts import ServerFacts
from ..stream import codec

#: attributes that only a superuser may mention, even to say no (PostgreSQL: "only roles with the
#: SUPERUSER attribute may change ...")
_SUPERUSER_ONLY = re.compile(r"\b(NOSUPERUSER|NOREPLICATION|NOBYPASSRLS)\b ?")
#: a statement of pg_dumpall: texts and names may hold semicolons and line ends; comments and psql's
#: commands stand between statements
_STATEMENT = re.compile(
    r"""[ \n]*(?:(?:--|\\)[^\n]*\n|((?:'(?:[^']|'')*'|"(?:[^"]|"")*"|[^;'"])+);)"""
)
_NAME = r'"(?:[^"]|"")+"|[^ ";,]+'
_ROLE = re.compile(rf"(CREATE ROLE|ALTER ROLE|COMMENT ON ROLE) ({_NAME})(?: |$)")
_DEFAULT = re.compile(rf"ALTER ROLE (?:{_NAME}) SET ")
_MEMBERSHIP = re.compile(rf"GRANT ({_NAME}) TO ({_NAME})( WITH .*?)?( GRANTED BY (?:{_NAME}))?")


def missing(connection: psycopg.Connection, wanted: Sequence[str]) -> list[str]:
    """Those of ``wanted`` that this server does not have."""
    have = values(
        connection,
        str,
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)",
        (list(wanted),),
    )
    return [role for role in wanted if role not in have]


def read_globals(job: Job, manifest: Manifest) -> str:
    """What pg_dumpall wrote beside the backup; empty where there is none."""
    record = manifest.get("globals")
    data = job.store.get(record["key"]) if record else None
    if record is None or data is None:
        return ""
    encrypted = record["key"].endswith(".age")
    packed = codec.decrypt([data], job.identities) if encrypted else [data]
    return b"".join(codec.decompress(packed, "gzip")).decode()


def prepare(
    connection: psycopg.Connection,
    job: Job,
    manifest: Manifest,
    wanted: list[str],
    server: ServerFacts,
) -> tuple[list[str], list[str]]:
    """How the missing roles ``wanted`` can be made again; nothing is done yet.

    :return: the roles (with those that they are members of, where these are missing too), and the
        statements.
    :raises DatabaseError: nobody saved them, or we may not; the hint has the statements to run by
        hand.
    """
    if not wanted:
        return [], []
    by_hand = "As a superuser: " + " ".join(
        sql.SQL("CREATE ROLE {};").format(sql.Identifier(role)).as_string(connection)
        for role in wanted
    )
    statements = _statements(read_globals(job, manifest))
    saved = {
        _unquoted(match[2])
        for match in map(_ROLE.match, statements)
        if match and match[1] == "CREATE ROLE"
    }
    lost = [role for role in wanted if role not in saved]
    if lost:
        raise DatabaseError(
            f"The server lacks the roles {', '.join(lost)}, "
            "and they were not saved with the backup",
            by_hand,
        )
    if not server.createrole:
        raise DatabaseError(
            f"The server lacks the roles {', '.join(wanted)}, "
            f"and {connection.info.user} may not create roles",
            f'{by_hand} (or let us: ALTER ROLE "{connection.info.user}" CREATEROLE;)',
        )
    roles = _with_their_groups(statements, wanted, lambda names: missing(connection, names))
    members = {_unquoted(match[2]) for match in map(_MEMBERSHIP.fullmatch, statements) if match}
    return roles, _chosen(
        statements, roles, set(missing(connection, sorted(members))) - set(roles), server
    )


def _with_their_groups(
    statements: Sequence[str],
    wanted: Sequence[str],
    missing_of: Callable[[Sequence[str]], list[str]],
) -> list[str]:
    roles, new = list(wanted), list(wanted)
    while new:
        groups = {
            _unquoted(match[1])
            for match in map(_MEMBERSHIP.fullmatch, statements)
            if match and _unquoted(match[2]) in new
        }
        new = missing_of(sorted(groups - set(roles)))
        roles += new
    return roles


def _chosen(
    statements: Sequence[str], roles: Sequence[str], strangers: Collection[str], server: ServerFacts
) -> list[str]:
    """The statements that make the roles, say what is known of them, and their memberships, in
    their order.

    :param strangers: roles that are missing and stay so; they are members of nothing.
    """
    chosen = []
    for statement in statements:
        if match := _ROLE.match(statement):
            # settings for one database alone come with that database, from the manifest
            if _unquoted(match[2]) in roles and not re.match(
                rf"ALTER ROLE (?:{_NAME}) IN DATABASE ", statement
            ):
                head, password, rest = statement.partition(" PASSWORD ")
                attributes = match[1] == "ALTER ROLE" and not server.superuser
                chosen.append(
                    (_SUPERUSER_ONLY.sub("", head) if attributes else head) + password + rest
                )
        elif (
            (match := _MEMBERSHIP.fullmatch(statement))
            and {_unquoted(match[1]), _unquoted(match[2])} & set(roles)
            and _unquoted(match[2]) not in strangers
        ):
            # whoever granted it may not exist here; we do
            chosen.append(f"GRANT {match[1]} TO {match[2]}{_options(match[3] or '', server.major)}")
    return chosen


def _options(options: str, major: int) -> str:
    """Before 16 a membership had one option, and its absence could not be said."""
    if major >= 16:
        return options
    return " WITH ADMIN OPTION" if "ADMIN OPTION" in options or "ADMIN TRUE" in options else ""


def _statements(text: str) -> list[str]:
    return [match[1] for match in _STATEMENT.finditer(text) if match[1]]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def create(
    connection: psycopg.Connection, roles: Sequence[str], statements: Sequence[str]
) -> list[Finding]:
    """Make the roles, all or none.

    :return: findings: defaults of theirs (``ALTER ROLE ... SET``) that we may not set, or this
        major does not know.
    :raises DatabaseError: a right is missing.
    """
    findings = []
    try:
        with connection.transaction():
            for statement in statements:
                try:
                    with connection.transaction():
                        connection.execute(statement)
                except (
                    psycopg.errors.InsufficientPrivilege,
                    psycopg.errors.UndefinedObject,
                    psycopg.errors.InvalidParameterValue,
                ) as error:
                    if not _DEFAULT.match(statement):
                        raise
                    findings.append(
                        finding("ROLE_SETTING_LEFT_OUT", f"{statement}: {first_line(error)}")
                    )
    except psycopg.Error as error:
        raise DatabaseError(
            f"Failed to create the roles {', '.join(roles)}: {first_line(error)}",
            "Create them by hand, or restore as a superuser (backup_db_user)",
        ) from None
    return findings
