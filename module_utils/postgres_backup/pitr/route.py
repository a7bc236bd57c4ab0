"""The way to a moment: what must be there before anything is touched."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timezone

from ..errors import UsageError
from ..machine import state
from ..machine.files import read_bounded
from ..postgresql.connection import connect, values
from ..settings import Settings
from ..text import human_bytes
from . import at_rest, boxed, engine, mark, repository, side_cluster, side_container, target
from .cluster import Cluster
from .look import archived
from .repository import Backup
from .side_cluster import SIDE
from .target import Target

#: bytes more than the backup has: what PostgreSQL keeps of its log meanwhile
_LOG_ROOM = 1 << 30
#: bytes of a history file at most
_HISTORY = 1 << 16


@dataclasses.dataclass(frozen=True)
class Plan:
    """:param timeline: of the live cluster; 0: it is not known."""

    cluster: Cluster
    target: Target
    backup: Backup
    timeline: int
    runs: bool
    free_bytes: int


def require_none(settings: Settings) -> None:
    """:raises UsageError: there is a recovered cluster already."""
    remove = "ansible-playbook playbooks/pitr_restore.yml -e remove=true"
    if len(before := state.read(settings, SIDE)):
        use = "-e database=NAME" if settings.db_container else "-e promote=true, -e database=NAME"
        raise UsageError(
            f"There is a recovered cluster already, of {before['target']}: {before['directory']}",
            f"Look at it, use it ({use}), or remove it: {remove}",
        )
    if settings.db_container and (left := side_container.left_over(settings)):
        raise UsageError(
            f"There is a recovered cluster already, of which nothing is remembered: {left[0]}",
            f"Look at it (docker ps --all; docker volume ls), or remove it: {remove}",
        )


def make_plan(settings: Settings, typed: dict[str, str], latest: bool) -> Plan:
    """What will be done; nothing is touched.

    :raises UsageError: there is no way there.
    """
    marks = {
        name: (one["at"], one["lsn"]) for name, one in state.read(settings, mark.MARKS).items()
    }
    wanted = target.read(typed, latest, marks, datetime.now(timezone.utc))
    require_none(settings)
    engine.version(settings)
    cluster, runs = at_rest.ask(settings)
    if settings.db_container:
        _require_one_place(settings)
    else:
        side_cluster.require_plain(cluster.data_directory)
    timeline, lines = _history(settings, cluster, runs)
    there = repository.look(settings)
    if there.code not in (repository.WELL, repository.EMPTY):
        archived(settings, cluster)  # whoever lists is told why
    backup = target.choose(wanted, there.backups, lines)
    return Plan(cluster, wanted, backup, timeline, runs, require_room(settings, cluster, backup))


def _require_one_place(settings: Settings) -> None:
    """:raises UsageError: in the container not all of the cluster lies where its data do."""
    with connect(settings, "postgres") as connection:
        others = values(
            connection,
            str,
            "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' ORDER BY spcname",
        )
    if others:
        raise UsageError(
            f"Failed to recover beside {settings.db_container}: it has tablespaces, which lie "
            f"outside of its volume: {others[0]}",
            f"Recover by hand, with --tablespace-map: {boxed.PAGE}",
        )


def require_room(settings: Settings, cluster: Cluster, backup: Backup) -> int:
    """Bytes that are free beside the cluster's data, or where Docker has its volumes.

    :raises UsageError: another cluster has no room there.
    """
    if settings.db_container:
        free, needed = side_container.free_bytes(), backup.bytes + _LOG_ROOM
        if free < needed:
            raise UsageError(
                f"Failed to recover beside {settings.db_container}: that takes "
                f"{human_bytes(needed)}, and {human_bytes(free)} are free for Docker's volumes",
                "Make room, or give the disk more; then type the same again",
            )
        return free
    beside = os.path.dirname(cluster.data_directory)
    disk = os.statvfs(beside)
    free, needed = disk.f_bavail * disk.f_frsize, backup.bytes + _LOG_ROOM
    if not os.access(beside, os.W_OK):
        raise UsageError(
            f"Failed to recover beside {cluster.data_directory}: {beside} is not PostgreSQL's",
            f"Give it that folder: chown postgres: {beside}",
        )
    if free < needed:
        raise UsageError(
            f"Failed to recover beside {cluster.data_directory}: that takes "
            f"{human_bytes(needed)}, and {human_bytes(free)} are free there",
            "Make room, or give the disk more; then type the same again",
        )
    return free


def _history(
    settings: Settings, cluster: Cluster, runs: bool
) -> tuple[int, dict[int, int | None] | None]:
    """The live cluster's timeline, and where it left those before; 0 and None: nobody knows."""
    if not runs:
        timeline = at_rest.timeline(cluster)
    else:
        with connect(settings, "postgres") as connection:
            [name] = connection.execute(
                "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())"
            ).fetchone() or ("",)
        timeline = int(name[:8], 16)
    if timeline < 2:
        return timeline, {timeline: None} if timeline else None
    path = os.path.join(cluster.data_directory, "pg_wal", f"{timeline:08X}.history")
    if settings.db_container:
        text = boxed.printed(settings, "Failed to read the cluster's history: ", "cat", "--", path)
        return timeline, target.history(text, timeline)
    try:
        text = read_bounded(path, _HISTORY)[0].decode(errors="replace")
    except OSError:  # PostgreSQL knows what is and what is not of its own history
        return timeline, None
    return timeline, target.history(text, timeline)
