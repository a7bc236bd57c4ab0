"""Recover the cluster to a moment: always into a new folder and on a new port, beside the live one,
and with a look afterwards at where it came to an end.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import TypedDict, cast, final

from ..catalog import recovered as catalog_recovered
from ..clock import format_time, format_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import Finding
from ..machine import lock, state
from ..machine.progress import Progress
from ..settings import Settings
from ..text import human_bytes, human_seconds
from . import arrival, at_rest, boxed, counts, side_cluster, side_container
from .cluster import Cluster
from .counts import TableRows
from .route import Plan, make_plan, require_none
from .side_cluster import SIDE, Guest, Side

#: nothing is remembered
NO_SIDE = cast(Side, {})
NOBODY = Guest()


@final
class Recovered(TypedDict):
    """What came of it; in check mode what would.

    :ivar target: in words; ``label``: the backup that it began from.
    :ivar kept: it runs at ``port`` of the sockets in ``host``, with its data in ``directory``; else
        it was removed again.
    :ivar last_commit: the time of the last transaction that is in it; empty where there is none.
    :ivar next_commit: of the one that is not any more; empty where nobody knows.
    :ivar live: whether the live cluster runs.
    """

    changed: bool
    target: str
    label: str
    directory: str
    host: str
    port: int
    last_commit: str
    next_commit: str
    lsn: str
    bytes: int
    seconds: float
    live: bool
    kept: bool
    tables: list[TableRows]
    findings: list[Finding]


def recover(
    settings: Settings,
    progress: Progress,
    typed: dict[str, str],
    latest: bool,
    keep: bool,
    check: bool,
    guest: Guest = NOBODY,
    counted: bool = True,
) -> Recovered:
    """A cluster as it was at a moment, beside the live one, which it leaves running.

    :param typed: ``time``, ``lsn`` and ``name``, of which one is given, or ``latest``.
    :param keep: it goes on to run; else it is removed when it was looked at.
    :param guest: who may come into it beside PostgreSQL's own user.
    :param counted: the rows of both are counted.
    :raises UsageError: there is no way there; nothing was touched.
    :raises PostgresBackupError: it did not come there; nothing of it is left.
    """
    plan = make_plan(settings, typed, latest)
    if counted:
        require_superuser(settings, plan.cluster)
    side = new_side(settings, plan)
    result: Recovered = {
        **of_side(settings, side, plan.runs),
        "changed": True,
        "target": plan.target.words,
        "label": plan.backup.label,
        "bytes": plan.backup.bytes,
        "kept": keep,
    }
    if check:
        return result
    with lock.hold(settings, "recovery", "recovery"):
        require_none(settings)
        began = time.monotonic()
        arrival.hand_on(settings, progress, plan)
        end = arrival.end_of_archive(settings, plan)
        result["findings"] += state.write(settings, SIDE, side)
        with removed_on_failure(settings, plan.cluster, side):
            words = f"the cluster as it was in {plan.backup.label}"
            progress.step(f"unpacking {words}, {human_bytes(plan.backup.bytes)}")
            side_cluster.unpack(
                settings, plan.cluster, side, plan.target, plan.backup, plan.timeline, guest
            )
            way, result["lsn"] = arrival.arrive(settings, progress, plan, side, end)
            result["last_commit"] = arrival.in_utc(way.last_commit)
            result["next_commit"] = (
                arrival.in_utc(way.stopped_at) if plan.target.kind == "time" else ""
            )
            if counted:
                progress.step("counting rows")
                live = settings if plan.runs else None
                result["tables"] = counts.beside(arrival.of_side(settings, side), live)
            if not keep:
                side_cluster.remove(settings, plan.cluster, side)
        side["ready"] = True
        result["findings"] += state.write(settings, SIDE, side if keep else NO_SIDE)
        result["seconds"] = round(time.monotonic() - began, 1)
    return result


def require_superuser(settings: Settings, cluster: Cluster) -> None:
    """:raises UsageError: what is recovered may not be read by whoever asks."""
    if not cluster.is_superuser:
        raise UsageError(
            f"{settings.db_user} may not read all that is recovered: it is no superuser",
            f"Set backup_db_user to one, then setup.yml; or recover by hand: {boxed.PAGE}",
        )


def new_side(settings: Settings, plan: Plan) -> Side:
    """Where the recovered cluster is to be; nothing is made."""
    now = utc_now()
    beside = settings.db_container or plan.cluster.data_directory
    return {
        "at": format_timestamp(now),
        "directory": f"{beside}_recovered_{format_time(now)}",
        "port": side_cluster.free_port(settings),
        "target": plan.target.words[:200],
        "ready": False,
    }


def kept(settings: Settings, check: bool) -> Recovered:
    """The one that an earlier call has left to be looked at.

    :raises UsageError: there is none, or not a whole one.
    """
    side = state.read(settings, SIDE)
    if not len(side) or not side["ready"]:
        raise UsageError(
            "There is no recovered cluster to take it from",
            "Say where to recover to: -e target_time=2026-01-27T14:03:00Z",
        )
    cluster, runs = at_rest.ask(settings)
    require_ours(settings, cluster, side)
    if not check and not side_cluster.is_running(settings, cluster, side):
        side_cluster.start(settings, cluster, side)
        arrival.await_ready(settings, cluster, side)
    return of_side(settings, side, runs)


def of_side(settings: Settings, side: Side, live: bool) -> Recovered:
    """What is known of a recovered cluster before anybody has looked into it."""
    return {
        "changed": False,
        "target": side["target"],
        "label": "",
        "directory": side["directory"],
        "host": side_cluster.sockets(settings),
        "port": side["port"],
        "last_commit": "",
        "next_commit": "",
        "lsn": "",
        "bytes": 0,
        "seconds": 0.0,
        "live": live,
        "kept": True,
        "tables": [],
        "findings": [],
    }


@contextlib.contextmanager
def removed_on_failure(settings: Settings, cluster: Cluster, side: Side) -> Iterator[None]:
    """Nothing of a failed recovery stays, or it is remembered and can be removed."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(PostgresBackupError):
            side_cluster.remove(settings, cluster, side)
            state.write(settings, SIDE, NO_SIDE)
        raise


@final
class Removed(TypedDict):
    """:ivar directory: of the cluster that was removed; empty where there was none. Of one in a
    container the volumes, with a comma between them: those too that nothing is remembered of.
    """

    changed: bool
    directory: str
    findings: list[Finding]


def remove(settings: Settings, check: bool) -> Removed:
    """Remove the recovered cluster, if there is one.

    :raises PostgresBackupError: something of it stays.
    """
    with lock.hold(settings, "recovery", "removal"):
        side = state.read(settings, SIDE)
        there = [side["directory"]] if len(side) else []
        if settings.db_container:
            if len(side):
                require_contained(settings, side)
            there = sorted({*there, *side_container.left_over(settings)})
        done: Removed = {
            "changed": bool(there),
            "directory": ", ".join(there),
            "findings": [],
        }
        if there and not check:
            if settings.db_container:
                side_cluster.remove_contained(settings, there)
            else:
                cluster, _ = at_rest.ask(settings)
                require_ours(settings, cluster, side)
                side_cluster.remove(settings, cluster, side)
            done["findings"] += state.write(settings, SIDE, NO_SIDE)
    return done


def forget(settings: Settings, side: Side) -> list[Finding]:
    """It has taken the live one's place: only what it needed to come there goes."""
    unwritten = state.write(settings, SIDE, NO_SIDE)
    if settings.db_container:
        side_container.remove(settings, side["directory"])
    else:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(f"{side['directory']}_spool")
    return unwritten


def require_ours(settings: Settings, cluster: Cluster, side: Side) -> None:
    """:raises UsageError: the folder that is remembered is none that we make."""
    if settings.db_container:
        require_contained(settings, side)
    elif not side["directory"].startswith(f"{cluster.data_directory}_recovered_"):
        raise UsageError(
            f"{side['directory']} is no folder of a recovered cluster",
            f"Look into {SIDE.name} beside the state, and remove what it names by hand",
        )


def require_contained(settings: Settings, side: Side) -> None:
    """:raises UsageError: the volume that is remembered is none that we make."""
    if not side_container.is_ours(settings, side["directory"]):
        raise UsageError(
            f"{side['directory']} is no volume of a recovered cluster",
            f"Look into {SIDE.name} beside the state, and remove what it names by hand",
        )


def lines(settings: Settings, result: Recovered, check: bool) -> list[str]:
    """What that says to a person."""
    label, where = result["label"], result["directory"]
    if check:
        size = human_bytes(result["bytes"])
        return [f"Would recover to {result['target']}, from {label} ({size}), into {where}"]
    if not result["label"]:
        return [f"Going on with the recovered cluster of {result['target']}, in {where}"]
    took = human_seconds(result["seconds"])
    last = result["last_commit"] or "none since the backup"
    after = result["next_commit"]
    told = [
        f"The cluster as of {result['target']}, from {label}, in {took}",
        f"Its last transaction: {last}, at {result['lsn']} of the log"
        + (f"; the next, of {after}, is not in it" if after else ""),
        *counts.lines(result["tables"], result["live"]),
    ]
    again = "ansible-playbook playbooks/pitr_restore.yml"
    if result["kept"]:
        enter = f"sudo -u postgres psql -p {result['port']}"
        if name := catalog_recovered.container(settings):
            enter = f"docker exec -it {name} psql -h 127.0.0.1 -U {settings.db_user}"
        told += [
            f"It runs: {enter}; its data: {where}",
            f"Remove it: {again} -e remove=true",
        ]
    else:
        told.append("It is removed again; to keep it for a look, add -e keep=true")
    return [*told, *(found["message"] for found in result["findings"])]


def removed_lines(result: Removed, check: bool) -> list[str]:
    """What that says to a person."""
    if not result["directory"]:
        return ["There is no recovered cluster to remove"]
    verb = "are" if "," in result["directory"] else "is"
    return [f"{result['directory']} {'would be' if check else verb} removed"]
