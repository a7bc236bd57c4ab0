"""The proof that a backup is whole: read to its end, compared with its manifest, written down."""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog import manifest
from ..catalog.backups import Backup
from ..catalog.manifest import Manifest, Proof
from ..clock import format_timestamp, utc_now
from ..errors import BadBackupError
from ..findings import Finding, finding
from ..job import Job
from ..stream.inspector import Inspector, Report
from ..stream.other_tools import HINTS, rows_alone
from .contents import Contents
from .reader import BackupReader
from .saved_roles import saved_roles


def require_whole(backup: Backup, report: Report) -> None:
    """What was read must have an end, and be what the manifest says.

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
        differences = manifest.differences(backup.manifest["tables"], manifest.tables_of(report))
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


def prove(job: Job, backup: Backup, contents: Contents | None = None) -> Manifest:
    """The manifest of a backup that was read to its end, with this proof added; a new one where it
    had none.

    :param contents: gets to know whose dump it is.
    :raises BadBackupError: it is not whole, or the roles beside it are not what was saved.
    """
    job.progress.phase(f"reading {backup.name}")
    inspector = contents or Inspector()
    reader = BackupReader(job, backup)
    reader.feed(inspector.feed, lambda: inspector.current_table)
    if contents:
        contents.archive(reader.head)
    report = inspector.finish()
    require_whole(backup, report)
    saved_roles(job, backup)
    if inspector.rows_alone:
        raise rows_alone(inspector.rows_alone)
    proof: Proof = {
        "kind": "verify",
        "at": format_timestamp(utc_now()),
        "by": job.settings.server_name,
    }
    known = backup.manifest or _manifest_of(backup, job.database, report, reader.sha256)
    others = [other for other in known.get("proofs", []) if other["kind"] != "verify"]
    return {**known, "proofs": [*others, proof]}


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
        "proofs": [],
    }
