"""Roles that a backup refers to and this server lacks: made again from the globals saved beside the
backup.

Roles that exist are left as they are: their passwords and rights of today are not those of the
backup's day. They get back nothing but their memberships in roles that had gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

import psycopg
from psycopg import sql

from ..catalog.backups import Backup
from ..errors import BadBackupError, DatabaseError, PostgresBackupError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql import parameters
from ..postgresql.connection import first_line, values
from ..postgresql.facts import ServerFacts
from ..s3.store import Unreadable
from ..stream import codec
from ..text import printable
from ..verify.saved_roles import AlteredRolesError, saved_roles
from .globals_file import Globals, read
from .globals_words import GlobalsUnfit
from .role_statements import (
    Attributes,
    CreateRole,
    Membership,
    RoleSetting,
    Statement,
    composed,
)

#: attributes that only a superuser may mention, even to say no (PostgreSQL: "only roles with the
#: SUPERUSER attribute may change ...")
_SUPERUSER_ONLY = ("SUPERUSER", "REPLICATION", "BYPASSRLS")
#: attributes that reach beyond a role's own databases
_POWER = ("SUPERUSER", "REPLICATION", "BYPASSRLS", "CREATEROLE")
#: bytes of the file, unpacked, at most
_MOST_UNPACKED = 16 * 1024 * 1024
#: so many times its packed size it may unpack to, once it is larger than a small one
_MOST_RATIO, _SMALL = 200, 1024 * 1024
#: roles that a message names
_NAMED = 100


def missing(connection: psycopg.Connection, wanted: Sequence[str]) -> list[str]:
    """Those of ``wanted`` that this server does not have."""
    have = values(
        connection,
        str,
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)",
        (list(wanted),),
    )
    there = set(have)
    return [role for role in wanted if role not in there]


def read_globals(job: Job, backup: Backup) -> Globals:
    """What pg_dumpall wrote beside the backup; nothing where there is nothing.

    :raises BadBackupError: it is not what was uploaded, not what pg_dumpall writes, or larger than
        that ever is.
    """
    key = backup.layout.globals(backup.name)
    data = saved_roles(job, backup)
    try:
        return Globals() if data is None else read(_unpacked(job, key, data))
    except (GlobalsUnfit, UnicodeDecodeError) as error:
        raise BadBackupError(
            f"Failed to read {key}: {error}", "Restore another backup: postgres-backup list"
        ) from None


def _unpacked(job: Job, key: str, data: bytes) -> str:
    packed = codec.decrypt([data], job.identities) if key.endswith(".age") else [data]
    most = min(_MOST_UNPACKED, max(_SMALL, len(data) * _MOST_RATIO))
    pieces, size = [], 0
    for piece in codec.decompress(packed, "gzip"):
        size += len(piece)
        if size > most:
            raise GlobalsUnfit(f"its {len(data)} bytes unpack to more than {most}")
        pieces.append(piece)
    return b"".join(pieces).decode()


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How missing roles can be made again.

    :param roles: with those that they are members of, where these are missing too.
    :param statements: what makes them, in this order.
    :param findings: what they may do that is out of the ordinary, and what was passed over.
    """

    roles: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    findings: tuple[Finding, ...] = ()


def prepare(
    connection: psycopg.Connection,
    job: Job,
    backup: Backup,
    wanted: list[str],
    server: ServerFacts,
) -> Preparation:
    """How the missing roles ``wanted`` can be made again; nothing is done yet.

    :raises AlteredRolesError: they are others than were saved.
    :raises DatabaseError: nobody saved them, or we may not; the hint has the statements to run by
        hand.
    """
    if not wanted:
        return Preparation()
    by_hand, user = _by_hand(connection, wanted), connection.info.user
    try:
        found = read_globals(job, backup)
    except AlteredRolesError:
        raise  # making them by hand would help, and that backup is not to be trusted
    except Unreadable as error:
        raise _unreadable(wanted, by_hand, error) from None
    saved = {said.role for said in found.statements if isinstance(said, CreateRole)}
    lost = [role for role in wanted if role not in saved]
    those = f"{_named(lost)} of them" if len(lost) < len(wanted) else "they"
    # all that are missing, and all that is against making them: whoever mends it does so once
    told = f"The server lacks the roles {_named(wanted)}"
    if lost:
        told += f", and {those} were not saved with the backup"
    if not server.createrole:
        raise DatabaseError(
            f"{told}, and {user} may not create roles",
            by_hand if lost else f'{by_hand} (or let us: ALTER ROLE "{user}" CREATEROLE;)',
        )
    if lost:
        raise DatabaseError(told, _by_hand(connection, lost))
    roles = with_their_groups(found.statements, wanted, lambda names: missing(connection, names))
    memberships = [said for said in found.statements if isinstance(said, Membership)]
    named = {said.member for said in memberships} | {said.group for said in memberships}
    strangers = set(missing(connection, sorted(named))) - set(roles)
    statements = chosen(found.statements, roles, strangers, server)
    strong = [
        said.role
        for said in statements
        if isinstance(said, Attributes) and ("SUPERUSER", True) in said.flags
    ]
    if strong and not server.superuser:
        raise DatabaseError(
            f"{told}; {_named(strong)} of them had all rights, "
            f"and {user} is no superuser, who alone may make such roles",
            f"Restore as a superuser (backup_db_user). Or: {_by_hand(connection, strong)}",
        )
    return Preparation(
        tuple(roles),
        tuple(statements),
        (*_powerful(connection, statements), *_left_out(found)),
    )


def _by_hand(connection: psycopg.Connection, roles: Sequence[str]) -> str:
    return "As a superuser: " + " ".join(
        sql.SQL("CREATE ROLE {};").format(sql.Identifier(role)).as_string(connection)
        for role in roles[:_NAMED]
    )


def _unreadable(wanted: Sequence[str], by_hand: str, error: PostgresBackupError) -> DatabaseError:
    return DatabaseError(
        f"The server lacks the roles {_named(wanted)}, "
        f"and what was saved of them cannot be read: {error.message}",
        by_hand,
        error.findings,
    )


def _named(roles: Sequence[str]) -> str:
    more = f" and {len(roles) - _NAMED} more" if len(roles) > _NAMED else ""
    return ", ".join(map(printable, roles[:_NAMED])) + more


def with_their_groups(
    statements: Sequence[Statement],
    wanted: Sequence[str],
    missing_of: Callable[[Sequence[str]], list[str]],
) -> list[str]:
    """The wanted roles, and those of their groups (and of theirs) that are missing and were
    saved.
    """
    memberships = [said for said in statements if isinstance(said, Membership)]
    saved = {said.role for said in statements if isinstance(said, CreateRole)}
    roles, new = list(wanted), set(wanted)
    while new:
        groups = {said.group for said in memberships if said.member in new}
        found = missing_of(sorted((groups & saved) - set(roles)))
        new = set(found)
        roles += found
    return roles


def chosen(
    statements: Sequence[Statement],
    roles: Collection[str],
    strangers: Collection[str],
    server: ServerFacts,
) -> list[Statement]:
    """The statements that make the roles, say what is known of them, and their memberships, in
    their order, as this server and our rights let us say them.

    :param strangers: roles that are missing and stay so; they take part in nothing.
    """
    made, gone, found = set(roles), set(strangers), list[Statement]()
    for said in statements:
        if isinstance(said, Membership):
            both = {said.group, said.member}
            if made & both and not both & gone:
                # whoever granted it may not exist here; we do
                options = _options(said.options, server.major)
                found.append(dataclasses.replace(said, options=options, grantor=""))
        elif said.role not in made:
            continue
        elif isinstance(said, Attributes) and not server.superuser:
            flags = tuple(
                (flag, yes) for flag, yes in said.flags if yes or flag not in _SUPERUSER_ONLY
            )
            found.append(dataclasses.replace(said, flags=flags))
        elif not isinstance(said, RoleSetting) or not said.database:
            # settings for one database alone come with that database, from the manifest
            found.append(said)
    return found


def _options(options: tuple[tuple[str, bool], ...], major: int) -> tuple[tuple[str, bool], ...]:
    """Before 16 a membership had one option, and its absence could not be said."""
    if major >= 16:
        return options
    return tuple((option, yes) for option, yes in options if option == "ADMIN" and yes)


#: groups that are there, and whose members may do what is out of the ordinary
_STRONG_GROUPS = """
SELECT g.rolname FROM pg_roles g
WHERE g.rolname = ANY(%s) AND EXISTS (
    SELECT FROM pg_roles r
    WHERE (r.rolsuper OR r.rolreplication OR r.rolbypassrls OR r.rolcreaterole
           OR r.rolname ~ '^pg_')
      AND pg_has_role(g.oid, r.oid, 'MEMBER'))"""


def _powerful(connection: psycopg.Connection, statements: Sequence[Statement]) -> list[Finding]:
    """What the roles may do beyond their databases, role by role."""
    told: dict[str, list[str]] = {}
    groups = {said.group for said in statements if isinstance(said, Membership)}
    strong = set(values(connection, str, _STRONG_GROUPS, (sorted(groups),)))
    for said in statements:
        if isinstance(said, Attributes):
            powers = [flag for flag, yes in said.flags if yes and flag in _POWER]
        elif isinstance(said, Membership) and said.group in strong:
            powers = [f"member of {printable(said.group)}"]
        elif isinstance(said, RoleSetting) and parameters.is_powerful(said.name):
            powers = [f"with the setting {printable(said.name)}"]
        else:
            continue
        if powers:
            role = said.member if isinstance(said, Membership) else said.role
            told.setdefault(role, []).extend(powers)
    if not told:
        return []
    some = [f"{printable(role)} ({', '.join(powers)})" for role, powers in told.items()]
    more = f"; and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return [
        finding(
            "ROLES_WITH_POWER",
            "Roles that may do more than own a database are made as they were saved: "
            f"{'; '.join(some[:_NAMED])}{more}",
        )
    ]


def _left_out(found: Globals) -> list[Finding]:
    if not found.left_out:
        return []
    return [
        finding(
            "GLOBALS_LEFT_OUT",
            f"{len(found.left_out)} statements of the saved roles are none that pg_dumpall "
            f"writes, and are not run; the first: {found.left_out[0]}",
        )
    ]


def create(
    connection: psycopg.Connection, roles: Sequence[str], statements: Sequence[Statement]
) -> list[Finding]:
    """Make the roles, all or none.

    :return: findings: defaults of theirs (``ALTER ROLE ... SET``) that we may not set, or this
        major does not know.
    :raises DatabaseError: a right is missing.
    """
    findings = []
    major = connection.info.server_version // 10000
    try:
        with connection.transaction():
            for said in statements:
                if isinstance(said, RoleSetting):
                    findings += _set(connection, said, major)
                else:
                    connection.execute(composed(said, major))
    except psycopg.Error as error:
        raise DatabaseError(
            f"Failed to create the roles {_named(roles)}: {first_line(error)}",
            "Create them by hand, or restore as a superuser (backup_db_user)",
        ) from None
    return findings


def _set(connection: psycopg.Connection, said: RoleSetting, major: int) -> list[Finding]:
    if not parameters.is_name(said.name):
        name = printable(said.name[:80])
        return [finding("ROLE_SETTING_LEFT_OUT", f"{name!r} is no setting's name")]
    statement = composed(said, major)
    try:
        with connection.transaction():
            connection.execute(statement)
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UndefinedObject,
        psycopg.errors.InvalidParameterValue,
    ) as error:
        told = statement.as_string(connection)
        return [finding("ROLE_SETTING_LEFT_OUT", f"{told}: {first_line(error)}")]
    return []
