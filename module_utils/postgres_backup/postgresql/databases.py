"""Databases as a whole: made, dressed as another one was, and dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import finding
from .connection import first_line


def create_database(connection: psycopg.Connection, name: str, facts: dict, comment: str) -> None:
    """An empty database with the owner, encoding, locale and tablespace in ``facts`` (see
    :func:`postgres.database_facts`).

    It opens for connections only once its comment stands, so that a closed one without a comment
    was never more than begun, and is empty.

    :raises DatabaseError: a right or a locale is missing; the hint says what to do.
    """
    database = sql.Identifier(name)
    try:
        connection.execute(
            sql.SQL("CREATE DATABASE {} {} ALLOW_CONNECTIONS false").format(
                database, sql.SQL(" ").join(_options(connection, facts))
            )
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"Failed to create the database {name!r}: {first_line(error)}",
            _missing_right(connection, facts, first_line(error)),
        ) from None
    except (
        psycopg.errors.WrongObjectType,
        psycopg.errors.InvalidParameterValue,
        psycopg.errors.FeatureNotSupported,
    ) as error:
        raise DatabaseError(
            f"Failed to create the database {name!r}: {first_line(error)}", _missing_locale(facts)
        ) from None
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(comment))
    )
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))


def require_locale(connection: psycopg.Connection, facts: dict) -> None:
    """Let the server try the locale in ``facts`` (as for :func:`create_database`), in a transaction
    that is undone.

    It tries by a collation, which must fit the encoding of the connected database; where that is
    another one, only making the database tells, which comes before its first row.

    :raises DatabaseError: the server does not have it; the hint says what to do.
    """
    encoding = connection.execute(
        "SELECT pg_encoding_to_char(encoding) AS e FROM pg_database WHERE datname = current_database()"
    ).fetchone()["e"]
    if not facts.get("collate") or facts.get("encoding") != encoding:
        return
    pair = (sql.Literal(facts["collate"]), sql.Literal(facts.get("ctype") or facts["collate"]))
    tries = [sql.SQL("LC_COLLATE = {}, LC_CTYPE = {}").format(*pair)]
    if facts.get("provider") == "i" and facts.get("locale"):
        tries.append(sql.SQL("PROVIDER = icu, LOCALE = {}").format(sql.Literal(facts["locale"])))
    try:
        for options in tries:
            with connection.transaction(force_rollback=True):
                connection.execute(
                    sql.SQL("CREATE COLLATION pg_temp.postgres_backup_locale ({})").format(options)
                )
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return  # nobody can say
    except (
        psycopg.errors.WrongObjectType,
        psycopg.errors.InvalidParameterValue,
        psycopg.errors.FeatureNotSupported,
    ) as error:
        raise DatabaseError(
            f"The server lacks the locale that the backup needs: {first_line(error)}",
            _missing_locale(facts),
        ) from None


def _missing_locale(facts: dict) -> str:
    return (
        f"The backup's locale is {facts.get('collate')} / {facts.get('locale') or facts.get('ctype')}. On the database server: locale-gen or "
        "`dpkg-reconfigure locales`, then restart PostgreSQL"
    )


def _options(connection: psycopg.Connection, facts: dict) -> Iterator[sql.Composable]:
    yield sql.SQL("TEMPLATE template0")
    if facts.get("owner"):
        yield sql.SQL("OWNER {}").format(sql.Identifier(facts["owner"]))
    for word, key in (("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        if facts.get(key):
            yield sql.SQL(f"{word} {{}}").format(sql.Literal(facts[key]))
    if facts.get("tablespace"):
        yield sql.SQL("TABLESPACE {}").format(sql.Identifier(facts["tablespace"]))
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(facts.get("provider") or "")
    # said aloud even where it is libc: the cluster's own default may be another
    if provider and connection.info.server_version >= 150000:
        yield sql.SQL(f"LOCALE_PROVIDER {provider}")
        if provider != "libc" and facts.get("locale"):
            yield sql.SQL(f"{'ICU' if provider == 'icu' else 'BUILTIN'}_LOCALE {{}}").format(
                sql.Literal(facts["locale"])
            )
        if facts.get("icu_rules"):
            yield sql.SQL("ICU_RULES {}").format(sql.Literal(facts["icu_rules"]))


def _missing_right(connection: psycopg.Connection, facts: dict, said: str) -> str:
    user = connection.info.user
    if "tablespace" in said:
        return f'As a superuser: GRANT CREATE ON TABLESPACE "{facts["tablespace"]}" TO "{user}";'
    if "SET ROLE" in said or "member of role" in said:
        return f'As a superuser: GRANT "{facts.get("owner")}" TO "{user}";'
    return f'As a superuser: ALTER ROLE "{user}" CREATEDB;'


def dress_database(connection: psycopg.Connection, name: str, facts: dict) -> list[dict]:
    """Give a database the settings and privileges in ``facts``, in one transaction.

    :return: findings: settings that this server does not take (any more).
    :raises DatabaseError: a right is missing; names the statement.
    """
    findings = []
    try:
        with connection.transaction():
            if facts.get("privileges") is not None:
                _grant(connection, name, facts["privileges"])
            for entry in facts.get("settings") or []:
                statement = _setting(name, entry)
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
        hint = f"{user} lacks a right that a superuser once used for this database. Restore as a superuser (backup_db_user)"
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


def _grant(connection: psycopg.Connection, name: str, privileges: list[dict]) -> None:
    """The same access list, each right given by whoever gave it (manifests before grantors were
    noted: by the owner).
    """
    database = sql.Identifier(name)
    owner = connection.execute(
        "SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()["owner"]
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, sql.Identifier(owner))
    )
    waiting, may_grant = list(privileges), set()
    while waiting:
        # who may give it must have got it before; what is left in a circle, or by a grantor unknown
        # here, the owner gives
        ready = [
            g
            for g in waiting
            if g.get("grantor", owner) == owner or (g["grantor"], g["privilege"]) in may_grant
        ] or waiting
        waiting = [g for g in waiting if g not in ready]
        for grant in ready:
            grantee = sql.Identifier(grant["role"]) if grant["role"] else sql.SQL("PUBLIC")
            option = sql.SQL(" WITH GRANT OPTION" if grant["grantable"] else "")
            statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(grant["privilege"]), database, grantee, option
            )
            if grant.get("grantor", owner) != owner and _is_member(connection, grant["grantor"]):
                statement = sql.SQL("SET LOCAL ROLE {}; {}; RESET ROLE").format(
                    sql.Identifier(grant["grantor"]), statement
                )
            connection.execute(statement)
            if grant["grantable"]:
                may_grant.add((grant["role"], grant["privilege"]))


def _is_member(connection: psycopg.Connection, role: str) -> bool:
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    return connection.execute(
        "SELECT coalesce((SELECT pg_has_role(oid, %s) FROM pg_roles WHERE rolname = %s), false) AS may",
        (right, role),
    ).fetchone()["may"]


def _setting(name: str, entry: dict) -> sql.Composed:
    variable, _, value = entry["setting"].partition("=")
    whom = sql.SQL("ALTER DATABASE {}").format(sql.Identifier(name))
    if entry["role"]:
        whom = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(
            sql.Identifier(entry["role"]), sql.Identifier(name)
        )
    return sql.SQL("{} SET {} TO {}").format(
        whom,
        sql.SQL(".").join(map(sql.Identifier, variable.split("."))),
        _setting_value(variable, value),
    )


#: settings whose value is a list of identifiers; pg_dump treats these the same way
#: (variable_is_guc_list_quote in its dumputils.c)
_LIST_SETTINGS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)


def _setting_value(variable: str, value: str) -> sql.Composable:
    if variable.lower() not in _LIST_SETTINGS:
        return sql.Literal(value)
    items = [
        match[0] if match[0].startswith('"') else match[0].strip()
        for match in re.finditer(r'"(?:[^"]|"")*"|[^,\s][^,]*', value)
    ]
    return (
        sql.SQL(", ").join(
            sql.Literal(item[1:-1].replace('""', '"') if item.startswith('"') else item)
            for item in items
        )
        if items
        else sql.Literal("")
    )


def limit_connections(connection: psycopg.Connection, name: str, limit: int) -> None:
    """How many sessions a database takes; -1: any number."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            sql.Identifier(name), sql.Literal(limit)
        )
    )


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Remove a database and whoever is in it. No error where there is none."""
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


#: longest identifier in bytes (NAMEDATALEN - 1)
MAX_IDENTIFIER = 63


def shorten(name: str, tail: str) -> str:
    """``name + tail``, the name cut so that both fit into an identifier (bytes, at a letter's
    border).
    """
    room = MAX_IDENTIFIER - len(tail.encode())
    return name.encode()[:room].decode(errors="ignore") + tail
