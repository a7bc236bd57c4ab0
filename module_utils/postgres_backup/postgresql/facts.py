"""What a PostgreSQL server is, what our user may do there, and what its databases are beside their
content.
"""

from __future__ import annotations

import dataclasses
import os
import shlex

import psycopg
from psycopg import sql

from ..settings import LOCAL_HOSTS, Settings
from .connection import connect, connect_maintenance, row, rows, value, values
from .mark import own_comment


@dataclasses.dataclass(frozen=True)
class ServerFacts:
    """What a server is and what our user may do there.

    :param version: ``16.3``.
    :param version_number: 160003.
    :param data_directory: empty where we may not know.
    :param system_identifier: likewise.
    """

    version: str
    version_number: int
    major: int
    superuser: bool
    createdb: bool
    createrole: bool
    data_directory: str
    system_identifier: str
    #: when its postmaster started, in microseconds since 1970
    started: str = ""
    #: it only follows a primary
    standby: bool = False


@dataclasses.dataclass(frozen=True)
class Grant:
    """A right to a database.

    :param role: who has it; empty for everybody.
    :param grantor: who gave it; None where that was not noted (the owner, then).
    """

    role: str
    privilege: str
    grantable: bool
    grantor: str | None = None


@dataclasses.dataclass(frozen=True)
class DatabaseSetting:
    """``ALTER DATABASE ... SET``, or ``ALTER ROLE ... IN DATABASE ... SET``.

    :param role: empty for everybody.
    :param setting: ``name=value``.
    """

    role: str
    setting: str


@dataclasses.dataclass(frozen=True)
class Extension:
    """An extension of a database."""

    name: str
    version: str
    schema: str


@dataclasses.dataclass(frozen=True)
class DatabaseFacts:
    """What a database is beside its content, or shall be: empty and None stand for the server's
    defaults.

    :param provider: of its locale: ``c`` (libc), ``i`` (ICU) or ``b`` (builtin).
    :param connection_limit: -1: any number.
    :param comment: what its people say of it, never our mark.
    :param database_bytes: its size; None where we may not know.
    :param grants: None where the rights to it were never changed.
    :param roles: every role that it refers to.
    """

    owner: str
    encoding: str = ""
    collate: str = ""
    ctype: str = ""
    provider: str = ""
    locale: str | None = None
    icu_rules: str | None = None
    tablespace: str | None = None
    comment: str | None = None
    connection_limit: int = -1
    database_bytes: int | None = None
    grants: tuple[Grant, ...] | None = None
    settings: tuple[DatabaseSetting, ...] = ()
    roles: tuple[str, ...] = ()


def server_facts(settings: Settings, database: str = "") -> ServerFacts:
    """What the server is and what our user may do there."""
    with connect(settings, database or settings.databases[0]) as connection:
        return facts_of(connection)


@dataclasses.dataclass(frozen=True)
class _Rights:
    version: str
    version_number: int
    superuser: bool
    createdb: bool
    createrole: bool
    may_see: bool
    started: str
    standby: bool


_SERVER = """
SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
       current_setting('server_version_num')::int AS version_number,
       r.rolsuper AS superuser, r.rolsuper OR r.rolcreatedb AS createdb,
       r.rolsuper OR r.rolcreaterole AS createrole,
       r.rolsuper OR pg_has_role('pg_read_all_settings', 'USAGE') AS may_see,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text AS started,
       pg_is_in_recovery() AS standby
FROM pg_roles r WHERE r.rolname = current_user"""


def facts_of(connection: psycopg.Connection) -> ServerFacts:
    """:func:`server_facts` over a connection that is open."""
    [ours] = rows(connection, _Rights, _SERVER)
    return ServerFacts(
        ours.version,
        ours.version_number,
        ours.version_number // 10000,
        ours.superuser,
        ours.createdb,
        ours.createrole,
        value(connection, str, "SELECT current_setting('data_directory')") if ours.may_see else "",
        system_identifier(connection),
        ours.started,
        ours.standby,
    )


def system_identifier(connection: psycopg.Connection) -> str:
    """Which server it is, whatever its address; empty where we may not know."""
    may = value(connection, bool, "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
    asked = "SELECT system_identifier::text FROM pg_control_system()"
    return value(connection, str, asked) if may else ""


@dataclasses.dataclass(frozen=True)
class _Attributes:
    owner: str
    encoding: str
    collate: str
    ctype: str
    connection_limit: int
    provider: str
    locale: str | None
    icu_rules: str | None
    comment: str | None
    has_privileges: bool
    tablespace: str
    database_bytes: int | None


# "locale" is a JSON reading because the catalogue's columns changed: daticulocale in 15 and 16,
# datlocale since 17
_DATABASE = """
SELECT pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collate, d.datctype AS ctype, d.datconnlimit AS connection_limit,
       coalesce(to_jsonb(d)->>'datlocprovider', 'c') AS provider,
       coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale') AS locale,
       to_jsonb(d)->>'daticurules' AS icu_rules,
       shobj_description(d.oid, 'pg_database') AS comment,
       d.datacl IS NOT NULL AS has_privileges,
       (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT')
                 OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) END AS database_bytes
FROM pg_database d WHERE d.datname = %s"""
_PRIVILEGES = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS role,
       a.privilege_type AS privilege, a.is_grantable AS grantable,
       pg_get_userbyid(a.grantor) AS grantor
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s ORDER BY 1, 2, 4"""
_SETTINGS = """
SELECT CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END AS role, c.setting
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
     unnest(s.setconfig) WITH ORDINALITY AS c(setting, n)
WHERE d.datname = %s ORDER BY 1, n"""
_ROLES = """
SELECT rolname AS role FROM pg_roles WHERE oid IN (
    SELECT s.refobjid FROM pg_shdepend s
    JOIN pg_database d
      ON s.dbid = d.oid OR (s.classid = 'pg_database'::regclass AND s.objid = d.oid)
    WHERE s.refclassid = 'pg_authid'::regclass AND d.datname = %(name)s
    UNION SELECT datdba FROM pg_database WHERE datname = %(name)s
    UNION SELECT r.setrole FROM pg_db_role_setting r
          JOIN pg_database d ON d.oid = r.setdatabase WHERE d.datname = %(name)s)
AND rolname !~ '^pg_' ORDER BY 1"""


def database_facts(connection: psycopg.Connection, name: str) -> DatabaseFacts | None:
    """What a database is beside its content; None where there is none of that name."""
    its = row(connection, _Attributes, _DATABASE, (name,))
    if its is None:
        return None
    return DatabaseFacts(
        its.owner,
        its.encoding,
        its.collate,
        its.ctype,
        its.provider,
        its.locale,
        its.icu_rules,
        its.tablespace,
        own_comment(its.comment),
        its.connection_limit,
        its.database_bytes,
        tuple(rows(connection, Grant, _PRIVILEGES, (name,))) if its.has_privileges else None,
        tuple(rows(connection, DatabaseSetting, _SETTINGS, (name,))),
        tuple(values(connection, str, _ROLES, {"name": name})),
    )


def table_counts(settings: Settings) -> dict[str, int | None]:
    """How many tables of their own the settings' databases have; None where there is no such
    database.
    """
    counts: dict[str, int | None] = {}
    for name in settings.databases:
        with connect_maintenance(settings, name, only_ask=True) as connection:
            there = database_facts(connection, name)
        counts[name] = None
        if there:
            with connect(settings, name) as connection:
                counts[name] = value(
                    connection,
                    int,
                    """
                    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE c.relkind IN ('r', 'p')
                      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'""",
                )
    return counts


def extensions(connection: psycopg.Connection) -> list[Extension]:
    """The extensions of the connected database."""
    return rows(
        connection,
        Extension,
        """
        SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1""",
    )


def free_bytes(
    settings: Settings,
    connection: psycopg.Connection,
    server: ServerFacts,
    tablespace: str | None = None,
) -> int | None:
    """Free bytes where the server keeps its data, or a tablespace; None where nobody can say.

    On this machine the file system is asked (the folders above a data directory may be looked at
    even where it may not). Elsewhere, or in a container, the server is asked to run ``df``, which
    only a superuser may.
    """
    local = settings.db_host in LOCAL_HOSTS or settings.db_host.startswith("/")
    directory = server.data_directory
    if tablespace:
        places = values(
            connection,
            str,
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = %s",
            (tablespace,),
        )
        directory = "".join(places) or directory
    if local and directory and not settings.db_container:
        for candidate in (directory, os.path.dirname(directory)):
            if os.path.exists(candidate):
                disk = os.statvfs(candidate)
                return disk.f_bavail * disk.f_frsize
    if not server.superuser:
        return None
    try:
        with connection.transaction():
            connection.execute(
                "CREATE TEMPORARY TABLE postgres_backup_df (line text) ON COMMIT DROP"
            )
            command = f"df -Pk -- {shlex.quote(directory or '.')}"
            connection.execute(
                sql.SQL("COPY postgres_backup_df FROM PROGRAM {}").format(sql.Literal(command))
            )
            lines = values(connection, str, "SELECT line FROM postgres_backup_df")
    except psycopg.Error:
        return None  # no df, or managed servers forbid programs: nobody can say
    fields = lines[-1].split() if lines else []
    return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
