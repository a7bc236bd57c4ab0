"""What a prune says of the other kind of backup, where every second is kept: what the archive has,
which has a retention of its own, and the dumps that were taken out of recovered clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog.backups import Backup
from ..catalog.retention import Decision
from ..health import archiving, recovered_dumps
from ..job import Job


def told(job: Job, past: Sequence[Decision[Backup]]) -> list[str]:
    """As lines for a person; none where it is not asked for.

    :param past: of the dumps of recovered clusters.
    """
    if not job.settings.pitr:
        return []
    stay = [one.backup for one in past if one.keep and one.backup.ours]
    return [
        *archiving.kept_lines(archiving.known(job.settings)),
        *recovered_dumps.told(job.settings, stay),
    ]
