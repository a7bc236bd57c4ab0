"""Bring a backup back: load it beside the live database, prove it, swap it in; the old one is kept.

Until the swap the live database does not notice. Whatever fails before it leaves nothing behind.
"""

from __future__ import annotations

import dataclasses
import time

import psycopg

from . import in_place, journal, lock, manifest, postgres, programs, replaced, roles
from .catalog import Backup, Catalog
from .dump import Dump
from .errors import BadBackupError, DatabaseError, PostgresBackupError, UsageError
from .inspector import Report
from .load import Load
from .names import utc_now
from .progress import Progress, human_bytes, human_seconds
from .proof import require_whole
from .settings import Settings
from .source import Source
from .store import Store

#: room asked for beyond the size the database had: indexes are built through temporary files
SPARE = 1.2


@dataclasses.dataclass
class Plan:
    """Everything found out before anything is touched."""

    backup: Backup
    database: str
    server: dict
    tools: programs.Programs
    #: facts of the live database; None where there is none
    live: dict | None
    #: owner, encoding, locale, settings and privileges the restored database gets
    facts: dict
    missing_roles: list[str]
    sessions: int
    needed_bytes: int
    free_bytes: int | None
    findings: list[dict] = dataclasses.field(default_factory=list)

    def describe(self) -> dict:
        return {
            "backup": str(self.backup.name),
            "database": self.database,
            "key": self.backup.key,
            "bytes": self.backup.bytes,
            "rows": (self.backup.manifest or {}).get("rows"),
            "replaces": self.live is not None,
            "missing_roles": self.missing_roles,
            "sessions": self.sessions,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
            "findings": self.findings,
        }


def plan(settings: Settings, store: Store, wanted: str, database: str, beside: bool = True) -> Plan:
    """Find everything out; touch nothing.

    :param beside: a second copy is to stand beside the live one, so there must be room for it.
    :raises PostgresBackupError: it would fail; says what to do about it.
    """
    backup = Catalog(settings, store, database).resolve(wanted)
    if backup.problem:
        raise BadBackupError(
            f"{backup.name} is not whole: {backup.problem}", "Restore another one: postgres-backup list", [{"code": "SIZE_DIFFERS", "message": backup.problem}]
        )
    found = backup.manifest or {}
    with postgres.connect_maintenance(settings, database) as connection:
        server = postgres.facts_of(connection)
        live = postgres.database_facts(connection, database)
        tools = programs.find(settings, server["major"])
        facts = _facts_for(found, live, settings)
        made = Plan(
            backup,
            database,
            server,
            tools,
            live,
            facts,
            roles.missing(connection, sorted({*found.get("roles", []), *filter(None, [facts["owner"]])})),
            len(postgres.sessions(connection, database)),
            int((found.get("database_bytes") or backup.bytes * 5) * SPARE),
            postgres.free_bytes(settings, connection, server),
        )
        _refuse(made, found, connection, settings, beside)
    if not backup.manifest:
        made.findings.append({"code": "UNPROVEN", "message": f"{backup.name} has no manifest: rows cannot be compared with the day it was made"})
    return made


def _facts_for(found: dict, live: dict | None, settings: Settings) -> dict:
    """As in the manifest; for backups without one as the live database; for neither, the server's defaults."""
    if found.get("locale"):
        return {key: found[key] for key in ("owner", "encoding", "comment", "connection_limit", "settings", "privileges")} | found["locale"]
    return live or {"owner": settings.db_user, "comment": None}


def _refuse(made: Plan, found: dict, connection: psycopg.Connection, settings: Settings, beside: bool) -> None:
    """Everything that would fail later is said now."""
    theirs = int((found.get("postgresql_version") or "0").split(".")[0])
    if theirs > made.server["major"]:
        raise DatabaseError(
            f"{made.backup.name} was made by PostgreSQL {theirs}, this server is {made.server['major']}", f"Restore it into PostgreSQL {theirs} or newer"
        )
    available = {row["name"] for row in connection.execute("SELECT name FROM pg_available_extensions")}
    lacking = [e["name"] for e in found.get("extensions", []) if e["name"] not in available]
    if lacking:
        raise DatabaseError(
            f"The server lacks the extensions {', '.join(lacking)} that the backup needs", "Install their packages on the database server, then try again"
        )
    if beside and not made.server["createdb"]:
        raise DatabaseError(
            f"{settings.db_user} may not create databases, and a restore is loaded beside the live one",
            f'As a superuser: ALTER ROLE "{settings.db_user}" CREATEDB; (or restore in place: backup_restore_in_place: true)',
        )
    if beside and made.free_bytes is not None and made.free_bytes < made.needed_bytes:
        raise DatabaseError(
            f"There is no room for a second copy: {human_bytes(made.needed_bytes)} needed, {human_bytes(made.free_bytes)} free on the database server",
            "Make room, or restore in place, in one transaction: backup_restore_in_place: true (postgres-backup restore --in-place)",
        )
    if made.free_bytes is None:
        made.findings.append({"code": "DISK_NOT_CHECKED", "message": "nobody could say how much room the database server has"})


def restore(
    settings: Settings,
    backup: str,
    database: str = "",
    check: bool = False,
    in_place_wanted: bool | None = None,
    identities: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> dict:
    """The database becomes what it was in that backup.

    :param backup: a name as listed, or ``latest``.
    :param in_place_wanted: load inside the live database in one transaction; None: as the settings say.
    :param check: the plan, nothing applied.
    :param identities: private age keys.
    :return: ``backup database key bytes rows seconds sha256 kept_database downtime_seconds findings changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    inside = settings.restore_in_place if in_place_wanted is None else in_place_wanted
    if not backup:
        raise UsageError("Which backup?", "Name one of `postgres-backup list`, or latest")
    store = Store(settings)
    store.check()
    made = plan(settings, store, backup, database, beside=not inside)
    if check:
        with postgres.connect_maintenance(settings, database) as connection:
            kept = None if inside or not made.live else replaced.kept_name(connection, database, utc_now())
        return made.describe() | {"changed": True, "kept_database": kept, "in_place": inside}
    with lock.hold(settings, database, "restore"):
        began = time.monotonic()
        layout = Catalog(settings, store, database).layout
        try:
            outcome = (in_place.replace if inside else _replace)(settings, store, made, identities, progress)
        except PostgresBackupError as error:
            journal.record(store, layout, utc_now(), "restore-failed", {"backup": str(made.backup.name), "database": database, "reason": error.message})
            raise
        result = made.describe() | outcome | {"changed": True, "in_place": inside, "seconds": round(time.monotonic() - began, 1)}
        noted = {key: result[key] for key in ("backup", "database", "rows", "seconds", "downtime_seconds", "kept_database")}
        result["findings"] = result["findings"] + journal.record(store, layout, utc_now(), "restore", noted)
    progress.step(
        f"{database}: restored from {result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}, "
        f"unreachable for {result['downtime_seconds']:.2f} s"
        + (f"; the database as it was is kept as {result['kept_database']}" if result["kept_database"] else "")
    )
    return result


def _replace(settings: Settings, store: Store, made: Plan, identities: tuple[str, ...], progress: Progress) -> dict:
    side, facts = load_beside(settings, store, made, identities, progress)
    try:
        return facts | swap_in(settings, made, side, progress)
    except BaseException:
        discard(settings, made.database, side)
        raise


def load_beside(settings: Settings, store: Store, made: Plan, identities: tuple[str, ...], progress: Progress) -> tuple[str, dict]:
    """Fill and prove a side database.

    :return: its name, and ``rows sha256 findings``.
    :raises PostgresBackupError: the backup is not what it should be, or does not load; the side database is gone.
    """
    side = replaced.side_name(made.database, utc_now())
    with postgres.connect_maintenance(settings, made.database) as connection:
        for leftover in replaced.leftovers(connection, made.database):
            progress.step(f"{made.database}: removing {leftover}, left by a restore that did not end")
            postgres.drop_database(connection, leftover)
        made_roles = roles.create(connection, store, made.backup.manifest or {}, made.missing_roles, identities, made.server["superuser"])
        if made_roles:
            progress.step(f"{made.database}: created the roles {', '.join(made_roles)}")
        postgres.create_database(connection, side, made.facts, replaced.side_comment(made.database, str(made.backup.name)))
    try:
        progress.phase(f"loading {made.backup.name} into {side}")
        source = Source(store, made.backup, made.tools, identities, progress)
        with Load(made.tools, side) as load:
            source.feed(load.feed, lambda: load.guard.current_table)
            report = load.inspect()
            require_whole(made.backup, report)
            load.finish()
        with postgres.connect(settings, side) as connection:
            progress.phase(f"gathering statistics of {side}")
            connection.execute("ANALYZE")
        with postgres.connect_maintenance(settings, made.database) as connection:
            postgres.dress_database(connection, side, made.facts | {"comment": replaced.side_comment(made.database, str(made.backup.name))})
        findings = _prove(made, side, report, progress)
    except BaseException:
        discard(settings, made.database, side)
        raise
    return side, {"rows": sum(t.rows for t in report.tables.values()), "sha256": source.sha256, "findings": made.findings + findings}


def _prove(made: Plan, side: str, report: Report, progress: Progress) -> list[dict]:
    """Dump the side database through the same inspector: what went in must come out, row by row.

    Where there is no manifest, the dump may have been written under other settings (time zone, floats), so
    only rows are compared; where there are only INSERT statements, nothing can be.
    """
    progress.phase(f"comparing {side} with the backup")
    dump = Dump(made.tools, side)
    for chunk in dump.chunks():
        progress.advance(len(chunk), lambda: dump.inspector.current_table)
    went_in, came_out = manifest.tables_of(report), manifest.tables_of(dump.report)
    if not went_in:
        return [{"code": "ROWS_NOT_COMPARED", "message": "the dump has its rows as INSERT statements; psql loaded them without an error"}] if came_out else []
    if not made.backup.manifest:
        for name, table in came_out.items():
            table["sha256"] = went_in.get(name, table)["sha256"]
    differences = manifest.differences(went_in, came_out)
    if differences:
        raise BadBackupError(
            f"The restored database is not what went in: {differences[0]['message']}",
            "The live database is untouched. Please report this with the server's log",
            differences,
        )
    expected = (made.backup.manifest or {}).get("schema_sha256")
    same_major = (made.backup.manifest or {}).get("postgresql_version", "").split(".")[0] == str(made.server["major"])
    if expected and same_major and expected != dump.report.schema_sha256:
        return [
            {
                "code": "SCHEMA_DIFFERS",
                "message": "all rows are equal, but the definitions read differently (another minor version, or extensions of another version)",
            }
        ]
    return []


def discard(settings: Settings, database: str, side: str) -> None:
    """Remove a side database that will not be used."""
    with postgres.connect_maintenance(settings, database) as connection:
        postgres.drop_database(connection, side)


def swap_in(settings: Settings, made: Plan, side: str, progress: Progress) -> dict:
    """Put the side database in the live one's place, in one transaction.

    :return: ``kept_database`` (None where there was none), ``downtime_seconds``.
    """
    now = utc_now()
    progress.step(f"{made.database}: swapping")
    began = time.monotonic()
    with postgres.connect_maintenance(settings, made.database) as connection:
        live = postgres.database_facts(connection, made.database)
        kept = replaced.kept_name(connection, made.database, now) if live else None
    renames = ([(made.database, kept)] if kept else []) + [(side, made.database)]
    comments = {made.database: made.facts.get("comment")}
    if kept:
        comments[kept] = replaced.kept_comment(made.database, now, f"restore of {made.backup.name}", live["comment"])
    postgres.swap(settings, renames, comments)
    return {"kept_database": kept, "downtime_seconds": round(time.monotonic() - began, 3) if kept else 0.0}


def undo(settings: Settings, database: str = "", kept: str = "", check: bool = False, progress: Progress | None = None) -> dict:
    """Swap the database that a restore replaced back in; the restored one is kept in turn, so an undo can be undone.

    :param kept: which one; empty: the newest.
    :return: ``database kept_database restored_database downtime_seconds findings changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    now = utc_now()
    with postgres.connect_maintenance(settings, database) as connection:
        chosen = replaced.choose(connection, settings, database, kept)
        live = postgres.database_facts(connection, database)
        new_kept = replaced.kept_name(connection, database, now) if live else None
    result = {"changed": True, "database": database, "restored_database": chosen["name"], "kept_database": new_kept, "findings": []}
    if check:
        return result | {"downtime_seconds": 0.0}
    with lock.hold(settings, database, "undo-restore"):
        began = time.monotonic()
        comments = {database: chosen["comment"]}
        if live:
            comments[new_kept] = replaced.kept_comment(database, now, f"undo, which brought {chosen['name']} back", live["comment"])
        postgres.swap(settings, ([(database, new_kept)] if live else []) + [(chosen["name"], database)], comments)
        downtime = round(time.monotonic() - began, 3)
    progress.step(
        f"{database}: {chosen['name']} is live again, unreachable for {downtime:.2f} s" + (f"; the one it replaced is kept as {new_kept}" if new_kept else "")
    )
    return result | {"downtime_seconds": downtime}
