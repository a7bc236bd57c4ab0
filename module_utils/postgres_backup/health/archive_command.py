"""Whether what PostgreSQL archives gets through where somebody else has set that up, as in a
container: what it cannot hand on stays on its disk until that is full.

Asked of PostgreSQL itself, which tells everybody. Of what our own archiving does, PostgreSQL's user
sees more, and sooner: :mod:`.archiving`.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

from ..errors import DatabaseError
from ..findings import Finding
from ..postgresql.connection import connect_maintenance, row
from ..postgresql.log_pieces import number_of
from ..settings import Settings
from ..text import human_seconds, printable
from . import alarms
from .alarm_kinds import Alarm, key

CODE = "ARCHIVING_FAILS"
_PIECE = re.compile(r"[0-9A-F]{24}")
#: PostgreSQL tries each piece three times, and again every minute
PATIENCE = timedelta(minutes=15)


#: pieces of the log that are full and wait: one may be on its way
_SOME = 2

_ASK = """
SELECT last_archived_wal AS archived,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS piece_bytes,
    CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity')
        THEN last_failed_wal END AS failed,
    CASE WHEN NOT pg_catalog.pg_is_in_recovery()
        THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END AS written,
    extract(epoch FROM pg_catalog.clock_timestamp()
        - greatest(last_archived_time, stats_reset))::pg_catalog.float8 AS seconds
FROM pg_catalog.pg_stat_archiver WHERE pg_catalog.current_setting('archive_mode') <> 'off'"""


@dataclasses.dataclass(frozen=True)
class Archiver:
    """What ``pg_stat_archiver`` says.

    :ivar archived: the last piece of the log that got through; ``failed`` did not since then.
    :ivar written: the piece that is written now; None on a standby.
    :ivar piece_bytes: how large each is.
    :ivar seconds: since the last one got through, or since it is counted.
    """

    archived: str | None
    failed: str | None
    written: str | None
    piece_bytes: int
    seconds: float


def settle(settings: Settings) -> list[Finding]:
    """Raise the alarm where it fails, and end it where it does not; neither where PostgreSQL cannot
    be asked.

    :return: findings: what could not be told.
    """
    failing = "" if settings.pitr else _why(settings)
    if failing is None:
        return []
    return alarms.settle(settings, [key(CODE)], [Alarm(CODE, "", failing)] if failing else [])


def _why(settings: Settings) -> str | None:
    """Why it is trouble; empty where it is none, None where nobody says."""
    try:
        with connect_maintenance(settings, settings.databases[0], only_ask=True) as connection:
            found = row(connection, Archiver, _ASK)
    except DatabaseError:  # a backup says so at night, loud enough
        return None
    return trouble(found) if found else ""


def trouble(seen: Archiver) -> str:
    """What is wrong, in a sentence; empty where nothing is. Pure."""
    waiting = _waiting(seen)
    if seen.seconds < PATIENCE.total_seconds() or not (seen.failed or waiting >= _SOME):
        return ""
    # of a program that is not there PostgreSQL counts no failure
    how = f"fails for {printable(seen.failed)}" if seen.failed else f"leaves {waiting} pieces"
    return (
        f"PostgreSQL has archived nothing for {human_seconds(seen.seconds)}: archive_command "
        f"{how}, and what waits stays on its disk"
    )


def _waiting(seen: Archiver) -> int:
    """Pieces that are full and behind the last one that got through; 0 where that is not known."""
    done, written = _PIECE.match(seen.archived or ""), seen.written
    if not done or not written or done[0][:8] != written[:8]:  # another timeline
        return 0
    (_, last), (_, now) = (number_of(one, seen.piece_bytes) for one in (done[0], written))
    return max(0, now - last - 1)
