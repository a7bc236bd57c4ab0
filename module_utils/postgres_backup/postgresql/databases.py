"""Databases as a whole: made, dressed as another one was, and dropped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import Finding, finding
from ..text import printable
from . import parameters
from .connection import first_line, value
from .facts import DatabaseFacts, DatabaseSetting, Grant

#: how servers of different majors and systems say that they lack a locale
_NO_SUCH_LOCALE = (
    psycopg.errors.WrongObjectType,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.FeatureNotSupported,
)


def create_database(
    connection: psycopg.Connection,
    name: str,
    wanted: DatabaseFacts,
    comment: str | Callable[[], str],
) -> None:
    """An empty database with the owner, encoding, locale and tablespace that are wanted.

    It opens for connections only once its comment stands, so that a closed one without a comment
    was never more than begun, and is empty.

    :param comment: or what makes it, once the database is there.
    :raises DatabaseError: a right or a locale is missing; the hint says what to do.
    """
    database = sql.Identifier(name)
    try:
        connection.execute(
            sql.SQL("CREATE DATABASE {} {} ALLOW_CONNECTIONS false").format(
                database, sql.SQL(" ").join(_options(connection, wanted))
            )
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"Failed to create the database {name!r}: {first_line(error)}",
            _missing_right(connection, wanted, first_line(error)),
        ) from None
    except _NO_SUCH_LOCALE as error:
        raise DatabaseError(
            f"Failed to create the database {name!r}: {first_line(error)}", _missing_locale(wanted)
        ) from None
    comment_on(connection, name, comment if isinstance(comment, str) else comment())
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))


def require_locale(connection: psycopg.Connection, wanted: DatabaseFacts) -> None:
    """Let the server try the locale that is wanted, in a transaction that is undone.

    It tries by a collation, which must fit the encoding of the connected database; where that is
    another one, only making the database tells, which comes before its first row.

    :raises DatabaseError: the server does not have it; the hint says what to do.
    """
    encoding = value(
        connection,
        str,
        """
        SELECT pg_encoding_to_char(encoding) FROM pg_database
        WHERE datname = current_database()""",
    )
    if not wanted.collate or wanted.encoding != encoding:
        return
    pair = (sql.Literal(wanted.collate), sql.Literal(wanted.ctype or wanted.collate))
    tries = [sql.SQL("LC_COLLATE = {}, LC_CTYPE = {}").format(*pair)]
    if wanted.provider == "i" and wanted.locale:
        tries.append(sql.SQL("PROVIDER = icu, LOCALE = {}").format(sql.Literal(wanted.locale)))
    try:
        for options in tries:
            with connection.transaction(force_rollback=True):
                connection.execute(
                    sql.SQL("CREATE COLLATION pg_temp.postgres_backup_locale ({})").format(options)
                )
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return  # nobody can say
    except _NO_SUCH_LOCALE as error:
        raise DatabaseError(
            f"The server lacks the locale that the backup needs: {first_line(error)}",
            _missing_locale(wanted),
        ) from None


def _missing_locale(wanted: DatabaseFacts) -> str:
    return (
        f"The backup's locale is {wanted.collate} / {wanted.locale or wanted.ctype}. "
        "On the database server: locale-gen or `dpkg-reconfigure locales`, then restart PostgreSQL"
    )


def _options(connection: psycopg.Connection, wanted: DatabaseFacts) -> Iterator[sql.Composable]:
    yield sql.SQL("TEMPLATE template0")
    if wanted.owner:
        yield sql.SQL("OWNER {}").format(sql.Identifier(wanted.owner))
    if wanted.encoding:
        yield sql.SQL("ENCODING {}").format(sql.Literal(wanted.encoding))
    if wanted.collate:
        yield sql.SQL("LC_COLLATE {}").format(sql.Literal(wanted.collate))
    if wanted.ctype:
        yield sql.SQL("LC_CTYPE {}").format(sql.Literal(wanted.ctype))
    if wanted.tablespace:
        yield sql.SQL("TABLESPACE {}").format(sql.Identifier(wanted.tablespace))
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(wanted.provider)
    # said aloud even where it is libc: the cluster's own default may be another
    if provider and connection.info.server_version >= 150000:
        yield sql.SQL(f"LOCALE_PROVIDER {provider}")
        if provider != "libc" and wanted.locale:
            yield sql.SQL(f"{'ICU' if provider == 'icu' else 'BUILTIN'}_LOCALE {{}}").format(
                sql.Literal(wanted.locale)
            )
        if wanted.icu_rules:
            yield sql.SQL("ICU_RULES {}").format(sql.Literal(wanted.icu_rules))


def _missing_right(connection: psycopg.Connection, wanted: DatabaseFacts, said: str) -> str:
    user = connection.info.user
    if "tablespace" in said:
        return f'As a superuser: GRANT CREATE ON TABLESPACE "{wanted.tablespace}" TO "{user}";'
    if "SET ROLE" in said or "member of role" in said:
        return f'As a superuser: GRANT "{wanted.owner}" TO "{user}";'
    return f'As a superuser: ALTER ROLE "{user}" CREATEDB;'


def dress_database(
    connection: psycopg.Connection, name: str, wanted: DatabaseFacts
) -> list[Finding]:
    """Give a database the settings and privileges that are wanted, in one transaction.

    :return: findings: settings that this server does not take (any more).
    :raises DatabaseError: a right is missing; names the statement.
    """
    findings = []
    try:
        with connection.transaction():
            if wanted.grants is not None:
                _grant(connection, name, wanted.grants)
                findings += [
                    finding(
                        "PRIVILEGE_LEFT_OUT",
                        f"this version knows no right {printable(grant.privilege[:80])!r} "
                        "to a database",
                    )
                    for grant in wanted.grants
                    if grant.privilege not in _PRIVILEGES
                ]
            for setting in wanted.settings:
                variable, _, text = setting.setting.partition("=")
                if not parameters.is_name(variable):
                    findings.append(
                        finding("SETTING_LEFT_OUT", f"{printable(variable)!r} is no setting's name")
                    )
                    continue
                statement = _set(name, setting, variable, text)
                try:
                    with connection.transaction():
                        connection.execute(statement)
                except (
                    psycopg.errors.UndefinedObject,
                    psycopg.errors.InvalidParameterValue,
                    psycopg.errors.CantChangeRuntimeParam,
                ) as error:
                    findings.append(
                        finding(
                            "SETTING_LEFT_OUT",
                            f"{statement.as_string(connection)}: {first_line(error)}",
                        )
                    )
    except psycopg.errors.InsufficientPrivilege as error:
        user, said = connection.info.user, first_line(error)
        parameter = re.search(r'permission denied to set parameter "(.+)"', said)
        hint = (
            f"{user} lacks a right that a superuser once used for this database. "
            "Restore as a superuser (backup_db_user)"
        )
        if parameter:
            names = sql.Identifier(*parameter[1].split(".")), sql.Identifier(user)
            hint = (
                sql.SQL("As a superuser: GRANT SET ON PARAMETER {} TO {};")
                .format(*names)
                .as_string(connection)
            )
        raise DatabaseError(
            f"Failed to give the restored database its settings and privileges: {said}", hint
        ) from None
    return findings


#: settings that are 0 then
ONE_PROCESS = ("max_parallel_maintenance_workers", "max_parallel_workers_per_gather")
#: what there is to grant on a database
_PRIVILEGES = {
    "CREATE": sql.SQL("CREATE"),
    "CONNECT": sql.SQL("CONNECT"),
    "TEMPORARY": sql.SQL("TEMPORARY"),
    "TEMP": sql.SQL("TEMPORARY"),
}


def _grant(connection: psycopg.Connection, name: str, grants: Sequence[Grant]) -> None:
    """The same access list, each right given by whoever gave it (manifests before grantors were
    noted: by the owner).
    """
    database = sql.Identifier(name)
    owner = value(
        connection,
        str,
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s",
        (name,),
    )
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, sql.Identifier(owner))
    )
    waiting = [grant for grant in grants if grant.privilege in _PRIVILEGES]
    may_grant: set[tuple[str, str]] = set()
    while waiting:
        # who may give it must have got it before; what is left in a circle, or by a grantor unknown
        # here, the owner gives
        ready = [
            grant
            for grant in waiting
            if grant.grantor in (None, owner) or (grant.grantor, grant.privilege) in may_grant
        ] or waiting
        waiting = [grant for grant in waiting if grant not in ready]
        for grant in ready:
            grantee = sql.Identifier(grant.role) if grant.role else sql.SQL("PUBLIC")
            option = sql.SQL(" WITH GRANT OPTION" if grant.grantable else "")
            statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                _PRIVILEGES[grant.privilege], database, grantee, option
            )
            if grant.grantor not in (None, owner) and _is_member(connection, grant.grantor):
                connection.execute(
                    sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(grant.grantor))
                )
                connection.execute(statement)
                connection.execute("RESET ROLE")
            else:
                connection.execute(statement)
            if grant.grantable:
                may_grant.add((grant.role, grant.privilege))


def _is_member(connection: psycopg.Connection, role: str) -> bool:
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    return value(
        connection,
        bool,
        """
        SELECT coalesce(
            (SELECT pg_has_role(oid, %s) FROM pg_roles WHERE rolname = %s), false)""",
        (right, role),
    )


def _set(name: str, setting: DatabaseSetting, variable: str, text: str) -> sql.Composed:
    whom = sql.SQL("ALTER DATABASE {}").format(sql.Identifier(name))
    if setting.role:
        whom = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(
            sql.Identifier(setting.role), sql.Identifier(name)
        )
    values = parameters.values_of(variable, text)
    return sql.SQL("{} {}").format(whom, parameters.assignment(variable, values))


def take_one_process(connection: psycopg.Connection, name: str) -> None:
    """What is done in a database takes one process of the server each, whatever may be done
    beside it: its indexes, its statistics, what is read of it.
    """
    for setting in ONE_PROCESS:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET {} TO 0").format(
                sql.Identifier(name), sql.Identifier(setting)
            )
        )


def limit_connections(connection: psycopg.Connection, name: str, limit: int) -> None:
    """How many sessions a database takes; -1: any number."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            sql.Identifier(name), sql.Literal(limit)
        )
    )


def comment_on(connection: psycopg.Connection, name: str, comment: str | None) -> None:
    """Set a database's comment; None takes it away."""
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
    )


def drop_unused(connection: psycopg.Connection, name: str) -> None:
    """Remove a database in which nobody is.

    :raises psycopg.errors.ObjectInUse: somebody is, and stays for more than five seconds.
    """
    connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Remove a database and whoever is in it. No error where there is none."""
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )
