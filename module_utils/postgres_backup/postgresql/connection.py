"""The PostgreSQL server: questions, roles and databases. Data goes through pg_dump and psql instead.

Identifiers are composed by psycopg, never pasted. Every connection speaks UTC, so that what is
compared between two servers does not depend on their time zones.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ..errors import DatabaseError
from ..settings import Settings

#: longest identifier in bytes (NAMEDATALEN - 1)
MAX_IDENTIFIER = 63
MAINTENANCE_DATABASES = ("postgres", "template1")
#: whatever the server, the role or the database say by default: our work is neither cut short nor read-only, and times are UTC
OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "TimeZone=UTC",
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_in_transaction_session_timeout=0",
        "default_transaction_read_only=off",
    )
)


@contextmanager
def connect(settings: Settings, database: str, isolation: str = "") -> Iterator[psycopg.Connection]:
    """A connection with rows as dicts; autocommit unless an isolation level is named.

    :raises DatabaseError: the server cannot be reached or refuses; says what to check.
    """
    try:
        connection = psycopg.connect(
            host=settings.db_host,
            port=settings.db_port,
            user=settings.db_user,
            password=settings.db_password or None,
            dbname=database,
            connect_timeout=10,
            application_name="postgres-backup",
            options=OPTIONS,
            autocommit=True,
            row_factory=dict_row,
        )
    except psycopg.OperationalError as error:
        raise _explained(settings, database, error) from None
    try:
        # newer majors only, so they cannot stand in OPTIONS
        connection.execute("SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')")
        if isolation:
            connection.autocommit = False
            connection.isolation_level = psycopg.IsolationLevel[isolation]
        yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"Failed to work in the database {database!r}: {first_line(error)}") from error
    finally:
        connection.close()


@contextmanager
def connect_maintenance(settings: Settings, database: str) -> Iterator[psycopg.Connection]:
    """A connection to a database beside ``database``, from which that one can be made, renamed and dropped.

    :raises DatabaseError: there is none that we may connect to.
    """
    refused: DatabaseError | None = None
    for name in MAINTENANCE_DATABASES:
        if name == database:
            continue
        try:
            context = connect(settings, name)
            connection = context.__enter__()
        except DatabaseError as error:
            if error.message.startswith(("Failed to reach", "Failed to log in")):
                raise  # no other database of that server would let us in
            refused = refused or error
            continue
        try:
            yield connection
        except psycopg.Error as error:
            raise DatabaseError(f"Failed to work on the database {database!r}: {first_line(error)}") from error
        finally:
            connection.close()
        return
    raise DatabaseError(
        f"Failed to connect beside {database!r}: {refused.message if refused else 'no other database'}",
        f'{settings.db_user} needs to connect to the database postgres: GRANT CONNECT ON DATABASE postgres TO "{settings.db_user}";',
    )


def first_line(error: BaseException) -> str:
    """What PostgreSQL said, on one line and without our connection's address."""
    diagnostic = getattr(getattr(error, "diag", None), "message_primary", None)
    text = diagnostic or next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^.*?(FATAL|ERROR):\s*", "", text.strip())


def _explained(settings: Settings, database: str, error: psycopg.OperationalError) -> DatabaseError:
    text, where = str(error), f"{settings.db_host}:{settings.db_port}"
    said = first_line(error)
    if "password authentication failed" in text or "no password supplied" in text:
        return DatabaseError(f"Failed to log in to PostgreSQL at {where} as {settings.db_user}: {said}", "Check backup_db_user and backup_db_password")
    if "no pg_hba.conf entry" in text:
        return DatabaseError(f"Failed to log in to PostgreSQL at {where}: {said}", "Let this machine in: add a line to the server's pg_hba.conf")
    if re.search(r'database ".*" does not exist', text, re.DOTALL):
        return DatabaseError(f"Failed to open the database {database!r} at {where}: it does not exist", "Check backup_db_name")
    if "starting up" in text or "shutting down" in text or "in recovery" in text:
        return DatabaseError(f"Failed to reach PostgreSQL at {where}: {said}", "Wait until it is up, then try again")
    if "permission denied" in text or "CONNECT privilege" in text:
        return DatabaseError(
            f"Failed to open the database {database!r}: {said}", f'As its owner: GRANT CONNECT ON DATABASE "{database}" TO "{settings.db_user}";'
        )
    return DatabaseError(f"Failed to reach PostgreSQL at {where}: {said}", "Is it running? Check backup_db_host and backup_db_port")


def server_facts(settings: Settings, database: str = "") -> dict:
    """What the server is and what our user may do there.

    :return: ``version`` ("16.3"), ``version_number`` (160003), ``major`` (16), ``superuser`` ``createdb`` ``createrole`` (bool), ``data_directory`` (or ""),
        ``system_identifier`` (or "").
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
    directory = connection.execute("SELECT current_setting('data_directory') AS d").fetchone()["d"] if row["may_see"] else ""
    identifier = connection.execute("SELECT system_identifier::text AS i FROM pg_control_system()").fetchone()["i"] if row["may_identify"] else ""
    wanted = ("version", "version_number", "superuser", "createdb", "createrole")
    return {key: row[key] for key in wanted} | {"major": row["version_number"] // 10000, "data_directory": directory, "system_identifier": identifier}


# "locale" is a JSON reading because the catalogue's columns changed: daticulocale in 15 and 16, datlocale since 17
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

    :return: ``owner encoding collate ctype provider locale icu_rules comment connection_limit tablespace database_bytes`` (None where we may not know),
        ``privileges`` (list of role, privilege, grantable, grantor; None where never changed), ``settings`` (list of role, setting), ``roles`` (every
        role that it refers to).
    """
    found = connection.execute(_DATABASE, (name,)).fetchone()
    if found is None:
        return None
    facts = dict(found)
    facts["privileges"] = connection.execute(_PRIVILEGES, (name,)).fetchall() if facts.pop("has_privileges") else None
    facts["settings"] = connection.execute(_SETTINGS, (name,)).fetchall()
    facts["roles"] = [row["role"] for row in connection.execute(_ROLES, {"name": name})]
    return facts


def table_counts(settings: Settings) -> dict[str, int | None]:
    """How many tables of their own the settings' databases have; None where there is no such database."""
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


def shorten(name: str, tail: str) -> str:
    """``name + tail``, the name cut so that both fit into an identifier (bytes, at a letter's border)."""
    room = MAX_IDENTIFIER - len(tail.encode())
    return name.encode()[:room].decode(errors="ignore") + tail


def free_bytes(settings: Settings, connection: psycopg.Connection, facts: dict, tablespace: str | None = None) -> int | None:
    """Free bytes where the server keeps its data, or a tablespace; None where nobody can say.

    On this machine the file system is asked (the folders above a data directory may be looked at even where it may
    not). Elsewhere, or in a container, the server is asked to run ``df``, which only a superuser may.
    """
    local = settings.db_host in ("localhost", "127.0.0.1", "::1") or settings.db_host.startswith("/")
    directory = facts["data_directory"]
    if tablespace:
        found = connection.execute("SELECT pg_tablespace_location(oid) AS location FROM pg_tablespace WHERE spcname = %s", (tablespace,)).fetchone()
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
            connection.execute("CREATE TEMPORARY TABLE postgres_backup_df (line text) ON COMMIT DROP")
            command = f"df -Pk -- {shlex.quote(directory or '.')}"
            connection.execute(sql.SQL("COPY postgres_backup_df FROM PROGRAM {}").format(sql.Literal(command)))
            lines = [row["line"] for row in connection.execute("SELECT line FROM postgres_backup_df")]
    except psycopg.Error:
        return None  # no df, or managed servers forbid programs: nobody can say
    fields = lines[-1].split() if lines else []
    return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
