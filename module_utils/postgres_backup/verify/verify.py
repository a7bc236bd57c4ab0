"""Read a backup to its end and say whether it is what its manifest says; for one without a readable
manifest, write it.
"""

from __future__ import annotations

import time

from ..catalog import manifest
from ..catalog.backups import Catalog
from ..errors import BadBackupError
from ..findings import finding
from ..job import Job
from ..text import human_seconds
from .proof import prove


def verify_backup(job: Job, backup: str) -> dict:
    """Download, decrypt, decompress and inspect a backup, without a database.

    In check mode it is read all the same, but no proof is written.

    :return: ``backup database key bytes dump_bytes rows seconds sha256 findings changed``.
    :raises BadBackupError: it is cut, altered or not what its manifest says.
    """
    job.require()
    began = time.monotonic()
    chosen = Catalog(job.settings, job.store, job.database).resolve(backup)
    if chosen.problem and chosen.problem_code != "MANIFEST_DAMAGED":
        raise BadBackupError(
            f"{chosen.name} is not what its manifest says: {chosen.problem}",
            "postgres-backup list shows the others",
            [finding(chosen.problem_code, chosen.problem)],
        )
    found = prove(job, chosen)
    if not job.check:
        job.store.put(chosen.layout.manifest(chosen.name), manifest.dump(found), "application/json")
    seconds = round(time.monotonic() - began, 1)
    job.progress.step(
        f"{job.database}: {chosen.name} is whole: {found['rows']} rows, "
        f"read to its end in {human_seconds(seconds)}"
    )
    return {
        "changed": not chosen.proven,
        "backup": str(chosen.name),
        "database": found["database"],
        "key": chosen.key,
        "bytes": chosen.bytes,
        "dump_bytes": found["dump_bytes"],
        "rows": found["rows"],
        "seconds": seconds,
        "sha256": found["sha256"],
        "findings": [finding(chosen.problem_code, f"{chosen.problem}; it has a new one")]
        if chosen.problem and not job.check
        else [],
    }
