"""Before a restore: everything that can be known is found out, and what would fail later is said
now. Nothing is touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg

from ..catalog.backups import Backup, Catalog
from ..catalog.manifest import Manifest, major_of
from ..catalog.names import is_latest
from ..errors import BadBackupError, UsageError
from ..findings import Finding, finding
from ..health import clocks
from ..job import Job
from ..postgresql import databases, programs, slots, standby, subscriptions, swap
from ..postgresql.connection import connect, connect_maintenance, rows, values
from ..postgresql.facts import (
    DatabaseFacts,
    ServerFacts,
    database_facts,
    facts_of,
    free_bytes,
)
from ..postgresql.own import own_mark
from ..verify.reader import BackupReader
from . import roles
from .emptying import object_by_owners
from .foreseen import (
    not_as_it_was,
    object_by_extensions,
    object_by_new_roles,
    object_by_rights,
    roles_of,
)
from .objections import Objections
from .plan import Plan
from .room import chosen_bytes, object_by_room, whole_bytes
from .trust import require_power, require_trusted
from .wanted import powerful_settings, wanted_facts


def make_plan(
    job: Job,
    asked: str,
    in_place: bool = False,
    beside: bool = False,
    tables: Sequence[str] = (),
) -> Plan:
    """Find everything out; touch nothing.

    :param asked: a name as listed, a whole key, or ``latest``.
    :param in_place: there will be no side database, which would need room and rights.
    :param beside: the live database will stay live.
    :param tables: only these will be loaded.
    :raises PostgresBackupError: it would fail; says what to do about it. What the server has
        against it is told all at once.
    """
    own = own_mark(job.settings, job.database)
    catalog = Catalog(job.settings, job.store, job.database, own)
    backup = catalog.resolve(asked)
    if backup.name.part and not beside:
        raise UsageError(
            f"{backup.name} is a part of a database, and takes no whole one's place",
            "Bring its tables back: restore FILE --tables TABLE (Ansible: -e tables=TABLE); or "
            "look into it: --as NAME (-e copy_as=NAME)",
        )
    # asked for by its name, a backup that may lack rows of a table is better than none
    lacking = backup.problem_code == "TABLES_REWRITTEN" and not is_latest(asked)
    # what no flag makes good comes first; that a signature is wrong is said in words of its own
    if backup.problem and not lacking and not backup.forged:
        raise BadBackupError(
            f"{backup.name} is not whole: {backup.problem}",
            "Restore another one: postgres-backup list",
            [finding(backup.problem_code, backup.problem)],
        )
    believed = require_trusted(job, catalog, backup)
    if backup.name.encrypted:
        job.require_identities(str(backup.name))
    findings = believed + catalog.unread + _whose(job, backup, asked)
    for found in catalog.unread:
        job.progress.step(f"{found['code']}: {found['message']}")
    if not backup.manifest:
        BackupReader(job, backup).look()
    if lacking:
        findings.append(finding(backup.problem_code, f"{backup.name}: {backup.problem}"))
    if backup.ahead:
        ahead = clocks.told(str(backup.name), backup.dated_at)
        findings.append(finding("BACKUP_FROM_THE_FUTURE", ahead))
    known = _known(backup)
    with connect_maintenance(job.settings, job.database) as connection:
        standby.require_primary(connection, job.settings, f"restore {job.database}")
        server = facts_of(connection)
        live = database_facts(connection, job.database)
        wanted, more = wanted_facts(connection, job.settings, known, live)
        findings += more
        needed = chosen_bytes(job, backup, tables) if tables and live else whole_bytes(backup)
        free = free_bytes(job.settings, connection, server, wanted.tablespace)
        objections = Objections()
        with objections.called("PROGRAMS_ABSENT"):
            tools = programs.find(job.settings, server.major)
        _object_by_server(job, connection, backup, server, objections)
        if not in_place:
            if not beside:
                findings += slots.left_behind(connection, job.database)
                findings += subscriptions.replaced_with(connection, job.database)
            goes = None if beside else live
            _object_by_rights(job, connection, server, goes, wanted, objections)
            findings += object_by_room(needed, free, objections, bool(tables))
            findings += powerful_settings(wanted)
        elif live is None:
            objections.add(
                "DATABASE_ABSENT",
                f"There is no database {job.database} to restore in place",
                "Restore without --in-place: it is made anew",
            )
        else:
            findings += subscriptions.emptied_with(connection, job.database)
            with connect(job.settings, job.database) as inside:
                object_by_owners(inside, job.settings.db_user, objections)
        object_by_rights(connection, job, known, server, objections)
        object_by_extensions(job, known, in_place, objections)
        findings += not_as_it_was(known, job.database)
        missing = roles.missing(connection, roles_of(known, wanted))
        made = roles.Preparation()
        with objections.called("ROLE_ABSENT"):
            made = roles.prepare(connection, job, backup, missing, server)
        object_by_new_roles(connection, job, known, server, made, objections)
        findings += made.findings
        require_power(job, backup, made.findings)
        objections.raise_all(str(backup.name))
        if not backup.manifest:
            findings.append(
                finding(
                    "UNPROVEN",
                    f"{backup.name} has no manifest: "
                    "rows cannot be compared with the day it was made",
                )
            )
        return Plan(
            backup,
            job.database,
            server,
            tuple(values(connection, str, "SELECT rolname FROM pg_roles WHERE rolsuper")),
            tools,
            live,
            wanted,
            made.roles,
            made.statements,
            len(swap.sessions(connection, job.database)),
            needed,
            free,
            tuple(findings),
        )


def _known(backup: Backup) -> Manifest:
    """What its manifest says; of a backup without one only whose name it bears. Of a part, without
    what is the whole database's.
    """
    if backup.manifest and backup.name.part:
        part = backup.manifest.copy()
        part["extensions"], part["rights"], part["shares"] = [], [], []
        part["subscriptions"], part["remote_views"] = [], []
        return part
    return backup.manifest or Manifest(
        name=str(backup.name),
        database="",
        server={},
        bytes=backup.bytes,
        dump_bytes=0,
        rows=0,
        sha256="",
        tables={},
    )


def _whose(job: Job, backup: Backup, asked: str) -> list[Finding]:
    """A backup of another database or server is restored only by its whole key: a name alone may be
    a slip of the hand.

    :raises UsageError: only its name was given.
    """
    if backup.candidate:
        return []
    if backup.whose:
        told = f"{backup.name} is of another server with the name {job.settings.server_name}"
        return [finding("FOREIGN_BACKUP", f"{told} ({backup.whose})")]
    manifest = backup.manifest
    where = "nobody knows which database"
    if manifest:
        server = manifest["server"].get("name") or "an unknown server"
        where = f"the database {manifest['database']} on {server}"
    if "/" in asked:
        return [
            finding(
                "FOREIGN_BACKUP",
                f"{backup.name} is a backup of {where}; "
                f"asked for by its whole key, it goes into {job.database}",
            )
        ]
    raise UsageError(
        f"{backup.name} is a backup of {where}, "
        f"not of {job.database} on {job.settings.server_name}",
        f"To put it into {job.database} all the same, name it by its whole key: "
        f"s3://{job.settings.s3_bucket}/{backup.key}",
        [finding("FOREIGN_BACKUP", f"it is a backup of {where}")],
    )


@dataclasses.dataclass(frozen=True)
class _Available:
    name: str
    needs_superuser: bool


_EXTENSIONS = """
SELECT a.name, bool_and(v.superuser AND NOT v.trusted) AS needs_superuser
FROM pg_available_extensions a
JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
WHERE a.name = ANY(%s) GROUP BY 1"""


def _object_by_server(
    job: Job,
    connection: psycopg.Connection,
    backup: Backup,
    server: ServerFacts,
    objections: Objections,
) -> None:
    known, user = _known(backup), job.settings.db_user
    theirs = major_of(known.get("postgresql_version", ""))
    if theirs > server.major:
        objections.add(
            "VERSION_TOO_NEW",
            f"{backup.name} was made by PostgreSQL {theirs}, this server is {server.major}",
            f"Restore it into PostgreSQL {theirs} or newer",
        )
    wanted = [extension["name"] for extension in known.get("extensions", [])]
    there = {
        extension.name: extension.needs_superuser
        for extension in rows(connection, _Available, _EXTENSIONS, (wanted,))
    }
    lacking = [name for name in wanted if name not in there]
    if lacking:
        objections.add(
            "EXTENSION_ABSENT",
            f"The server lacks the extensions {', '.join(lacking)} that the backup needs",
            "Install their packages on the database server, then try again",
        )
    forbidden = [name for name in wanted if there.get(name) and name != "plpgsql"]
    if forbidden and not server.superuser:
        objections.add(
            "RESTORE_NEEDS_RIGHTS",
            f"The backup needs the extensions {', '.join(forbidden)}, "
            f"which only a superuser may create, and {user} is none",
            "Restore as a superuser: name one in backup_db_user and backup_db_password "
            "(in the config: DB_USER, DB_PASSWORD)",
        )


def _object_by_rights(
    job: Job,
    connection: psycopg.Connection,
    server: ServerFacts,
    live: DatabaseFacts | None,
    wanted: DatabaseFacts,
    objections: Objections,
) -> None:
    user = job.settings.db_user
    if not server.createdb:
        objections.add(
            "RESTORE_NEEDS_RIGHTS",
            f"{user} may not create databases, and a restore is loaded beside the live one",
            f'As a superuser: ALTER ROLE "{user}" CREATEDB; '
            "(or restore in place: backup_restore_in_place: true)",
        )
    with objections.called("LOCALE_ABSENT"):
        databases.require_locale(connection, wanted)
    if live:
        with objections.called("SWAP_IMPOSSIBLE"):
            # the right to create databases was asked for above
            swap.require_renamable(connection, job.settings, [job.database], createdb=False)
