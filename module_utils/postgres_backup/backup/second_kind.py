"""What a prune says of the other kind of backup, where every second is kept: what the archive has,
which has a retention of its own, and the dumps that were taken out of recovered clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog import recovered
from ..catalog.backups import Backup
from ..catalog.retention import Decision
from ..health import archiving
from ..job import Job
from ..text import human_bytes


def told(job: Job, past: Sequence[Decision[Backup]]) -> list[str]:
    """As lines for a person; none where it is not asked for.

    :param past: of the dumps of recovered clusters.
    """
    if not job.settings.pitr:
        return []
    lines = archiving.kept_lines(archiving.known(job.settings))
    if stored := sum(one.backup.bytes for one in past if one.keep):
        lines.append(
            f"{recovered.place(job.settings).s3_prefix.strip('/')}/: {human_bytes(stored)} of "
            f"databases that were recovered, each for {job.settings.retention_days} days"
        )
    return lines
