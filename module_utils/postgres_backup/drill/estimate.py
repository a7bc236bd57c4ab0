"""How long a restore, and a whole rebuild, would take (RTO): from what drills, backups and the last
rebuild have measured here, in seconds, and in seconds for each byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypedDict

from ..catalog.manifest import Manifest
from ..clock import parse_timestamp
from ..findings import Finding, finding
from ..health.drills import REBUILT, Rebuilt
from ..job import Job
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Number, Whole
from ..text import human_seconds
from .earlier import newest_manifest

#: seconds that installing takes where nobody has measured it: as in the rehearsal that
#: docs/DISASTERS.md tells of, on two processors
INSTALLING = 60.0
#: phases of a rebuild that have parts of their own, and those that read the server kit
_DATA, _KIT_READ = ("restore", "backup"), ("bucket", "files")


class Restore(TypedDict):
    """A restore as a drill has measured it: seconds up to its swap, and bytes of the dump."""

    seconds: Annotated[float, Number()]
    dump_bytes: Annotated[int, Whole()]


Times = dict[str, Restore]


class Rebuild(TypedDict):
    """What a rebuild would take.

    ``parts``: seconds of ``installing``, of ``kit`` (read twice; where a rebuild was measured, what
    it takes longer by now), of ``restores`` of all databases, and of ``backup``: a first one that
    is proven. ``assumed``: those that nobody has measured here. ``rehearsed``: what the last
    rehearsal took, None where there was none.
    """

    seconds: float
    parts: dict[str, float]
    assumed: list[str]
    rehearsed: float | None


#: what the last drill of each database has measured, and under :data:`KIT` reading the kit
TIMES = state.Kept("drill-times.json", Times)
KIT = ""


def estimate(
    job: Job, one: Restore, kit_seconds: float | None, has_kit: bool
) -> tuple[Rebuild, list[Finding]]:
    """What a rebuild would take, now that a drill has measured a restore; what it has measured is
    kept for the drills of the other databases.

    :param kit_seconds: that reading the server kit took; None where it was not read.
    :return: and findings: RTO_EXCEEDED, or the state cannot be written.
    """
    settings, findings = job.settings, exceeded(job.settings, one["seconds"])
    with state.changing(settings, TIMES, findings) as times:
        times[job.database] = one
        if kit_seconds is not None:
            times[KIT] = {"seconds": kit_seconds, "dump_bytes": 0}
        whole = _rebuild_now(job, times, has_kit)
    return whole, findings


def remembered(job: Job, has_kit: bool) -> Rebuild:
    """What a rebuild would take by what this server remembers of its drills and rebuilds."""
    return _rebuild_now(job, state.read(job.settings, TIMES), has_kit)


def _rebuild_now(job: Job, times: Times, has_kit: bool) -> Rebuild:
    names = job.settings.databases
    newest = {name: newest_manifest(job, name) for name in names}
    return rebuild(names, newest, times, state.read(job.settings, REBUILT), has_kit)


def rebuild(
    databases: Sequence[str],
    newest: Mapping[str, Manifest | None],
    times: Times,
    rebuilt: Rebuilt,
    has_kit: bool,
) -> Rebuild:
    """What a rebuild would take. Pure.

    :param newest: of each database, what its newest good backup says; None where there is none.
    :param times: the one at hand among them.
    """
    measured = {name: one for name, one in times.items() if name != KIT}
    seconds = sum(one["seconds"] for one in measured.values())
    rate = seconds / max(1, sum(one["dump_bytes"] for one in measured.values()))
    phases = rebuilt.get("phases", {})
    assumed = []
    restores = backups = 0.0
    for name in databases:
        known = newest.get(name)
        size = known["dump_bytes"] if known else 0
        if name not in measured:
            assumed += [] if phases else [f"restores of {name}"]
            restores += size * rate
        else:
            # it may have grown since
            one = measured[name]
            grown = size / one["dump_bytes"] if size and one["dump_bytes"] else 1.0
            restores += one["seconds"] * grown
        backups += 2 * _took(known)  # taken, and read back
    installs = sum(took for name, took in phases.items() if name not in _DATA)
    parts = {
        "installing": installs or INSTALLING,
        # of a small database the playbook's own steps take longer than the work
        "restores": max(restores, phases.get("restore", 0.0)),
        "backup": max(backups, phases.get("backup", 0.0)),
    }
    if not phases:
        assumed.insert(0, "installing")
    if has_kit:
        counted = sum(phases.get(name, 0.0) for name in _KIT_READ)
        parts["kit"] = max(0.0, 2 * times[KIT]["seconds"] - counted) if KIT in times else 0.0
        if KIT not in times and not phases:
            assumed.append("kit")
    told = {name: round(part, 1) for name, part in parts.items()}
    return {
        "seconds": round(sum(parts.values()), 1),
        "parts": told,
        "assumed": assumed,
        "rehearsed": rebuilt.get("seconds"),
    }


def _took(known: Manifest | None) -> float:
    """Seconds of a backup."""
    if known is None or "started_at" not in known or "ended_at" not in known:
        return 0.0
    began, ended = parse_timestamp(known["started_at"]), parse_timestamp(known["ended_at"])
    return max(0.0, (ended - began).total_seconds())


def exceeded(settings: Settings, seconds: float) -> list[Finding]:
    """That a restore takes longer than it may."""
    most = settings.drill_rto_minutes * 60
    if not most or seconds <= most:
        return []
    told = f"a restore takes about {seconds:.0f} s, {most:.0f} s are allowed"
    return [finding("RTO_EXCEEDED", told)]


def told(restore_seconds: float, whole: Rebuild | None) -> str:
    """For a person."""
    said = f"a restore takes about {human_seconds(restore_seconds)}"
    if whole is None:
        return said
    assumed = f" ({', '.join(whole['assumed'])}: assumed)" if whole["assumed"] else ""
    took = whole["rehearsed"]
    rehearsed = "" if took is None else f" (rehearsed: {human_seconds(took)})"
    return f"{said}, a whole rebuild {human_seconds(whole['seconds'])}{assumed}{rehearsed}"
