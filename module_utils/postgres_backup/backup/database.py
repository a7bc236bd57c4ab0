"""Take a backup: pg_dump -> inspector -> compression (-> encryption) -> parts -> S3 -> manifest.

The upload is completed only after pg_dump ended well and the dump's end was seen, so an object
under a backup's name is whole, always. The manifest comes last.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

import psycopg

from ..catalog import begun, dated, journal, manifest, remembered, signed
from ..catalog.backups import layout_for
from ..catalog.manifest import GlobalsRecord, MemberRecord
from ..catalog.names import BackupName
from ..catalog.path_needs import findings_of
from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError
from ..findings import Finding, each_once, finding
from ..health import clocks, housekeeping, outcome
from ..job import Job
from ..machine import identity, lock, signals
from ..postgresql import killed_runs, programs, standby
from ..postgresql.belongings import shares
from ..postgresql.connection import connect, connect_maintenance, value
from ..postgresql.facts import (
    DatabaseFacts,
    Extension,
    ServerFacts,
    database_facts,
    extensions,
    server_facts,
)
from ..postgresql.pg_dump import Dump, VanishedError, dump_globals
from ..postgresql.requirements import MayNot, Requirements, may_not, requirements
from ..postgresql.rewritten import rewritten_since, why_it_failed
from ..postgresql.tables import all_tables
from ..s3 import calls
from ..s3.errors import may_fail
from ..s3.upload import NameTaken
from ..stream.codec import Chain
from ..text import human_bytes, human_seconds
from . import path_needs, sweep
from .contents import Taken, manifest_of
from .cuts import large_tables
from .path_needs import PathNeeds
from .place import Place
from .pump import pump
from .rows import look_for_rows

#: how often a dump begins anew because a table was dropped, or its name was taken, meanwhile
MOST_DROPPED = MOST_TAKEN = 2
#: findings of a backup that is not to be the newest good one
_NOT_GOOD = {"TABLES_REWRITTEN", "BACKUP_FROM_THE_FUTURE"}


class _Planned(TypedDict):
    changed: bool
    backup: str
    database: str
    key: str
    findings: list[Finding]


class BackupResult(_Planned, total=False):
    """A backup; of one that is only planned (``check``) no more is known than the first five.

    ``tables`` says how many have rows in it; ``bytes`` and ``sha256`` are the object's,
    ``dump_bytes`` those before compression.
    """

    taken_at: str
    bytes: int
    dump_bytes: int
    rows: int
    tables: int
    seconds: float
    sha256: str


def create_backup(
    job: Job,
    tables: Sequence[str] = (),
    schema_only: bool = False,
    emptied: Sequence[str] = (),
    look_back: bool = True,
) -> BackupResult:
    """Back up one database.

    :param tables: patterns as for ``pg_dump --table``; the result is a partial backup.
    :param schema_only: definitions without rows; a partial backup too.
    :param emptied: tables that have lost all of their rows, and are meant to; see
        ``rows_gone.named``.
    :param look_back: see whether all rows of a table are gone; the caller does it otherwise.
    :raises PostgresBackupError: there is no backup; what the store keeps of it all the same is
        among the error's findings, and removed by the next.
    """
    part = ".".join(filter(None, ["+".join(tables), "schema" if schema_only else ""]))
    if job.check:
        place = _prepare(job, part).place_at(utc_now())
        return {
            "changed": True,
            "backup": place.label,
            "database": job.database,
            "key": place.key,
            "findings": [],
        }
    # a part that fails is nobody's alarm; whoever asked for it hears of it
    with outcome.noted(
        job.settings, "backup", job.database, alarm=not part, again=job.again
    ) as note:
        run = _prepare(job, part)
        with lock.hold(job.settings, job.database, "backup"):
            result = run.go(tables, schema_only)
        if not _NOT_GOOD & {found["code"] for found in result["findings"]}:
            note.good = {"backup": result["backup"], "taken_at": result["taken_at"]}
        if not part:
            since = identity.since(job.settings, run.mark) or result["taken_at"]
            result["findings"] += identity.remember(job.settings, run.mark, since)
            result["findings"] += housekeeping.note(job.settings, job.database, result["findings"])
        if not part and (look_back or emptied):
            result["findings"] += look_for_rows(job, run.mark, emptied)
        result["findings"] = each_once(result["findings"])
        return result


def _prepare(job: Job, part: str) -> _Run:
    """See that all is there that a backup takes; nothing is touched."""
    job.require(may_list=False)
    server = server_facts(job.settings, job.database)
    return _Run(job, programs.find(job.settings, server.major), server, part)


class _Run:
    """One backup under way."""

    def __init__(self, job: Job, tools: programs.Programs, server: ServerFacts, part: str) -> None:
        self.job, self.tools, self.server, self.part = job, tools, server, part
        self.layout = layout_for(job.settings, job.database)
        self.may_not: list[MayNot] = []
        #: the key of what is being written; empty so far
        self.begun = ""
        self.unlogged: list[Finding] = []
        #: what was found of runs that were killed
        self.left: list[Finding] = []

    @property
    def mark(self) -> identity.Mark:
        return identity.mark_of(self.server.system_identifier, self.server.started)

    def go(self, tables: Sequence[str], schema_only: bool) -> BackupResult:
        job, began = self.job, time.monotonic()
        self.left += sweep.sweep(job, job.database, self.layout.root)
        written: list[str] = []
        try:
            place, taken = self._take_under_a_name(tables, schema_only, written)
            described = manifest_of(job, taken, time.monotonic() - began)
            unsigned = self._describe(place, manifest.dump(described))
            signals.defer()  # it is there: nothing that comes now takes it back
        except BaseException as error:
            sweep.take_back(job, job.database, error, written, self.begun)
            raise
        self.left += begun.ended(job.settings, job.database, self.begun)
        result: BackupResult = {
            "changed": True,
            "backup": place.label,
            "database": job.database,
            "taken_at": format_timestamp(place.name.taken_at),
            "key": place.key,
            "bytes": taken.stored.bytes,
            "dump_bytes": taken.report.bytes,
            "rows": described["rows"],
            "tables": len(described["tables"]),
            "seconds": round(time.monotonic() - began, 1),
            "sha256": taken.sha256,
            "findings": [*taken.report.findings, *unsigned, *self.left],
        }
        if taken.rewritten:
            lost = manifest.may_lack_rows(taken.rewritten)
            result["findings"].append(finding("TABLES_REWRITTEN", lost))
        result["findings"] += self.unlogged + clocks.findings_of(job.store)
        modified = taken.stored.modified
        if modified and dated.is_ahead(place.name.taken_at, modified):
            ahead = clocks.told(place.label, modified)
            result["findings"].append(finding("BACKUP_FROM_THE_FUTURE", ahead))
        result["findings"] += [
            finding("RESTORE_NEEDS_RIGHTS", f"{why.message}. {why.hint}")
            for why in (self.may_not if not self.part else [])
        ]
        result["findings"] += findings_of(taken.path_needs.needs) + taken.path_needs.findings()
        noted = ("backup", "database", "bytes", "dump_bytes", "rows", "seconds")
        event = {name: fact for name, fact in result.items() if name in noted}
        result["findings"] += journal.record(
            job.store, self.layout, place.name.taken_at, "backup", event
        )
        result["findings"] += job.store.take_refused()
        job.progress.step(lines(result)[0])
        return result

    def _take_under_a_name(
        self, tables: Sequence[str], schema_only: bool, written: list[str]
    ) -> tuple[Place, Taken]:
        """:meth:`_take_again`, and again under another name where one could not be claimed and
        somebody else has written it.
        """
        taken_by_others = 0
        while True:
            place = self._claim()
            try:
                return place, self._take_again(place, tables, schema_only, written)
            except NameTaken as error:
                taken_by_others += 1
                if taken_by_others > MOST_TAKEN:
                    raise
                told = f"{self.job.database}: {error.message}; the dump begins anew"
                self.job.progress.step(told)

    def _describe(self, place: Place, described: bytes) -> list[Finding]:
        """The manifest into the bucket, signed, and what is signed remembered."""
        findings = signed.put(self.job.store, calls.DESCRIBE, place.manifest, described)
        if findings or self.part:
            return findings
        sha256 = hashlib.sha256(described).hexdigest()
        return remembered.note(self.job.settings, self.job.database, place.manifest, sha256)

    def place_at(self, taken_at: datetime) -> Place:
        """Where a backup of that time lies."""
        settings = self.job.settings
        encrypted = bool(settings.age_recipients)
        name = BackupName.of(taken_at, settings.format, settings.compression, encrypted)
        return Place(self.layout, name, self.part)

    def _claim(self) -> Place:
        """A place that nobody has, and that nobody takes at the same time."""
        store = self.job.store

        def taken(at: datetime) -> bool:
            place = self.place_at(at)
            return any(store.head(key, calls.IS_TAKEN) for key in (place.key, place.manifest))

        about = {"database": self.job.database}
        place = self.place_at(journal.claim(store, self.layout, journal.BEGAN, about, taken))
        one = place.begun(sure=journal.is_claimed(store))
        if self.begun:
            begun.ended(self.job.settings, self.job.database, self.begun)
        self.begun = one["key"]
        self.left += begun.note(self.job.settings, self.job.database, one)
        return place

    def _take_again(
        self, place: Place, tables: Sequence[str], schema_only: bool, written: list[str]
    ) -> Taken:
        """:meth:`_take`, and again from a new snapshot where tables were rewritten (once) or
        dropped (twice at most) before pg_dump had them.
        """
        last, dropped = False, 0
        while True:
            try:
                return self._take(place, tables, schema_only, written, last)
            except _RewrittenError as error:
                last, why = True, manifest.may_lack_rows(error.tables)
            except VanishedError as error:
                dropped += 1
                if dropped > MOST_DROPPED:
                    raise
                why = error.message
            self.job.progress.step(f"{self.job.database}: {why}; the dump begins anew")

    def _take(
        self,
        place: Place,
        tables: Sequence[str],
        schema_only: bool,
        written: list[str],
        last: bool,
    ) -> Taken:
        """Everything but the manifest.

        :param written: gets the keys of what is in the store, and of the manifest that comes next.
        :param last: there is no other try: take it as it is.
        :raises _RewrittenError: another try may show all rows; nothing is in the store.
        """
        job, saved = self.job, None
        rewritten: frozenset[str] = frozenset()
        needs = PathNeeds()
        with connect(job.settings, job.database, "REPEATABLE_READ") as connection:
            snapshot, database, extended, required = self._look(connection)
            belonging, names = shares(connection), all_tables(connection)
            dump = Dump(
                self.tools,
                job.database,
                job.settings.format,
                snapshot,
                tables,
                schema_only,
                database.encoding,
            )
            if job.settings.format == "plain" and not job.settings.age_recipients:
                dump.inspector.large = large_tables(connection)
            members: list[MemberRecord] = []
            expected = database.database_bytes or 0  # whoever may connect may know it
            job.progress.phase(
                f"dumping {job.database}", f" ({human_bytes(expected)}) to {place.label}"
            )

            def comes() -> None:
                """pg_dump has its locks, and its own hold of the snapshot."""
                nonlocal rewritten, needs
                rewritten = rewritten_since(connection, job.settings, job.database)
                if rewritten and not self.part and not last:
                    raise _RewrittenError(rewritten)
                if not self.part:
                    needs = path_needs.look(job, snapshot)
                connection.close()

            with job.store.upload(place.key, expected) as upload:
                try:
                    members = pump(job, dump, upload, comes)
                except DatabaseError as error:
                    if self.server.standby:
                        error = standby.explained(error)
                    raise why_it_failed(connection, job.settings, job.database, error) from None
                rewritten &= dump.report.tables.keys()
                if rewritten and not last:
                    raise _RewrittenError(rewritten)
                roles = b"" if self.part else self._dump_globals()
                stored = upload.complete()
                # an unsigned manifest would do less harm than a signed one of nothing
                written += [place.key, place.manifest + signed.SUFFIX, place.manifest]
                # only now: before, the name might have been somebody else's
                if roles:
                    saved = self._save_globals(place, roles, written)
        return Taken(
            place,
            self.server,
            self.tools.version,
            database,
            extended,
            dump.report,
            stored,
            upload.sha256,
            upload.parts,
            saved,
            required,
            belonging,
            names,
            sorted(rewritten),
            needs,
            members,
        )

    def _look(
        self, connection: psycopg.Connection
    ) -> tuple[str, DatabaseFacts, list[Extension], Requirements]:
        """A snapshot for pg_dump to share, and the facts of the database as of then.

        A server may end transactions that are idle or long; this one is both until pg_dump has
        taken the snapshot over.
        """
        connection.execute(
            """
            SELECT set_config(name, '0', false) FROM pg_settings
            WHERE name ~ '^(statement|lock|transaction|idle.*session)_timeout$'"""
        )
        snapshot = value(connection, str, "SELECT pg_export_snapshot()")
        # what all databases share is stored in the encoding of whoever wrote it; it is asked where
        # a restore writes it, for in a database of another encoding its letters are others
        with connect_maintenance(self.job.settings, self.job.database, True) as maintenance:
            facts = database_facts(maintenance, self.job.database)
            self._note(killed_runs.end(maintenance))
        if facts is None:
            raise DatabaseError(f"The database {self.job.database} is gone", "Back up again")
        required = requirements(connection)
        self.unlogged = standby.left_out(connection) if self.server.standby else []
        if not self.server.superuser:
            self.may_not = may_not(connection, self.job.settings.db_user, required.rights)
        return snapshot, facts, extensions(connection), required

    def _note(self, found: list[Finding]) -> None:
        """Tell of what a run that was killed has left."""
        self.left += found
        for one in found:
            self.job.progress.step(f"{self.job.database}: {one['code']}: {one['message']}")

    def _dump_globals(self) -> bytes:
        """Roles and memberships, as they will lie beside the backup; empty where we may not read
        them. Password hashes only where we may read those.
        """
        superuser = self.server.superuser
        with may_fail(self.job.store.refused, calls.ROLES):
            text = dump_globals(self.tools, self.job.database, passwords=superuser)
            chain = Chain("gzip", self.job.settings.age_recipients)
            return chain.write(text) + chain.finish()
        return b""

    def _save_globals(self, place: Place, data: bytes, written: list[str]) -> GlobalsRecord | None:
        """:param written: gets the key.
        :return: None where the store does not keep them.
        """
        key = self.layout.globals(place.name)
        written.append(key)
        with may_fail(self.job.store.refused):
            self.job.store.put(calls.ROLES, key, data)
            return {
                "key": key,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "passwords": self.server.superuser,
            }
        return None


class _RewrittenError(Exception):
    """Tables were rewritten between the snapshot and the lock."""

    def __init__(self, tables: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(tables)))
        self.tables = sorted(tables)


def lines(result: BackupResult) -> list[str]:
    """:func:`create_backup` for a person; the first line is what the log ends with."""
    if "bytes" not in result:
        return [f"{result['database']}: {result['key']} would be made"]
    return [
        (
            f"{result['database']}: {result['backup']} is in the bucket: {result['rows']} rows in "
            f"{result['tables']} tables, {human_bytes(result['dump_bytes'])} as "
            f"{human_bytes(result['bytes'])}, {human_seconds(result['seconds'])}"
        ),
        *(found["message"] for found in result["findings"]),
    ]
