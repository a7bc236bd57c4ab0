"""Take a backup: pg_dump -> inspector -> compression (-> encryption) -> parts -> S3 -> manifest.

The upload is completed only after pg_dump ended well and the dump's end was seen, so an object
under a backup's name is whole, always. The manifest comes last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypedDict

import psycopg

from ..catalog import journal, manifest
from ..catalog.backups import layout_for
from ..catalog.names import BackupName, Layout
from ..clock import format_timestamp, utc_now
from ..errors import DatabaseError, PostgresBackupError, StoreError
from ..findings import Finding, finding
from ..health import outcome
from ..job import Job
from ..machine import lock, signals
from ..machine.carried import Carried
from ..postgresql import programs
from ..postgresql.connection import connect, value
from ..postgresql.facts import (
    DatabaseFacts,
    Extension,
    ServerFacts,
    database_facts,
    extensions,
    server_facts,
)
from ..postgresql.pg_dump import Dump, dump_globals
from ..s3.store import HASTY, Store
from ..stream.channel import Channel
from ..stream.codec import Chain
from ..text import human_bytes, human_seconds

#: hours after which an unfinished upload under our prefix cannot be anybody's work any more
STALE_UPLOAD_HOURS = 24


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


def create_backup(job: Job, tables: Sequence[str] = (), schema_only: bool = False) -> BackupResult:
    """Back up one database.

    :param tables: patterns as for ``pg_dump --table``; the result is a partial backup.
    :param schema_only: definitions without rows; a partial backup too.
    :raises PostgresBackupError: nothing is left in the bucket under a backup's name.
    """
    what = ".".join(filter(None, ["+".join(tables), "schema" if schema_only else ""]))
    if job.check:
        run = _prepare(job, what)
        name = BackupName.of(
            utc_now(),
            job.settings.format,
            job.settings.compression,
            bool(job.settings.age_recipients),
        )
        return {
            "changed": True,
            "backup": _label(run.layout, name, what),
            "database": job.database,
            "key": _key(run.layout, name, what),
            "findings": [],
        }
    # a partial backup that fails is nobody's trouble but that of whoever asked for it
    with outcome.noted(job.settings, "backup", job.database, alarm=not what) as note:
        run = _prepare(job, what)
        with lock.hold(job.settings, job.database, "backup"):
            result = run.go(tables, schema_only)
        note.good = {"backup": result["backup"], "taken_at": result["taken_at"]}
        return result


def _prepare(job: Job, what: str) -> _Run:
    """See that all is there that a backup takes; nothing is touched."""
    job.require()
    server = server_facts(job.settings, job.database)
    return _Run(job, programs.find(job.settings, server.major), server, what)


class _Run:
    """One backup under way."""

    def __init__(self, job: Job, tools: programs.Programs, server: ServerFacts, what: str) -> None:
        self.job, self.tools, self.server, self.what = job, tools, server, what
        self.layout = layout_for(job.settings, job.database)

    def go(self, tables: Sequence[str], schema_only: bool) -> BackupResult:
        began = time.monotonic()
        swept = self.job.store.sweep_uploads(self.layout.root, STALE_UPLOAD_HOURS)
        if swept:
            self.job.progress.step(
                f"{self.job.database}: removed {swept} unfinished uploads of earlier runs"
            )
        name = self._claim_name()
        key, manifest_key = _key(self.layout, name, self.what), self._manifest_key(name)
        globals_facts = stored = None
        try:
            with connect(self.job.settings, self.job.database, "REPEATABLE_READ") as connection:
                snapshot, facts, extended = self._look(connection)
                expected = facts.database_bytes or 0  # whoever may connect may know it
                dump = Dump(
                    self.tools,
                    self.job.database,
                    self.job.settings.format,
                    snapshot,
                    tables,
                    schema_only,
                )
                self.job.progress.phase(
                    f"dumping {self.job.database}",
                    f" ({human_bytes(expected)}) to {_label(self.layout, name, self.what)}",
                )
                with self.job.store.upload(key, expected) as upload:
                    self._pump(dump, upload, connection.close)
                    globals_facts = None if self.what else self._save_globals(name)
                    stored = upload.complete()
            report = dump.report
            found = self._manifest(
                name,
                facts,
                extended,
                report,
                stored,
                upload.sha256,
                globals_facts,
                time.monotonic() - began,
            )
            self.job.store.put(manifest_key, manifest.dump(found), "application/json")
        except BaseException as error:
            self._take_back(
                error,
                ([key, manifest_key] if stored else [])
                + ([globals_facts["key"]] if globals_facts else []),
            )
            raise
        seconds = round(time.monotonic() - began, 1)
        result: BackupResult = {
            "changed": True,
            "backup": found["name"],
            "database": self.job.database,
            "taken_at": found["started_at"],
            "key": stored.key,
            "bytes": stored.bytes,
            "dump_bytes": report.bytes,
            "rows": found["rows"],
            "tables": len(found["tables"]),
            "seconds": seconds,
            "sha256": upload.sha256,
            "findings": list(report.findings),
        }
        noted = {
            key: result[key]
            for key in ("backup", "database", "bytes", "dump_bytes", "rows", "seconds")
        }
        result["findings"] += journal.record(
            self.job.store, self.layout, name.taken_at, "backup", noted
        )
        self.job.progress.step(
            f"{self.job.database}: {result['backup']} is in the bucket: {found['rows']} rows in {len(found['tables'])} tables, "
            f"{human_bytes(report.bytes)} as {human_bytes(stored.bytes)}, {human_seconds(seconds)}"
        )
        return result

    def _claim_name(self) -> BackupName:
        """A name that nobody has, and that nobody takes at the same time."""

        def taken(at: datetime) -> bool:
            keys = (
                _key(self.layout, self._name(at), self.what),
                self._manifest_key(self._name(at)),
            )
            return any(self.job.store.head(key) for key in keys)

        facts = {"database": self.job.database}
        return self._name(journal.claim(self.job.store, self.layout, journal.BEGAN, facts, taken))

    def _name(self, taken_at: datetime) -> BackupName:
        s = self.job.settings
        return BackupName.of(taken_at, s.format, s.compression, bool(s.age_recipients))

    def _manifest_key(self, name: BackupName) -> str:
        return (
            _key(self.layout, name, self.what) + ".json"
            if self.what
            else self.layout.manifest(name)
        )

    def _look(self, connection: psycopg.Connection) -> tuple[str, DatabaseFacts, list[Extension]]:
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
        facts = database_facts(connection, self.job.database)
        if facts is None:  # we are in it
            raise DatabaseError(f"The database {self.job.database} is gone", "Back up again")
        return snapshot, facts, extensions(connection)

    def _pump(self, dump: Dump, upload, begun: Callable[[], None]) -> None:
        """Dump and inspect in this thread, compress and upload in another, a few chunks apart.

        :param begun: called once the dump comes, and so has its own hold of the snapshot.
        """
        chain = Chain(
            self.job.settings.compression if self.job.settings.format == "plain" else "none",
            self.job.settings.age_recipients,
        )
        with (
            _Sink(chain, upload) as sink,
            contextlib.closing(dump.chunks()) as chunks,
        ):  # left in the middle, pg_dump ends first
            for number, chunk in enumerate(chunks):
                if number == 0:
                    begun()
                sink.put(chunk)
                self.job.progress.advance(len(chunk), lambda: dump.inspector.current_table)
            sink.finish()

    def _take_back(self, error: BaseException, keys: Sequence[str]) -> None:
        """Delete what a run that failed has already written.

        A store that no longer answers keeps it: whole, but without a manifest.
        """
        store = Store(self.job.settings, patience=HASTY)
        for key in keys:
            try:
                store.delete([key])
            except StoreError as refused:
                if isinstance(error, PostgresBackupError):
                    error.findings.append(finding("LEFT_BEHIND", f"{key}: {refused.message}"))

    def _save_globals(self, name: BackupName) -> dict:
        """Roles and memberships, beside the backup. Password hashes only where we may read them."""
        text = dump_globals(self.tools, self.job.database, passwords=self.server.superuser)
        chain = Chain("gzip", self.job.settings.age_recipients)
        data = chain.write(text) + chain.finish()
        key = self.layout.globals(name)
        self.job.store.put(key, data)
        return {"key": key, "bytes": len(data), "passwords": self.server.superuser}

    def _manifest(
        self,
        name: BackupName,
        facts: DatabaseFacts,
        extended: Sequence[Extension],
        report,
        stored,
        sha256: str,
        globals_facts: dict | None,
        seconds: float,
    ) -> dict:
        tables = manifest.tables_of(report)
        s = self.job.settings
        return {
            "name": _label(self.layout, name, self.what),
            "database": self.job.database,
            "server": {
                "name": s.server_name,
                "host": s.db_host,
                "port": s.db_port,
                "container": s.db_container,
                "system_identifier": self.server.system_identifier,
            },
            "started_at": format_timestamp(name.taken_at),
            "ended_at": format_timestamp(utc_now()),
            "seconds": round(seconds, 1),
            "postgresql_version": self.server.version,
            "pg_dump_version": self.tools.version,
            "encoding": facts.encoding,
            "locale": {
                "provider": facts.provider,
                "collate": facts.collate,
                "ctype": facts.ctype,
                "locale": facts.locale,
                "icu_rules": facts.icu_rules,
            },
            "owner": facts.owner,
            "comment": facts.comment,
            "connection_limit": facts.connection_limit,
            "tablespace": facts.tablespace,
            "extensions": [dataclasses.asdict(extension) for extension in extended],
            "roles": list(facts.roles),
            "settings": [dataclasses.asdict(setting) for setting in facts.settings],
            "privileges": None
            if facts.grants is None
            else [dataclasses.asdict(grant) for grant in facts.grants],
            "format": name.format,
            "compression": name.compression,
            "encryption": {"kind": "age", "recipients": list(s.age_recipients)}
            if s.age_recipients
            else None,
            "partial": self.what,
            "bytes": stored.bytes,
            "dump_bytes": report.bytes,
            "database_bytes": facts.database_bytes,
            "sha256": sha256,
            "dump_sha256": report.sha256,
            "schema_sha256": report.schema_sha256,
            "globals": globals_facts,
            "rows": sum(table["rows"] for table in tables.values()),
            "large_objects": report.large_objects,
            "tables": tables,
            "proofs": [],
        }


class _Sink:
    """Compression and upload in a thread; what goes wrong there is raised here."""

    #: bytes of dump that may wait for the thread
    WAITING = 4 * 1024 * 1024

    def __init__(self, chain: Chain, upload) -> None:
        self._chain, self._upload, self._failure = chain, upload, Carried()
        self._channel = Channel(self.WAITING)
        self._thread = threading.Thread(target=self._work, name="compress-and-upload", daemon=True)

    def _work(self) -> None:
        while chunk := self._channel.get():
            if self._failure.error is None:
                with self._failure:
                    self._upload.write(self._chain.write(chunk))

    def put(self, chunk) -> None:
        self._failure.check()
        self._channel.put(chunk)

    def finish(self) -> None:
        self._stop()
        self._failure.check()
        self._upload.write(self._chain.finish())

    def _stop(self) -> None:
        self._channel.end()
        self._thread.join()

    def __enter__(self) -> _Sink:
        with signals.hold:
            self._thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        if (
            kind is not None
        ):  # else the thread would wait for a store that is silent as long as one that is wanted
            self._upload.give_up()
        self._stop()


def _label(layout: Layout, name: BackupName, what: str) -> str:
    """The last part of the key: what a listing shows."""
    return _key(layout, name, what).rsplit("/", 1)[-1]


def _key(layout: Layout, name: BackupName, what: str) -> str:
    return layout.partial(name, what) if what else layout.backup(name)


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
