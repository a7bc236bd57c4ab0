"""The cluster of a lost server, on the machine that takes its place: recovered to the last that
there is, or to a moment before it, beside the empty one, whose place it takes then.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone

from ..clock import format_timestamp, utc_now
from ..errors import UsageError
from ..findings import finding
from ..machine import lock, state
from ..machine.progress import Progress
from ..settings import Settings
from ..text import human_bytes, human_seconds
from . import (
    arrival,
    at_rest,
    counts,
    promote,
    recover,
    repository,
    route,
    side_cluster,
    side_container,
    target,
    texts,
    volumes,
)
from .cluster import Cluster
from .recover import NOBODY, Recovered
from .repository import Backup
from .route import Plan
from .side_cluster import SIDE, Side
from .target import Target

_LAST = Target("latest")


def wanted(target_time: str) -> Target:
    """Where the lost server is to come back to.

    :param target_time: the moment, with its zone; empty: the last that there is.
    :raises UsageError: it is none of the past.
    """
    typed = {"time": target_time}
    return target.read(typed, not target_time, {}, datetime.now(timezone.utc))


def bring(settings: Settings, progress: Progress, identifier: str, until: Target) -> Recovered:
    """The cluster of the lost server as it was at last, or at a moment, beside the empty one, where
    it goes on to run. One that an earlier attempt has brought there is taken as it is, one that it
    has brought elsewhere is removed; where the cluster is the lost server's already, nothing is
    done, and nothing is ``kept``.

    :param identifier: of :func:`.lost_archive.find`.
    :param until: of :func:`wanted`.
    :raises UsageError: there is no way; or the cluster here is not empty.
    :raises PostgresBackupError: it did not come there; nothing of it is left.
    """
    cluster, runs = at_rest.ask(settings)
    side = state.read(settings, SIDE)
    if cluster.system_identifier == identifier:
        there: Side = {
            "at": format_timestamp(utc_now()),
            "directory": cluster.data_directory,
            "port": settings.db_port,
            "target": until.words,
            "ready": True,
        }
        return {**recover.of_side(settings, there, runs), "kept": False}
    if len(side) and side["ready"] and side["target"] == until.words:
        return recover.kept(settings, check=False)
    if len(side) or (settings.db_container and side_container.left_over(settings)):
        recover.remove(settings, check=False)
    recover.require_superuser(settings, cluster)
    if settings.db_container:
        volumes.find(settings, cluster.data_directory)
    else:
        promote.require_movable(cluster)
    if full := counts.beside(settings, None):
        raise UsageError(
            f"The cluster in {cluster.data_directory} has tables: {full[0]['database']}: "
            f"{full[0]['table']}. It is not touched",
            "Is it the right machine? To recover beside what is there: playbooks/pitr_restore.yml",
        )
    plan = _plan(settings, cluster, runs, until)
    side = recover.new_side(settings, plan)
    result: Recovered = {
        **recover.of_side(settings, side, live=False),
        "changed": True,
        "label": plan.backup.label,
        "bytes": plan.backup.bytes,
    }
    with lock.hold(settings, "recovery", "recovery"):
        result["findings"] += state.write(settings, SIDE, side)
        with recover.removed_on_failure(settings, plan.cluster, side):
            _arrive(settings, progress, plan, side, result)
        side["ready"] = True
        result["findings"] += state.write(settings, SIDE, side)
    return result


def _plan(settings: Settings, cluster: Cluster, runs: bool, until: Target) -> Plan:
    if not settings.db_container:
        side_cluster.require_plain(cluster.data_directory)
    backup, line = choose(settings, until)
    return Plan(cluster, until, backup, line, runs, route.require_room(settings, cluster, backup))


def choose(settings: Settings, until: Target) -> tuple[Backup, int]:
    """The backup that it begins from, and the timeline on which the server was at last.

    :raises UsageError: there is none before that moment.
    :raises StoreError: the store does not answer.
    """
    times = repository.log_times(settings)
    line = line_of(times)
    text = repository.history(settings, times, line) if line > 1 else ""
    lines = target.history(text, line) if text or line == 1 else None
    return target.choose(until, repository.look(settings).backups, lines), line


def line_of(times: Mapping[str, int]) -> int:
    """The timeline on which the server was at last: that of the piece which came last, for one that
    was gone back from has the higher number. 0: there is no piece.

    :param times: of :func:`.repository.log_times`.
    """
    pieces = [(at, int(found[1], 16)) for name, at in times.items() if (found := _piece(name))]
    return max(pieces, default=(0, 0))[1]


def _piece(name: str) -> re.Match[str] | None:
    return re.fullmatch(r"(?:.*/)?([0-9A-F]{8})[0-9A-F]{16}-[0-9a-f]{40}(?:\.\w+)?", name)


def _arrive(
    settings: Settings,
    progress: Progress,
    plan: Plan,
    side: Side,
    result: Recovered,
) -> None:
    began = time.monotonic()
    size = human_bytes(plan.backup.bytes)
    progress.step(f"unpacking the cluster as it was in {plan.backup.label}, {size}")
    side_cluster.unpack(
        settings, plan.cluster, side, plan.target, plan.backup, plan.timeline, NOBODY
    )
    # the empty cluster beside it may have been made with another size
    pieces = _segment_bytes(settings, plan.cluster, side)
    plan = dataclasses.replace(
        plan, cluster=dataclasses.replace(plan.cluster, segment_bytes=pieces)
    )
    end, missing = 0, ""
    if plan.target.kind == "latest":
        end, missing = arrival.whole_until(settings, plan)
    way, result["lsn"] = arrival.arrive(settings, progress, plan, side, end)
    result["last_commit"] = arrival.in_utc(way.last_commit)
    if plan.target.kind == "time":
        result["next_commit"] = arrival.in_utc(way.stopped_at)
    if missing:
        told = f"{missing} is missing in the archive: what was written from there on is lost"
        result["findings"].append(finding("PITR_GAP", told))
    progress.step("counting rows")
    result["tables"] = counts.beside(arrival.of_side(settings, side), None)
    result["seconds"] = round(time.monotonic() - began, 1)


def _segment_bytes(settings: Settings, cluster: Cluster, side: Side) -> int:
    if not settings.db_container:
        return at_rest.segment_bytes(cluster.major, side["directory"])
    told = side_container.control_data(settings, side["directory"], cluster.data_directory)
    return at_rest.read_segment_bytes(told)


def lines(settings: Settings, result: Recovered) -> list[str]:
    """:func:`bring` for a person."""
    if not result["label"]:
        where = result["directory"]
        return [f"The lost server's cluster is there since an earlier attempt: {where}"]
    took, last = human_seconds(result["seconds"]), result["last_commit"] or "none since the backup"
    often = texts.archive_timeout(settings.pitr_rpo_seconds)
    lost = f"at most the {often} s in which a piece of the log is filled, and what was on its way"
    which = f"Its last transaction: {last}, at {result['lsn']} of the log"
    if result["target"] != _LAST.words:
        return [
            f"The cluster is there as of {result['target']}: from {result['label']}, in {took}",
            f"{which}; the next, of {result['next_commit']}, is not in it",
            *_ended(result),
        ]
    return [
        f"The cluster is there to its last: from {result['label']}, in {took}",
        which,
        f"What was committed after that is lost with the server: {lost}",
        *_ended(result),
    ]


def _ended(result: Recovered) -> list[str]:
    return [
        *counts.lines(result["tables"], live=False, aside="there is no other to compare with"),
        *(found["message"] for found in result["findings"]),
    ]
