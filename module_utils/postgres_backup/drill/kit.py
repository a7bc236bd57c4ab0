"""Would a lost server get its files back? The newest server kit, held against what this server's
settings say that it needs, and read to its end: with the key that is kept elsewhere, where it is
encrypted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

from ..catalog.kit_paths import Parts, parts_of, path_of
from ..catalog.kits import Kit, find_kits
from ..catalog.signed import Believed
from ..errors import PostgresBackupError, UsageError
from ..findings import finding
from ..health import rebuild
from ..job import Job
from ..machine.pace import Pace
from ..restore.kit import choose, paths_of, read_kit
from ..restore.trust import require
from ..settings import Settings
from .levels import DrillFinding, judged, some, stops, unknown

#: what this check is called
CHECK = "kit"


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was found of the kit.

    :param made: it was looked at; not so where this server needs none.
    :param seconds: that reading it took, without pauses; None where it was not read.
    """

    findings: list[DrillFinding]
    made: bool
    seconds: float | None = None


def look_at_kit(job: Job, rate: float, read: bool = True) -> Looked:
    """What is wrong with the newest kit. Nothing is raised for it: a backup restores without.

    :param rate: bytes a second at which it is read at most; 0: as fast as it comes.
    :param read: to its end; else only what its manifest says.
    """
    needed = needs(job.settings)
    if not needed:
        return Looked([], False)
    pace = Pace(rate)
    try:
        kit = choose(job.settings, find_kits(job.settings, job.store), "latest")
    except UsageError as none:
        told = f"{none.message}: nothing would bring back {_named(needed)}"
        return Looked([_lacks(told, bool(job.settings.paths))], True)
    except PostgresBackupError as error:
        return Looked([judged(unknown("the server kit", error.message), CHECK)], True)
    seconds: float | None = None
    found: list[DrillFinding] = []
    try:
        held = paths_of(kit)
        lacking = [parts for parts in needed if not held.hold(parts)]
        if kit.problem:
            raise kit.problem
        server = kit.manifest["server"]["name"] if kit.manifest else ""
        require(job, Believed.by(job.settings), kit.name, server, kit.standing)
        if read:
            seconds, absent = _read(dataclasses.replace(job, pace=pace), kit, needed)
            lacking += [parts for parts in absent if parts not in lacking]
    except PostgresBackupError as error:
        return Looked(_refused(kit, error), True)
    if lacking:
        told = f"{kit.name} does not hold {_named(lacking)}; postgres-backup kit makes a new one"
        found.append(_lacks(told, bool(job.settings.paths)))
    return Looked(found, True, None if seconds is None else seconds - pace.waited)


def _lacks(told: str, wanted: bool) -> DrillFinding:
    """:param wanted: somebody wants kits here; where nobody does, that none is there is no failure
    of the drill.
    """
    found = judged(finding("KIT_LACKS", told))
    return found if wanted else {**found, "level": "warning"}


def needs(settings: Settings) -> list[Parts]:
    """What a rebuilt server needs of a kit: what ``backup_paths`` names, and what of its
    application no repository brings.
    """
    named = [parts for path in settings.paths if (parts := parts_of(path)) is not None]
    return list(dict.fromkeys([*named, *rebuild.needed(settings)]))


def _read(job: Job, kit: Kit, needed: Iterable[Parts]) -> tuple[float, list[Parts]]:
    """:return: seconds, and what of the needed is not in it."""
    began, absent = time.monotonic(), set(needed)
    for parts in read_kit(job, kit):
        absent.discard(parts)
    return time.monotonic() - began, sorted(absent)


def _refused(kit: Kit, error: PostgresBackupError) -> list[DrillFinding]:
    if any(one["code"] == "KEY_NOT_GIVEN" for one in error.findings):
        return [judged(unknown(kit.name, "it is encrypted, and its key was not given"), CHECK)]
    told = error.findings or [finding("KIT_DAMAGED", f"{kit.name}: {error.message}")]
    return [{**stops(one), "check": CHECK} for one in told]


def _named(paths: Sequence[Parts]) -> str:
    return some([path_of(parts) for parts in paths])
