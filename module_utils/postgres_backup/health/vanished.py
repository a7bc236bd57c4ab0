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
    newest = max(remembered, key=lambda key: key.rpartition("/")[2])
    for backup in backups:
        # one of ours that is another than was signed is bad, and told as such
        known = backup.ours or backup.manifest_sha256 == remembered[newest]
        if backup.layout.manifest(backup.name) == newest and backup.manifest_sha256 and known:
            return []
    return [
        finding(
            "SIGNED_BACKUP_GONE",
            f"the newest backup of {database} that this server has signed is gone from the bucket, "
            f"or its manifest is gone or another ({newest}), and nothing here did that",
            database=database,
        )
    ]
