"""See a recovery come to its end, and where that is.

PostgreSQL ends a recovery without a word where a piece of the log is missing, and where it is asked
for a time after the last transaction, it never comes there. So a transaction is written first, what
can be missing is counted, and what its log says of the end is held against what was asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from datetime import datetime, timezone

from ..errors import PostgresBackupError, UsageError
from ..machine.patience import OFTEN, wait_until
from ..machine.progress import Progress
from ..postgresql.connection import connect
from ..postgresql.log_pieces import number_of
from ..settings import Settings
from . import cluster as clusters
from . import engine, gaps, journey, repository, side_cluster
from .cluster import Cluster
from .journey import Journey
from .look import archived
from .route import Plan
from .side_cluster import Side

#: seconds until what was written last should be in the bucket
_ARCHIVED = 90
#: seconds between two looks at a long recovery, and between two lines of it
_PAUSE, _TELL = 0.5, 15.0
_NOT_YET = "what was written last is not in the bucket yet: postgres-backup status"
_READY = "database system is ready to accept connections"
_RESTORED = re.compile(r'restored log file "([0-9A-F]{24})"')


def hand_on(settings: Settings, progress: Progress, plan: Plan) -> None:
    """Let what the live cluster wrote last be archived, with a transaction behind it, without which
    a time after the last one is never reached.

    What cannot be archived is no reason to give up: what was asked for may be there.
    """
    if not plan.runs or not plan.cluster.archives:
        return
    progress.step("having the last of the log archived")
    with connect(settings, "postgres") as connection:
        connection.execute("SELECT pg_catalog.txid_current()")
        if settings.db_container:  # there the engine may what its own user may, and ours may not
            if engine.attempt(settings, "check").status:
                progress.step(_NOT_YET)
            return
        [piece] = connection.execute(
            "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())"
        ).fetchone() or ("",)

        if not clusters.await_archived(connection, piece, _ARCHIVED):
            progress.step(_NOT_YET)


def end_of_archive(settings: Settings, plan: Plan) -> int:
    """The number of the last piece of the log that must be in it, where there is no other target: a
    recovery ends at a gap without a word, so none may be there. 0 with a target.

    :raises UsageError: a piece is missing.
    """
    if plan.target.kind != "latest":
        return 0
    if missing := _missing(settings, plan):
        raise UsageError(
            f"In the archive {missing} is missing: what was written behind it cannot be recovered",
            "Recover to a time before it (target_time), or from a later backup: "
            "postgres-backup pitr-look --config /etc/postgres-backup-pitr/config.env",
        )
    have = archived(settings, plan.cluster)
    line = plan.timeline or max(have, default=0)
    return max(have.get(line, ()), default=0)


def whole_until(settings: Settings, plan: Plan) -> tuple[int, str]:
    """Of a server that is lost: the number of the last piece of the log to which all is there, and
    the first that is missing behind it; empty where none is.

    Several pieces are on their way at a time: where the power was cut, one may have come without
    the one before it.
    """
    have = archived(settings, plan.cluster)
    if missing := _missing(settings, plan):
        return number_of(missing, plan.cluster.segment_bytes)[1] - 1, missing
    return max(have.get(plan.timeline, ()), default=0), ""


def arrive(
    settings: Settings, progress: Progress, plan: Plan, side: Side, end: int
) -> tuple[Journey, str]:
    """Let the unpacked cluster recover; how it went, and the position where it ended.

    :param end: of :func:`end_of_archive`, or :func:`whole_until`.
    :raises PostgresBackupError: it did not come where it should.
    """
    progress.step(f"recovering to {plan.target.words}")
    side_cluster.start(settings, plan.cluster, side)
    wait(settings, progress, plan, side)
    way = journey.read(side_cluster.tail(settings), plan.target)
    return way, judge(settings, plan, side, way, end)


def wait(settings: Settings, progress: Progress, plan: Plan, side: Side) -> None:
    """Until it has come to its end, well or not.

    :raises PostgresBackupError: it gave up.
    """
    told, pause = time.monotonic(), OFTEN
    while True:
        log = side_cluster.tail(settings)
        if _READY in log:
            return
        if not side_cluster.is_running(settings, plan.cluster, side):
            break
        if time.monotonic() - told > _TELL and (seen := _RESTORED.findall(log)):
            progress.step(f"recovering: {seen[-1]}")
            told = time.monotonic()
        time.sleep(pause)
        pause = min(_PAUSE, pause * 1.5)
    way = journey.read(side_cluster.tail(settings), plan.target)
    if way.fell_short:
        missing = ""
        with contextlib.suppress(PostgresBackupError):  # it only says more
            missing = _missing(settings, plan)
        raise PostgresBackupError(
            f"The log in the archive ends before {plan.target.words}: its last transaction is of "
            f"{in_utc(way.last_commit) or 'before the backup'}"
            + (f", and {missing} is missing" if missing else ""),
            "Recover to that time, or to the last that there is: latest=true",
        )
    raise PostgresBackupError(
        f"The recovered cluster gave up: {way.failed or 'it says nothing'}",
        f"Its log says more: {side_cluster.log_file(settings)}",
    )


def await_ready(settings: Settings, cluster: Cluster, side: Side) -> None:
    """Until one that was recovered before is up again.

    :raises PostgresBackupError: it does not come up.
    """

    def is_ready() -> bool:
        return _READY in side_cluster.tail(settings)

    wait_until(
        lambda: is_ready() or not side_cluster.is_running(settings, cluster, side), _ARCHIVED
    )
    if not is_ready():
        raise PostgresBackupError(
            f"The recovered cluster does not come up again: {side['directory']}",
            f"Its log says more: {side_cluster.log_file(settings)}",
        )


def judge(settings: Settings, plan: Plan, side: Side, way: Journey, end: int) -> str:
    """See that it ended where it should; the position where it did.

    :param end: of :func:`end_of_archive`.

    :raises PostgresBackupError: it did not.
    """
    with connect(of_side(settings, side), "postgres") as connection:
        row = connection.execute(
            "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()::text"
        ).fetchone()
    recovering, lsn = row if row else (True, None)
    reached = str(lsn or "")
    until = plan.target.at if plan.target.kind == "time" else None
    size = plan.cluster.segment_bytes
    if recovering or (plan.target.kind != "latest" and not way.stopped_at):
        wrong = "it ended without having come there"
    elif until and way.last_commit and _moment(way.last_commit) > until:
        wrong = f"it holds a transaction of {in_utc(way.last_commit)}"
    elif end and (not reached or repository.number_of(reached) // size < end):
        wrong = f"it ended at {reached}, and there is more in the archive"
    else:
        return reached
    raise PostgresBackupError(
        f"The recovered cluster is not as it was at {plan.target.words}: {wrong}",
        f"Its log says more: {side_cluster.log_file(settings)}",
    )


def _missing(settings: Settings, plan: Plan) -> str:
    """The first piece that is missing behind the backup; empty where none is."""
    size = plan.cluster.segment_bytes
    since = number_of(plan.backup.first_segment, size)
    have = archived(settings, plan.cluster)
    own = {line: numbers for line, numbers in have.items() if line <= (plan.timeline or line)}
    lost = gaps.missing(own, since, size)
    return lost[0][0] if lost else ""


def of_side(settings: Settings, side: Side) -> Settings:
    """How the recovered cluster is asked."""
    if not settings.db_container:
        return dataclasses.replace(settings, db_port=side["port"])
    host = side_cluster.sockets(settings)
    return dataclasses.replace(
        settings, db_host=host, db_port=side["port"], db_container="", db_password=""
    )


def _moment(text: str) -> datetime:
    """Of PostgreSQL's log, in UTC."""
    whole = text if "." in text else f"{text}.0"
    at = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S.%f")
    return at.replace(tzinfo=timezone.utc)


def in_utc(text: str) -> str:
    """A time of PostgreSQL's log as everywhere here; of nothing nothing."""
    return f"{text.replace(' ', 'T')}Z" if text else ""
