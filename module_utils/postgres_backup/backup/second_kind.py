"""What a prune says of the other kind of backup, where every second is kept: nothing of it is
deleted here, for it has a retention of its own, or none.
"""

from __future__ import annotations

from ..catalog import recovered
from ..errors import StoreError
from ..health import archiving
from ..job import Job
from ..text import human_bytes


def told(job: Job) -> list[str]:
    """As lines for a person; none where it is not asked for.

    Of the dumps of recovered databases it says how much they take: they are of a past that is over,
    and nobody but a person knows whether somebody wants them still.
    """
    if not job.settings.pitr:
        return []
    lines = archiving.kept_lines(archiving.known(job.settings))
    place = f"{recovered.place(job.settings).s3_prefix.strip('/')}/"
    try:
        stored = sum(one.bytes for one in job.store.list(place))
    except StoreError as error:
        return [*lines, f"{place} was not looked at: {error.message}"]
    if stored:
        lines.append(
            f"{place}: {human_bytes(stored)} of databases that were recovered, which no retention "
            "deletes: delete them when nobody wants them any more"
        )
    return lines
