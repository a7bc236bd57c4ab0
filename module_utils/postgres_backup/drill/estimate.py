"""How long a restore, and a whole rebuild, would take (RTO): from what drills, backups and the last
rebuild have measured here, in seconds, and in seconds for each byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypedDict

from ..catalog.manifest import Manifest
from ..clock import parse_timestamp
from ..findings import Finding, finding
from ..job import Job
from ..machine import state
from ..settings import Settings
from ..shapes.kinds import Number, Whole
from ..text import human_seconds
from .earlier import newest_manifest

#: seconds that installing takes where nobody has measured it: as in the rehearsal that
#: docs/DISASTERS.md tells of, on two processors
INSTALLING = 60.0
#: phases of a rebuild that take as long however much there is
_INSTALLS = ("program", "bucket", "empty", "server", "database", "tools", "application", "schedule")


class Restore(TypedDict):
    """A restore as a drill has measured it: seconds up to its swap, and bytes of the dump."""

    seconds: Annotated[float, Number()]
    dump_bytes: Annotated[int, Whole()]


Times = dict[str, Restore]
Rebuilt = dict[str, dict[str, Annotated[float, Number()]]]


class Rebuild(TypedDict):
    """What a rebuild would take.

    ``parts``: seconds of ``installing``, of ``kit`` (read twice), of ``restores`` of all databases,
    and of ``backup``: a first one that is proven. ``assumed``: those that nobody has measured here.
    """

    seconds: float
    parts: dict[str, float]
    assumed: list[str]


#: what the last drill of each database has measured, and under :data:`KIT` reading the kit
TIMES = state.Kept("drill-times.json", Times)
KIT = ""
#: ``phases``: seconds of each phase of a rebuild of this server, or of its rehearsal elsewhere;
#: written by playbooks/rebuild.yml
REBUILT = state.Kept("rebuilt.json", Rebuilt)


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
        newest = {name: newest_manifest(job, name) for name in settings.databases}
        whole = rebuild(settings.databases, newest, times, state.read(settings, REBUILT), has_kit)
    return whole, findings


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
    assumed = []
    restores = backups = 0.0
    for name in databases:
        known = newest.get(name)
        size = known["dump_bytes"] if known else 0
        if name not in measured:
            assumed.append(f"restores of {name}")
            restores += size * rate
        else:
            # it may have grown since
            one = measured[name]
            grown = size / one["dump_bytes"] if size and one["dump_bytes"] else 1.0
            restores += one["seconds"] * grown
        backups += 2 * _took(known)  # taken, and read back
    phases = rebuilt.get("phases", {})
    parts = {
        "installing": sum(phases.get(name, 0.0) for name in _INSTALLS) or INSTALLING,
        "restores": restores,
        "backup": backups,
    }
    if not phases:
        assumed.insert(0, "installing")
    if has_kit:
        parts["kit"] = 2 * times[KIT]["seconds"] if KIT in times else 0.0
        if KIT not in times:
            assumed.append("kit")
    told = {name: round(part, 1) for name, part in parts.items()}
    return {"seconds": round(sum(parts.values()), 1), "parts": told, "assumed": assumed}


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
    return f"{said}, a whole rebuild {human_seconds(whole['seconds'])}{assumed}"
