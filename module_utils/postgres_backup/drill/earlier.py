"""A backup held against those before it: is it as large as they let one expect?"""

from __future__ import annotations

from ..catalog.backups import Backup, Catalog, newest_good
from ..catalog.manifest import Manifest
from ..findings import finding
from ..health import trend
from ..job import Job
from ..postgresql.own import own_mark
from .levels import DrillFinding, judged


def newest_manifest(job: Job, database: str) -> Manifest | None:
    """What the newest good backup of a database of this server says; None where there is none."""
    own = own_mark(job.settings, database)
    newest = newest_good(Catalog(job.settings, job.store, database, own).backups())
    return newest.manifest if newest else None


def hold_against_others(job: Job, catalog: Catalog, backup: Backup) -> list[DrillFinding]:
    """What is out of the ordinary about its size and its rows; that too few are there to tell."""
    earlier = [
        other
        for other in catalog.backups()
        if other.ours and other.good and other.taken_at < backup.taken_at
    ]
    if backup.described is None or len(earlier) < trend.FEWEST:
        told = f"size: it takes {trend.FEWEST} good backups before it, {len(earlier)} are there"
        return [judged(finding("NOT_CHECKED", told), "size")]
    drop, jump = job.settings.size_drop_percent, job.settings.size_jump_percent
    return [judged(found) for found in trend.findings(backup, earlier, drop, jump)]
