"""Before a restore: everything that can be known is found out, and what would fail later is said
now. Nothing is touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg

from ..catalog.backups import Backup, Catalog
from ..errors import BadBackupError, DatabaseError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql import databases, programs, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.facts import database_facts, facts_of, free_bytes
from ..settings import Settings
from ..text import human_bytes
from . import roles

#: room asked for beyond the size the database had: indexes are built through temporary files
SPARE = 1.2
#: how much larger than its object a database is reckoned where nobody noted its size
_UNPACKED = 5


@dataclasses.dataclass
class Plan:
    """What a restore is going to do."""

    backup: Backup
    database: str
    server: dict
    tools: programs.Programs | None
    #: facts of the live database; None where there is none
    live: dict | None
    #: owner, encoding, locale, settings and privileges the restored database gets
    facts: dict
    missing_roles: list[str]
    #: the statements that make them
    role_statements: list[str]
    sessions: int
    needed_bytes: int
    free_bytes: int | None
    findings: list[Finding] = dataclasses.field(default_factory=list)

    def describe(self) -> dict:
        """The part of it that a result tells."""
        return {
            "backup": str(self.backup.name),
            "database": self.database,
            "key": self.backup.key,
            "bytes": self.backup.bytes,
            "rows": (self.backup.manifest or {}).get("rows"),
            "proven": self.backup.proven,
            "replaces": self.live is not None,
            "missing_roles": self.missing_roles,
            "sessions": self.sessions,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
            "findings": self.findings,
        }


def plan(job: Job, wanted: str, beside: bool = True) -> Plan:
    """Find everything out; touch nothing.

    :param wanted: a name as listed, a whole key, or ``latest``.
    :param beside: a second copy is to stand beside the live one, so there must be room for it.
    :param identities: private age keys.
    :raises PostgresBackupError: it would fail; says what to do about it. What the server has
        against it is told all at once.
    """
    backup = Catalog(job.settings, job.store, job.database).resolve(wanted)
    if backup.problem:
        raise BadBackupError(
            f"{backup.name} is not whole: {backup.problem}",
            "Restore another one: postgres-backup list",
            [finding(backup.problem_code, backup.problem)],
        )
    if backup.name.encrypted and not job.identities:
        raise UsageError(
            f"{backup.name} is encrypted and no private key was given",
            "Give the age key file: --identity FILE (Ansible: -e backup_age_identity_file=FILE)",
        )
    findings = _whose(job, backup, wanted)
    found = backup.manifest or {}
    with connect_maintenance(job.settings, job.database) as connection:
        server = facts_of(connection)
        server["superusers"] = tuple(
            row["rolname"]
            for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper")
        )
        live = database_facts(connection, job.database)
        facts, more = _facts_for(found, live, job.settings, connection)
        missing = roles.missing(
            connection, sorted({*found.get("roles", []), *filter(None, [facts["owner"]])})
        )
        against = Objections()
        with against:
            tools = programs.find(job.settings, server["major"])
        made = Plan(
            backup,
            job.database,
            server,
            None if against else tools,
            live,
            facts,
            missing,
            [],
            len(swap.sessions(connection, job.database)),
            int((found.get("database_bytes") or backup.bytes * _UNPACKED) * SPARE),
            free_bytes(job.settings, connection, server, facts["tablespace"]),
            findings + more,
        )
        _object_by_server(made, found, connection, job.settings, against)
        if beside:
            _object_by_rights_and_room(made, connection, job.settings, against)
        elif live is None:
            against.add(
                f"There is no database {job.database} to restore in place",
                "Restore without --in-place: it is made anew",
            )
        with against:
            made.missing_roles, made.role_statements = roles.prepare(
                connection, job.store, found, missing, job.identities, server
            )
        against.raise_all(str(backup.name))
    if not backup.manifest:
        made.findings.append(
            finding(
                "UNPROVEN",
                f"{backup.name} has no manifest: rows cannot be compared with the day it was made",
            )
        )
    return made


def _whose(job: Job, backup: Backup, wanted: str) -> list[dict]:
    """A backup of another database or server is restored only by its whole key: a name alone may be
    a slip of the hand.

    :raises UsageError: only its name was given.
    """
    if backup.candidate:
        return []
    found = backup.manifest or {}
    where = (
        f"the database {found['database']} on {found['server'].get('name') or 'an unknown server'}"
        if found
        else "nobody knows which database"
    )
    if "/" in wanted:
        return [
            finding(
                "FOREIGN_BACKUP",
                f"{backup.name} is a backup of {where}; asked for by its whole key, it goes into {job.database}",
            )
        ]
    raise UsageError(
        f"{backup.name} is a backup of {where}, not of {job.database} on {job.settings.server_name}",
        f"To put it into {job.database} all the same, name it by its whole key: s3://{job.settings.s3_bucket}/{backup.key}",
        [finding("FOREIGN_BACKUP", f"it is a backup of {where}")],
    )


def _facts_for(
    found: dict, live: dict | None, settings: Settings, connection: psycopg.Connection
) -> tuple[dict, list[dict]]:
    """As in the manifest; for backups without one as the live database; for neither, the server's
    defaults. And findings.

    It lies in the live database's tablespace, where there is a live one: that is where this server
    has room for it.
    """
    facts = dict(live) if live else {"owner": settings.db_user, "comment": None}
    if found.get("locale"):
        facts = {
            key: found[key]
            for key in (
                "owner",
                "encoding",
                "comment",
                "connection_limit",
                "settings",
                "privileges",
            )
        } | found["locale"]
    wanted = live["tablespace"] if live else found.get("tablespace")
    there = connection.execute(
        "SELECT t.oid = d.dattablespace AS usual FROM pg_tablespace t, pg_database d WHERE t.spcname = %s AND d.datname = 'template0'",
        (wanted,),
    ).fetchone()
    # the usual one goes without saying: who names it needs a right to it
    facts["tablespace"] = wanted if there and not there["usual"] else None
    if wanted and not there:
        return facts, [
            finding(
                "TABLESPACE_MISSING",
                f"the server has no tablespace {wanted}: the database goes into the default one",
            )
        ]
    return facts, []


class Objections:
    """What stands in the way of a restore, gathered, so that whoever mends one thing does not learn
    of the next only then.
    """

    def __init__(self) -> None:
        self.found: list[DatabaseError] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, message: str, hint: str, findings: Sequence[dict] = ()) -> None:
        self.found.append(DatabaseError(message, hint, list(findings)))

    def __enter__(self) -> Objections:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, DatabaseError):
            return False
        self.found.append(error)
        return True

    def raise_all(self, backup: str) -> None:
        """:raises DatabaseError: there is one; several are numbered, and so are their ways out."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            messages, hints = (
                "; ".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
                for texts in zip(*self._told, strict=True)
            )
            raise DatabaseError(
                f"{len(self.found)} things stand in the way of {backup}: {messages}",
                hints,
                [f for e in self.found for f in e.findings],
            )

    @property
    def _told(self) -> list[tuple[str, str]]:
        return [(error.message, error.hint or "(see above)") for error in self.found]


def _object_by_server(
    made: Plan, found: dict, connection: psycopg.Connection, settings: Settings, against: Objections
) -> None:
    theirs = int((found.get("postgresql_version") or "0").split(".")[0])
    if theirs > made.server["major"]:
        message = f"{made.backup.name} was made by PostgreSQL {theirs}, this server is {made.server['major']}"
        against.add(message, f"Restore it into PostgreSQL {theirs} or newer")
    wanted = [extension["name"] for extension in found.get("extensions", [])]
    there = {
        row["name"]: row["needs_superuser"]
        for row in connection.execute(
            """SELECT a.name, bool_and(v.superuser AND NOT v.trusted) AS needs_superuser FROM pg_available_extensions a
               JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version WHERE a.name = ANY(%s) GROUP BY 1""",
            (wanted,),
        )
    }
    lacking = [name for name in wanted if name not in there]
    if lacking:
        against.add(
            f"The server lacks the extensions {', '.join(lacking)} that the backup needs",
            "Install their packages on the database server, then try again",
        )
    forbidden = [name for name in wanted if there.get(name) and name != "plpgsql"]
    if forbidden and not made.server["superuser"]:
        against.add(
            f"The backup needs the extensions {', '.join(forbidden)}, which only a superuser may create, and {settings.db_user} is none",
            "Restore as a superuser: name one in backup_db_user and backup_db_password (in the config: DB_USER, DB_PASSWORD)",
        )


def _object_by_rights_and_room(
    made: Plan, connection: psycopg.Connection, settings: Settings, against: Objections
) -> None:
    if not made.server["createdb"]:
        against.add(
            f"{settings.db_user} may not create databases, and a restore is loaded beside the live one",
            f'As a superuser: ALTER ROLE "{settings.db_user}" CREATEDB; (or restore in place: backup_restore_in_place: true)',
        )
    with against:
        databases.require_locale(connection, made.facts)
    if made.live:
        with against:
            # the right to create databases was asked for above
            swap.require_renamable(connection, settings, [made.database], createdb=False)
    if made.free_bytes is None:
        made.findings.append(
            finding("DISK_NOT_CHECKED", "nobody could say how much room the database server has")
        )
    elif made.free_bytes < made.needed_bytes:
        against.add(
            f"There is no room for a second copy: {human_bytes(made.needed_bytes)} needed, {human_bytes(made.free_bytes)} free on the database server",
            "Make room, or restore in place, in one transaction: backup_restore_in_place: true (postgres-backup restore --in-place)",
            [finding("DISK_SHORT", f"{made.needed_bytes} bytes needed, {made.free_bytes} free")],
        )
