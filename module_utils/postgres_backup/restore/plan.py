"""What a restore is going to do, and what it has done: facts that its rooms hand to each other."""

from __future__ import annotations

import dataclasses
from typing import TypedDict

from ..catalog import path_needs
from ..catalog.backups import Backup
from ..findings import Finding
from ..postgresql.facts import DatabaseFacts, ServerFacts
from ..postgresql.programs import Programs
from ..postgresql.ways import Way
from ..text import human_bytes
from .role_statements import Statement


class PlanResult(TypedDict):
    """The part of a plan that a result tells.

    ``rows``: as in the manifest; None where there is none, until they are counted. ``free_bytes``:
    None where nobody could say.
    """

    backup: str
    database: str
    key: str
    bytes: int
    rows: int | None
    proven: bool
    replaces: bool
    missing_roles: list[str]
    sessions: int
    needed_bytes: int
    free_bytes: int | None
    findings: list[Finding]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a restore is going to do.

    :param superusers: the server's roles that are.
    :param live: the live database; None where there is none.
    :param wanted: what the restored database is going to be beside its content.
    :param missing_roles: what the server lacks; ``role_statements`` make them.
    :param sessions: how many others are connected to the live database.
    """

    backup: Backup
    database: str
    server: ServerFacts
    superusers: tuple[str, ...]
    tools: Programs
    live: DatabaseFacts | None
    wanted: DatabaseFacts
    missing_roles: tuple[str, ...]
    role_statements: tuple[Statement, ...]
    sessions: int
    needed_bytes: int
    free_bytes: int | None
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """The backup's."""
        return str(self.backup.name)

    @property
    def ways(self) -> frozenset[Way]:
        """What its load does otherwise from the beginning, because the backup knew it."""
        known = self.backup.manifest
        needed = known is not None and known.get("needs_search_path")
        return frozenset({Way.SEARCH_PATH} if needed else ())

    @property
    def dumped_by_us(self) -> bool:
        """Our pg_dump wrote it, not somebody's script: when it ended is known to its maker only."""
        return bool(self.backup.manifest and self.backup.manifest.get("ended_at"))

    def describe(self) -> PlanResult:
        manifest = self.backup.manifest
        needs = manifest.get("needs_search_path", []) if manifest else []
        return {
            "backup": self.name,
            "database": self.database,
            "key": self.backup.key,
            "bytes": self.backup.bytes,
            "rows": manifest["rows"] if manifest else None,
            "proven": self.backup.proven,
            "replaces": self.live is not None,
            "missing_roles": list(self.missing_roles),
            "sessions": self.sessions,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
            "findings": [*self.findings, *path_needs.findings_of(needs, self.database)],
        }


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restore has done.

    :param rows: in all tables.
    :param sha256: of the object.
    :param kept_database: what the database as it was is kept as; None where nothing is kept.
    :param downtime_seconds: for how long nobody could use the database.
    """

    rows: int
    sha256: str
    kept_database: str | None
    downtime_seconds: float
    findings: list[Finding]


def plan_lines(plan: PlanResult, in_place: bool) -> list[str]:
    """What is going to happen, and in which state the rest is, for a person.

    The name of what is kept has the time of the swap, which nobody knows before.
    """
    name = plan["database"]
    rows = "an unknown number of" if plan["rows"] is None else plan["rows"]
    proven = "proven" if plan["proven"] else "not yet read to its end by anybody: that comes first"
    told = [
        (
            f"{name} would become what it was in {plan['backup']} "
            f"({rows} rows, {human_bytes(plan['bytes'])}, {proven})"
        )
    ]
    if in_place:
        told.append(
            "In place, in one transaction: nothing is kept to go back to, "
            "and the application waits for all of it"
        )
    elif plan["replaces"]:
        told.append(f"The database as it is would be kept as {name}_before_<time>")
    else:
        told.append(f"There is no database {name} now")
    if plan["free_bytes"] is not None:
        needed, free = human_bytes(plan["needed_bytes"]), human_bytes(plan["free_bytes"])
        told.append(f"Room for a second copy: {needed} needed, {free} free")
    if plan["missing_roles"]:
        told.append(f"Roles that are made first: {', '.join(plan['missing_roles'])}")
    if plan["sessions"]:
        told.append(f"Connections that the swap closes: {plan['sessions']}")
    return [*told, *(found["message"] for found in plan["findings"])]
