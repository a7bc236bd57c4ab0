"""The PostgreSQL server: questions, roles and databases. Data goes through pg_dump and psql instead.

Identifiers are composed by psycopg, never pasted. Every connection speaks UTC, so that what is
compared between two servers does not depend on their time zones.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from .errors import DatabaseError
from .settings import Settings

#: longest identifier in bytes (NAMEDATALEN - 1)
MAX_IDENTIFIER = 63
MAINTENANCE_DATABASES = ("postgres", "template1")


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
            options="-c TimeZone=UTC",
            autocommit=not isolation,
            row_factory=dict_row,
        )
    except psycopg.OperationalError as error:
        raise _explained(settings, database, error) from None
    try:
        if isolation:
            connection.isolation_level = psycopg.IsolationLevel[isolation]
        yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"Failed to work in the database {database!r}: {first_line(error)}") from error
    finally:
        connection.close()


@contextmanager
def connect_maintenance(settings: Settings, database: str) -> Iterator[psycopg.Connection]:
    """A connection to a database beside ``database``, from which that one can be made, renamed and dropped."""
    refused: DatabaseError | None = None
    for name in MAINTENANCE_DATABASES:
        try:
            context = connect(settings, name)
            connection = context.__enter__()
        except DatabaseError as error:
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
        f"{settings.db_user} needs to connect to the database postgres: GRANT CONNECT ON DATABASE postgres TO {settings.db_user};",
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
       shobj_description(d.oid, 'pg_database') AS comment, pg_database_size(d.oid) AS database_bytes, d.datacl IS NOT NULL AS has_privileges
FROM pg_database d WHERE d.datname = %s"""
_PRIVILEGES = """
SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS role, a.privilege_type AS privilege, a.is_grantable AS grantable
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = %s ORDER BY 1, 2"""
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

    :return: ``owner encoding collate ctype provider locale icu_rules comment connection_limit database_bytes``, ``privileges`` (list of role, privilege,
        grantable; None where never changed), ``settings`` (list of role, setting), ``roles`` (every role that it refers to).
    """
    found = connection.execute(_DATABASE, (name,)).fetchone()
    if found is None:
        return None
    facts = dict(found)
    facts["privileges"] = connection.execute(_PRIVILEGES, (name,)).fetchall() if facts.pop("has_privileges") else None
    facts["settings"] = connection.execute(_SETTINGS, (name,)).fetchall()
    facts["roles"] = [row["role"] for row in connection.execute(_ROLES, {"name": name})]
    return facts


def extensions(connection: psycopg.Connection) -> list[dict]:
    """The extensions of the connected database: ``name``, ``version``, ``schema``."""
    return connection.execute(
        "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
    ).fetchall()


def create_database(connection: psycopg.Connection, name: str, facts: dict, comment: str) -> None:
    """An empty database with the owner, encoding and locale in ``facts`` (see :func:`database_facts`).

    :raises DatabaseError: a grant is missing; the hint is the statement to run.
    """
    options = [sql.SQL("TEMPLATE template0")]
    if facts.get("owner"):
        options.append(sql.SQL("OWNER {}").format(sql.Identifier(facts["owner"])))
    for word, key in (("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        if facts.get(key):
            options.append(sql.SQL(f"{word} {{}}").format(sql.Literal(facts[key])))
    provider = {"i": "icu", "b": "builtin"}.get(facts.get("provider") or "c")
    if provider:
        options.append(sql.SQL(f"LOCALE_PROVIDER {provider}"))
        if facts.get("locale"):
            options.append(sql.SQL(f"{'ICU' if provider == 'icu' else 'BUILTIN'}_LOCALE {{}}").format(sql.Literal(facts["locale"])))
        if facts.get("icu_rules"):
            options.append(sql.SQL("ICU_RULES {}").format(sql.Literal(facts["icu_rules"])))
    try:
        connection.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(options)))
    except psycopg.errors.InsufficientPrivilege as error:
        user = connection.info.user
        said = first_line(error)
        grant = f'GRANT "{facts.get("owner")}" TO "{user}";' if "SET ROLE" in said or "member of role" in said else f'ALTER ROLE "{user}" CREATEDB;'
        raise DatabaseError(f"Failed to create the database {name!r}: {said}", f"As a superuser: {grant}") from None
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))


def dress_database(connection: psycopg.Connection, name: str, facts: dict) -> None:
    """Give a database the settings, privileges, connection limit and comment in ``facts``, in one transaction."""
    database = sql.Identifier(name)
    with connection.transaction():
        if facts.get("privileges") is not None:
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            for grant in facts["privileges"]:
                grantee = sql.Identifier(grant["role"]) if grant["role"] else sql.SQL("PUBLIC")
                option = sql.SQL(" WITH GRANT OPTION" if grant["grantable"] else "")
                connection.execute(sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(sql.SQL(grant["privilege"]), database, grantee, option))
        for entry in facts.get("settings") or []:
            variable, _, value = entry["setting"].partition("=")
            whom = (
                sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(entry["role"]), database)
                if entry["role"]
                else sql.SQL("ALTER DATABASE {}").format(database)
            )
            connection.execute(
                sql.SQL("{} SET {} TO {}").format(whom, sql.SQL(".").join(map(sql.Identifier, variable.split("."))), _setting_value(variable, value))
            )
        if facts.get("connection_limit", -1) >= 0:
            connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, sql.Literal(facts["connection_limit"])))
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(facts.get("comment"))))


#: settings whose value is a list of identifiers; pg_dump treats these the same way (variable_is_guc_list_quote in its dumputils.c)
_LIST_SETTINGS = frozenset(
    ("local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories")
)


def _setting_value(variable: str, value: str) -> sql.Composable:
    if variable.lower() not in _LIST_SETTINGS:
        return sql.Literal(value)
    items = [match[0] if match[0].startswith('"') else match[0].strip() for match in re.finditer(r'"(?:[^"]|"")*"|[^,\s][^,]*', value)]
    return sql.SQL(", ").join(sql.Literal(item[1:-1].replace('""', '"') if item.startswith('"') else item) for item in items) if items else sql.Literal("")


def drop_database(connection: psycopg.Connection, name: str) -> None:
    """Remove a database and whoever is in it. No error where there is none."""
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def sessions(connection: psycopg.Connection, name: str) -> list[dict]:
    """Who is connected to a database, we excepted: ``pid``, ``user``, ``application``, ``address``."""
    return connection.execute(
        """SELECT pid, usename AS user, application_name AS application, coalesce(client_addr::text, 'local') AS address
           FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1""",
        (name,),
    ).fetchall()


class Ejector(threading.Thread):
    """Closes the connections to a database, again and again, until told to stop.

    A pool connects anew as soon as it is cut off, so once is not enough. While a rename waits for its lock,
    newcomers wait at the door, and this makes room for it.
    """

    def __init__(self, settings: Settings, name: str, spare_application: str = "") -> None:
        super().__init__(daemon=True, name="ejector")
        self.settings, self.target, self.closed, self.error = settings, name, 0, None
        self._spare = spare_application
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            with connect_maintenance(self.settings, self.target) as connection:
                while not self._ended.wait(0.02):
                    rows = connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND application_name <> %s",
                        (self.target, self._spare),
                    ).fetchall()
                    self.closed += len(rows)
        except DatabaseError as error:
            self.error = error

    def stop(self) -> None:
        self._ended.set()
        self.join()


def swap(settings: Settings, renames: list[tuple[str, str]], comments: dict[str, str | None]) -> None:
    """Rename databases in order, all or none, in one transaction, after closing the connections to them.

    A rename takes an exclusive lock on its database first, so that nobody new gets in, and waits up to five
    seconds for those who are inside (CountOtherDBBackends in PostgreSQL's procarray.c); the ejector sees to it that they leave. Killed at
    any moment, it leaves the names as they were.

    :param renames: pairs of (name now, name then).
    :param comments: new comments by the name after the renames.
    :raises DatabaseError: somebody could not be made to leave, or a right is missing; nothing was renamed.
    """
    ejectors = [Ejector(settings, old) for old, _ in renames]
    with connect_maintenance(settings, renames[0][0]) as connection:
        for ejector in ejectors:
            ejector.start()
        try:
            with connection.transaction():
                for old, new in renames:
                    connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
                for name, comment in comments.items():
                    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
        except psycopg.errors.ObjectInUse as error:
            cause = next((e.error.message for e in ejectors if e.error), first_line(error))
            raise DatabaseError(
                f"Failed to swap the databases: {cause}",
                f'Close the connections (stop the application), or let us: GRANT pg_signal_backend TO "{settings.db_user}"; then try again',
            ) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"Failed to swap the databases: {first_line(error)}",
                f'As a superuser: ALTER ROLE "{settings.db_user}" CREATEDB; and make it a member of the owner',
            ) from None
        finally:
            for ejector in ejectors:
                ejector.stop()


def shorten(name: str, tail: str) -> str:
    """``name + tail``, the name cut so that both fit into an identifier (bytes, at a letter's border)."""
    room = MAX_IDENTIFIER - len(tail.encode())
    return name.encode()[:room].decode(errors="ignore") + tail


def free_bytes(settings: Settings, connection: psycopg.Connection, facts: dict) -> int | None:
    """Free bytes where the server keeps its data; None where nobody can say.

    On this machine the file system is asked (the folders above a data directory may be looked at even where it may
    not). Elsewhere, or in a container, the server is asked to run ``df``, which only a superuser may.
    """
    local = settings.db_host in ("localhost", "127.0.0.1", "::1") or settings.db_host.startswith("/")
    directory = facts["data_directory"]
    if local and directory and not settings.db_container:
        for candidate in (directory, os.path.dirname(directory)):
            if os.path.exists(candidate):
                found = os.statvfs(candidate)
                return found.f_bavail * found.f_frsize
    if not facts["superuser"]:
        return None
    try:
        with connection.transaction():
            connection.execute("CREATE TEMPORARY TABLE postgres_backup_df (line text) ON COMMIT DROP")
            connection.execute("COPY postgres_backup_df FROM PROGRAM 'df -Pk .'")
            lines = [row["line"] for row in connection.execute("SELECT line FROM postgres_backup_df")]
    except psycopg.Error:
        return None  # no df, or managed servers forbid programs: nobody can say
    fields = lines[-1].split() if lines else []
    return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdigit() else None
