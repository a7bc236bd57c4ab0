"""Is the newest backup that this server signed still there? No retention ever deletes it, so where
it is not, somebody else did, or the bucket is as it was on an earlier day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..catalog.backups import Backup
from ..findings import Finding, finding


def findings_of(
    database: str, backups: Sequence[Backup], remembered: Mapping[str, str]
) -> list[Finding]:
    """SIGNED_BACKUP_GONE where the newest of what this server remembers is not in the bucket. Pure.

    :param remembered: see ``catalog/remembered.look``.
    """
    if not remembered:
        return []
    there = {backup.layout.manifest(backup.name) for backup in backups if backup.manifest_sha256}
    newest = max(remembered, key=lambda key: key.rpartition("/")[2])
    if newest in there:
        return []
    return [
        finding(
            "SIGNED_BACKUP_GONE",
            f"the newest backup of {database} that this server has signed is gone from the bucket, "
            f"or lost its manifest ({newest}), and it was not deleted from here",
            database=database,
        )
    ]
