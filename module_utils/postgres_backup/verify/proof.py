"""The proof that a backup is whole: read to its end, compared with its manifest, written down."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from ..catalog import manifest, proofs, remembered, signed
from ..catalog.backups import Backup
from ..catalog.manifest import Manifest
from ..catalog.proofs import Kind
from ..clock import format_timestamp, utc_now
from ..errors import BadBackupError, StoreError
from ..findings import Finding, finding
from ..job import Job
from ..s3 import calls
from ..settings import S3_MAX_PARTS
from ..stream.inspector import Inspector, Report
from ..stream.other_tools import HINTS, rows_alone
from .contents import Contents
from .pieces import Cutter
from .reader import BackupReader, read_stored
from .saved_roles import saved_roles


def require_whole(backup: Backup, report: Report, unread: Collection[str] = ()) -> None:
    """What was read must have an end, and be what the manifest says.

    :param unread: tables whose rows were passed over.

    :raises BadBackupError: with a finding per difference.
    """
    if not report.complete:
        findings = report.findings or [finding("TRAILER_MISSING", "the dump has no end")]
        raise BadBackupError(
            f"{backup.name} {_wrong(findings)}",
            next(
                (HINTS[known["code"]] for known in findings if known["code"] in HINTS),
                "Restore another one: postgres-backup list",
            ),
            findings,
        )
    if backup.manifest:
        known = backup.manifest["tables"]
        expected = {name: table for name, table in known.items() if name not in unread}
        differences = manifest.differences(expected, manifest.tables_of(report))
        if differences:
            raise BadBackupError(
                f"{backup.name} is not what its manifest says: {differences[0]['message']}",
                "Restore another one: postgres-backup list",
                differences,
            )


def _wrong(findings: Sequence[Finding]) -> str:
    """What is to be said first: most of what follows from it is found too."""
    codes = [known["code"] for known in findings]
    if "CLUSTER_DUMP" in codes:
        return "holds a whole server, not one database"
    if "SEVERAL_DUMPS" in codes:
        return "holds several dumps, one behind the other"
    if "HEADER_MISSING" in codes and "TRAILER_MISSING" in codes:
        return "is no dump of pg_dump: neither its beginning nor its end is there"
    if codes == ["HEADER_MISSING"]:
        return "is cut: the beginning of the dump is missing"
    if "TRAILER_NOT_LAST" in codes:
        return "is not one dump: something follows its end"
    return "is cut: the end of the dump is missing"


def prove(
    job: Job, backup: Backup, contents: Contents | None = None, anew: bool = False
) -> Manifest:
    """The manifest of a backup that was read to its end; a new one where it had none.

    :param contents: gets to know whose dump it is.
    :param anew: it will be written again, so it is to be as those of today, with pieces.
    :raises BadBackupError: it is not whole, or the roles beside it are not what was saved.
    """
    job.progress.phase(f"reading {backup.name}")
    inspector = contents or Inspector()
    known = backup.manifest
    cutter = Cutter(backup.bytes) if known is None or "parts" not in known else None
    reader = BackupReader(job, backup, cutter=cutter)
    reader.feed(inspector.feed, lambda: inspector.current_table)
    if contents:
        contents.archive(reader.head)
    report = inspector.finish()
    require_whole(backup, report)
    roles = saved_roles(job, backup)
    if inspector.rows_alone:
        raise rows_alone(inspector.rows_alone)
    if known and not anew:
        return known
    described = known or _manifest_of(backup, job.database, report, reader.sha256)
    described = {**described, "schema": manifest.SCHEMA}
    described.pop("proofs", None)
    if cutter and len(parts := cutter.parts()) <= S3_MAX_PARTS:
        described["parts"] = parts
    if anew and (saved := described.get("globals")):
        # roles that are gone are vouched for by nobody, whoever puts some there later
        described["globals"] = (
            {**saved, "sha256": hashlib.sha256(roles).hexdigest()} if roles is not None else None
        )
    return described


def note(
    job: Job, backup: Backup, described: Manifest, vouch: bool = False, kind: Kind = "read"
) -> list[Finding]:
    """Write down that a backup was read to its end; before that its manifest, where it is another
    than the one that lies there.

    :param described: from :func:`prove`.
    :param vouch: sign the manifest too: this server says that the backup is to be believed.
    :param kind: how it was proven.
    :return: what could not be signed.
    """
    findings: list[Finding] = []
    sha256 = backup.manifest_sha256
    if vouch or described != backup.manifest:
        data = manifest.dump(described)
        sha256 = hashlib.sha256(data).hexdigest()
        key = backup.layout.manifest(backup.name)
        if vouch:
            findings += signed.put(job.store, calls.PROOF, key, data)
            if not findings:
                findings += remembered.note(job.settings, job.database, key, sha256)
        else:
            job.store.delete([key + signed.SUFFIX])
            job.store.put(calls.PROOF, key, data, "application/json")
    at = utc_now()
    return findings + proofs.write(
        job.store, backup.layout, backup.name, described, sha256, kind, at
    )


def note_restored(job: Job, backup: Backup) -> list[Finding]:
    """Write down that a backup was restored, and every row came out as it went in.

    What has happened has happened: a store that refuses the note makes a finding.
    """
    if not backup.manifest or not backup.good:
        return []
    try:
        return proofs.write(
            job.store,
            backup.layout,
            backup.name,
            backup.manifest,
            backup.manifest_sha256,
            "restored",
            utc_now(),
        )
    except StoreError as error:
        return [finding("PROOF_NOT_WRITTEN", error.message)]


def prove_stored(job: Job, backup: Backup) -> None:
    """Read the object of a backup that nobody here can look into: each byte is what was uploaded.

    :raises BadBackupError: it is cut, altered, or swapped for another object.
    """
    job.progress.phase(f"reading {backup.name}")
    read_stored(job, backup)


def note_stored(job: Job, backup: Backup) -> list[Finding]:
    """Write down :func:`prove_stored`, which proves less than to have read the dump.

    :return: what could not be signed.
    :raises StoreError: it could not be written.
    """
    if backup.manifest is None:
        return []
    known, sha256 = backup.manifest, backup.manifest_sha256
    return proofs.write(job.store, backup.layout, backup.name, known, sha256, "stored", utc_now())


def _manifest_of(backup: Backup, database: str, report: Report, sha256: str) -> Manifest:
    """For a backup that came without one; what only its maker could know is None or empty.

    That it is whole does not say whose it is: it stays unclaimed until ``adopt``.
    """
    tables = manifest.tables_of(report)
    return {
        "name": str(backup.name),
        "database": database,
        "server": {"name": ""},
        "adopted": False,
        "started_at": format_timestamp(backup.taken_at),
        "ended_at": None,
        "seconds": None,
        "postgresql_version": report.server_version,
        "pg_dump_version": report.program_version,
        "format": backup.name.format,
        "compression": backup.name.compression,
        "encryption": {"kind": "age", "recipients": []} if backup.name.encrypted else None,
        "partial": "",
        "bytes": backup.bytes,
        "dump_bytes": report.bytes,
        "sha256": sha256,
        "dump_sha256": report.sha256,
        "schema_sha256": report.schema_sha256,
        "globals": None,
        "rows": sum(table["rows"] for table in tables.values()),
        "large_objects": report.large_objects,
        "tables": tables,
    }
