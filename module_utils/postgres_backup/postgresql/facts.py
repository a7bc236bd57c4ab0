"""What a PostgreSQL server is, what our user may do there, and what its databases are beside their
content.
"""

from __future__ import annotations

import os
import shlex

import psycopg
from psycopg import sql

from ..settings import Settings
from .connection import connect, connect_maintenance


def server_facts(settings: Settings, database: str = "") -> dict:
    """What the server is and what our user may do there.

    :return: ``version`` ("16.3"), ``version_number`` (160003), ``major`` (16), ``superuser``
        ``createdb`` ``createrole`` (bool), ``data_directory`` (or ""), ``system_identifier`` (or
        "").
    """
    with connect(settings, database or settings.databases[0]) as connection:
        return facts_of(connection)


def facts_of(connection: psycopg.Connection) -> dict:
    """:func:`server_facts` over a connection that is open."""
    row = connection.execute(
        """SELECT split_part(current_setting('server_version'), ' ', 1) AS version, current_setting('server_version_num')::int AS version_number,
                  r.rolsuper AS superuser, r.rolsuper OR r.rolcreatedb AS createdb, r.rolsuper OR r.rolcreaterole AS createrole,
                  r.rolsuper OR pg_has_role('pg_read_all_settings', 'USAGE') AS may_see,
                  has_function_privilege('pg_control_system()', 'EXECUTE') AS may_identify
           FROM pg_roles r WHERE r.rolname = current_user"""
    ).fetchone()
    directory = (
        connection.execute("SELECT current_setting('data_directory') AS d").fetchone()["d"]
        if row["may_see"]
        else ""
    )
    identifier = (
        connection.execute(
            "SELECT system_identifier::text AS i FROM pg_control_system()"
        ).fetchone()["i"]
        if row["may_identify"]
        else ""
    )
    wanted = ("version", "version_number", "superuser", "createdb", "createrole")
    return {key: row[key] for key in wanted} | {
        "major": row["version_number"] // 10000,
        "data_directory": directory,
        "system_identifier": identifier,
    }


# "locale" is a JSON reading because the catalogue's columns changed: daticulocale in 15 and 16,
# datlocale since 17
_DATABASE = """
SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collate, d.datctype AS ctype, d.datconnlimit AS connection_limit,
       coalesce(to_jsonb(d)->>'datlocprovider', 'c') AS provider,
       coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale') AS locale, to_jsonb(d)->>'daticurules' AS icu_rules,
       shobj_description(d.oid, 'pg_database') AS comment, d.datacl IS NOT NULL AS has_privileges,
       (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END AS database_bytes
FROM pg_database d WHERE d.datname = %s"""
_PRIVILEGES = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS role, a.privilege_type AS privilege, a.is_grantable AS grantable,
       pg_get_userbyid(a.grantor) AS grantor
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s ORDER BY 1, 2, 4"""
_SETTINGS = """
SELECT CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END AS role, c.setting
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) WITH ORDINALITY AS c(setting, n)
WHERE d.datname = %s ORDER BY 1, n"""
_ROLES = """
SELECT rolname AS role FROM pg_roles WHERE oid IN (
    SELECT s.refobjid FROM pg_shdepend s JOIN pg_database d ON s.dbid = d.oid OR (s.classid = 'pg_database'::regclass AND s.objid = d.oid)
    WHERE s.refclassid = 'pg_authid'::regclass AND d.datname = %(name)s
    UNION SELECT datdba FROM pg_database WHERE datname = %(name)s
    UNION SELECT r.setrole FROM pg_db_role_setting r JOIN pg_database d ON d.oid = r.setdatabase WHERE d.datname = %(name)s)
AND rolname !~ '^pg_' ORDER BY 1"""


def database_facts(connection: psycopg.Connection, name: str) -> dict | None:
    """What a database is beside its content; None where there is none of that name.

    :return: ``owner encoding collate ctype provider locale icu_rules comment connection_limit
        tablespace database_bytes`` (None where we may not know), ``privileges`` (list of role,
        privilege, grantable, grantor; None where never changed), ``settings`` (list of role,
        setting), ``roles`` (every role that it refers to).
    """
    found = connection.execute(_DATABASE, (name,)).fetchone()
    if found is None:
        return None
    facts = dict(found)
    facts["privileges"] = (
        connection.execute(_PRIVILEGES, (name,)).fetchall() if facts.pop("has_privileges") else None
    )
    facts["settings"] = connection.execute(_SETTINGS, (name,)).fetchall()
    facts["roles"] = [row["role"] for row in connection.execute(_ROLES, {"name": name})]
    return facts


def table_counts(settings: Settings) -> dict[str, int | None]:
    """How many tables of their own the settings' databases have; None where there is no such
    database.
    """
    counts: dict[str, int | None] = {}
    for name in settings.databases:
        with connect_maintenance(settings, name) as connection:
            there = database_facts(connection, name)
        counts[name] = None
        if there:
            with connect(settings, name) as connection:
                counts[name] = connection.execute(
                    """SELECT count(*) AS n FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
                ).fetchone()["n"]
    return counts


def extensions(connection: psycopg.Connection) -> list[dict]:
    """The extensions of the connected database: ``name``, ``version``, ``schema``."""
    return connection.execute(
        "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
    ).fetchall()


def free_bytes(
    settings: Settings, connection: psycopg.Connection, facts: dict, tablespace: str | None = None
) -> int | None:
    """Free bytes where the server keeps its data, or a tablespace; None where nobody can say.

    On this machine the file system is asked (the folders above a data directory may be looked at
    even where it may not). Elsewhere, or in a container, the server is asked to run ``df``, which
    only a superuser may.
    """
    local = settings.db_host in ("localhost", "127.0.0.1", "::1") or settings.db_host.startswith(
        "/"
    )
    directory = facts["data_directory"]
    if tablespace:
        found = connection.execute(
            "SELECT pg_tablespace_location(oid) AS location FROM pg_tablespace WHERE spcname = %s",
            (tablespace,),
        ).fetchone()
        directory = (found["location"] if found else "") or directory
    if local and directory and not settings.db_container:
        for candidate in (directory, os.path.dirname(directory)):
            if os.path.exists(candidate):
                disk = os.statvfs(candidate)
                return disk.f_bavail * disk.f_frsize
    if not facts["superuser"]:
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
            lines = [
                row["line"] for row in connection.execute("SELECT line FROM postgres_backup_df")
            ]
    except psycopg.Error:
        return None  # no df, or managed servers forbid programs: nobody can say
    fields = lines[-1].split() if lines else []
    return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
