"""Let the recovered cluster take the live one's place, whose data are kept; and the way back.

Between the steps PostgreSQL's service is stopped and started by whoever may: its user may not.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TypedDict, final

from ..clock import format_time, utc_now
from ..errors import DatabaseError, PostgresBackupError, UsageError
from ..findings import Finding
from ..machine import lock, state
from ..machine.files import sync_folder
from ..machine.patience import wait_until
from ..machine.progress import Progress
from ..postgresql.connection import connect
from ..settings import Settings
from . import arrival, at_rest, boxed, engine, recover, side_cluster, take, volumes
from .cluster import Cluster
from .side_cluster import SIDE, Side

#: seconds until PostgreSQL answers after a start
_PATIENCE = 120
#: what a recovery has set in the new cluster, above every file of settings
_SET = (
    "archive_mode",
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_action",
    "recovery_target_timeline",
    "recovery_target_inclusive",
)


@final
class Promoted(TypedDict):
    """:ivar unit: PostgreSQL's service, which is to be stopped before the exchange; empty where it
        runs in a container, which the exchange stops and starts by itself.
    :ivar incoming: the data directory that takes the place, in a container the volume; ``kept``:
        where the one before goes.
    :ivar label: of the full backup that was taken then.
    """

    changed: bool
    unit: str
    incoming: str
    kept: str
    as_of: str
    label: str
    findings: list[Finding]


def settle(settings: Settings, kept: str, check: bool) -> Promoted:
    """See that the exchange can be made, and make what comes ready for it.

    :param kept: the data directory to go back to; empty: it is the recovered cluster that comes.
    :raises UsageError: there is nothing to come, or it cannot; nothing was touched.
    """
    cluster, _ = at_rest.ask(settings)
    now, kind = format_time(utc_now()), "undone" if kept else "before"
    result: Promoted = {
        "changed": True,
        "unit": _unit(settings, cluster),
        "incoming": kept,
        "kept": f"{cluster.data_directory}_{kind}_{now}",
        "as_of": "what it was before",
        "label": "",
        "findings": [],
    }
    if settings.db_container:
        folder = volumes.find(settings, cluster.data_directory)["folder"]
        result["kept"] = volumes.kept_path(settings, folder, kind, now)
        if kept:
            result["incoming"] = volumes.require_kept(settings, folder, kept)
            return result
    else:
        require_movable(cluster)
        if kept:
            _require_kept(cluster, kept)
            return result
    found = recover.kept(settings, check)
    if not check:
        side = state.read(settings, SIDE)
        with lock.hold(settings, "recovery", "promotion"):
            _make_ready(settings, cluster, side)
    return {**result, "incoming": found["directory"], "as_of": found["target"]}


def require_movable(cluster: Cluster) -> None:
    """:raises UsageError: its data directory cannot be renamed."""
    data = cluster.data_directory
    if os.path.islink(data) or os.path.ismount(data):
        raise UsageError(
            f"{data} is a disk of its own or a link, so no other can take its place",
            "Bring single databases back (-e database=NAME), or move PostgreSQL's data into a "
            "folder of that disk",
        )


def _require_kept(cluster: Cluster, kept: str) -> None:
    """:raises UsageError: it is no data directory that was kept."""
    ours = re.fullmatch(re.escape(cluster.data_directory) + r"_(before|undone)_[0-9_-]+", kept)
    if not ours or not os.path.isfile(os.path.join(kept, "PG_VERSION")):
        raise UsageError(
            f"{kept} is no data directory that a promotion has kept",
            f"They lie beside {cluster.data_directory}: ls {os.path.dirname(kept)}",
        )


def _make_ready(settings: Settings, cluster: Cluster, side: Side) -> None:
    """Nothing of the recovery is set in it any more, and it is ended in good order."""
    with connect(arrival.of_side(settings, side), "postgres") as connection:
        for name in _SET:
            connection.execute(f"ALTER SYSTEM RESET {name}")
    side_cluster.stop(settings, cluster, side)
    if settings.db_container:
        return
    for name in (side_cluster.HBA, side_cluster.IDENT):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(side["directory"], name))


def exchange(settings: Settings, incoming: str, kept: str, as_of: str) -> Promoted:
    """The one data directory takes the other's place; PostgreSQL is stopped. In a container it runs
    before and after.

    :param incoming: and ``kept``, ``as_of``: of :func:`settle`.
    :raises UsageError: PostgreSQL runs; nothing was touched.
    """
    result: Promoted = {
        "changed": True,
        "unit": "",
        "incoming": incoming,
        "kept": kept,
        "as_of": as_of,
        "label": "",
        "findings": [],
    }
    if settings.db_container:
        volumes.exchange(settings, incoming, kept)
        # its volume is gone, so whoever types the same again must not be led to it
        result["findings"] += _forgotten(settings, incoming)
        return result
    with lock.hold(settings, "recovery", "promotion"):
        cluster, runs = at_rest.ask(settings)
        data = cluster.data_directory
        if runs:
            raise UsageError(
                f"Failed to exchange {data}: PostgreSQL runs",
                f"Stop it first: systemctl stop {cluster.unit}",
            )
        require_movable(cluster)
        if os.path.lexists(kept) or not os.path.isfile(os.path.join(incoming, "PG_VERSION")):
            raise UsageError(
                f"Failed to exchange {data} for {incoming}: it is no cluster, or {kept} is taken",
                f"Look at what is there: ls {os.path.dirname(data)}",
            )
        os.rename(data, kept)
        try:
            os.rename(incoming, data)
        except BaseException:
            os.rename(kept, data)
            raise
        sync_folder(os.path.dirname(data))
    return {**result, "unit": _unit(settings, cluster)}


def seal(settings: Settings, progress: Progress, incoming: str, kept: str, as_of: str) -> Promoted:
    """After the start: it answers, its history is in the archive, and so is a full backup.

    :raises PostgresBackupError: one of these is not so; the exchange stands.
    """

    def answers() -> bool:
        try:
            _, runs = at_rest.ask(settings)
        except DatabaseError:
            return False
        return runs

    if not wait_until(answers, _PATIENCE):
        raise PostgresBackupError(
            "PostgreSQL does not answer with its new data",
            f"Go back: ansible-playbook playbooks/undo_restore.yml -e kept={kept}",
        )
    cluster, _ = at_rest.ask(settings)
    history = os.path.join(cluster.data_directory, "pg_wal")
    # what began while nothing was archived has not been handed on, and without it the next recovery
    # would take its number again
    for name in _names(settings, history):
        if re.fullmatch(r"[0-9A-F]{8}\.history", name):
            engine.call(
                settings,
                "Failed to archive the cluster's history: ",
                "archive-push",
                "--no-archive-async",
                of=os.path.join(history, name),
            )
    taken = take.take(settings, progress, full=True)
    return {
        "changed": True,
        "unit": _unit(settings, cluster),
        "incoming": incoming,
        "kept": kept,
        "as_of": as_of,
        "label": taken["label"],
        "findings": [*taken["findings"], *_forgotten(settings, incoming)],
    }


def _forgotten(settings: Settings, incoming: str) -> list[Finding]:
    side = state.read(settings, SIDE)
    if not len(side) or side["directory"] != incoming:
        return []
    return recover.forget(settings, side)


def _unit(settings: Settings, cluster: Cluster) -> str:
    return "" if settings.db_container else cluster.unit


def _names(settings: Settings, folder: str) -> list[str]:
    if settings.db_container:
        failing = "Failed to see the cluster's history: "
        return sorted(boxed.printed(settings, failing, "ls", "--", folder).split())
    return sorted(os.listdir(folder))


def lines(result: Promoted, stage: str, check: bool) -> list[str]:
    """What that says to a person."""
    kept = result["kept"]
    if stage != "seal":
        would = "would be" if check else "is going to be"
        return [f"The cluster {would} {result['as_of']}; as it is, it is kept in {kept}"]
    told = [
        f"The cluster is {result['as_of']} now, and archives on",
        f"{result['label']} is its first backup",
    ]
    if not kept:  # of a lost server: nothing was there before
        return [*told, *(found["message"] for found in result["findings"])]
    return [
        *told,
        f"As it was, it is kept in {kept}, until you remove that "
        + ("folder" if result["unit"] else f"volume: docker volume rm {volumes.name_of(kept)}"),
        f"Undo: ansible-playbook playbooks/undo_restore.yml -e kept={kept}",
        *(found["message"] for found in result["findings"]),
    ]
