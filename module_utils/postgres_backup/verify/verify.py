"""Read a backup to its end and say whether it is what its manifest says, and write that down; for
one without a readable manifest, write that too.
"""

from __future__ import annotations

import time
from typing import TypedDict

from ..catalog.backups import Backup, Catalog
from ..catalog.names import is_latest
from ..catalog.signed import forged
from ..errors import BadBackupError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.own import own_mark
from ..text import human_seconds
from .proof import note, prove

#: what is wrong with a backup that can be read to its end all the same
_READABLE = ("MANIFEST_DAMAGED", "TABLES_REWRITTEN")


class Verified(TypedDict):
    """A backup that is whole; ``changed``: this is its first proof."""

    changed: bool
    backup: str
    database: str
    key: str
    bytes: int
    dump_bytes: int
    rows: int
    seconds: float
    sha256: str
    findings: list[Finding]


def verify_backup(job: Job, backup: str) -> Verified:
    """Download, decrypt, decompress and inspect a backup, without a database.

    A job that only plans reads it all the same, but writes no proof.

    :param backup: a name, a key, or ``latest``.
    :raises BadBackupError: it is cut, altered or not what its manifest says.
    """
    job.require()
    began = time.monotonic()
    own = own_mark(job.settings, job.database) if is_latest(backup) else None
    catalog = Catalog(job.settings, job.store, job.database, own)
    chosen = catalog.resolve(backup)
    if chosen.forged:
        # a damaged manifest too: a new one would make of what is forged something to be adopted
        raise forged(
            str(chosen.name),
            chosen.standing,
            "postgres-backup list shows the others. And ask who else has a key to the bucket",
        )
    if chosen.problem and chosen.problem_code not in _READABLE:
        raise BadBackupError(
            f"{chosen.name} is not what its manifest says: {chosen.problem}",
            "postgres-backup list shows the others",
            [finding(chosen.problem_code, chosen.problem)],
        )
    proven = prove(job, chosen)
    # of a part no proof is kept: nothing leans on it
    unsigned = [] if job.check or chosen.name.part else note(job, chosen, proven)
    result: Verified = {
        "changed": not chosen.proven and not chosen.name.part,
        "backup": str(chosen.name),
        "database": proven["database"],
        "key": chosen.key,
        "bytes": chosen.bytes,
        "dump_bytes": proven["dump_bytes"],
        "rows": proven["rows"],
        "seconds": round(time.monotonic() - began, 1),
        "sha256": proven["sha256"],
        "findings": catalog.unread + _findings(job, chosen) + unsigned,
    }
    job.progress.step(lines(result)[0])
    return result


def _findings(job: Job, chosen: Backup) -> list[Finding]:
    """What was known to be wrong before it was read."""
    if not chosen.problem:
        return []
    if chosen.problem_code != "MANIFEST_DAMAGED":
        return [finding(chosen.problem_code, chosen.problem)]
    told = f"{chosen.problem}; it has a new one"
    return [] if job.check else [finding(chosen.problem_code, told)]


def lines(result: Verified) -> list[str]:
    """:func:`verify_backup` for a person; the first line is what the log ends with."""
    return [
        (
            f"{result['database']}: {result['backup']} is whole: {result['rows']} rows, "
            f"read to its end in {human_seconds(result['seconds'])}"
        ),
        *(finding["message"] for finding in result["findings"]),
    ]
