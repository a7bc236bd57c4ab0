"""What a drill has found, as it is told."""

from __future__ import annotations

from typing import TypedDict

from ..catalog import rpo
from ..catalog.rpo import Rpo
from ..errors import BadBackupError
from ..findings import finding
from ..text import human_seconds
from . import estimate
from .estimate import Rebuild
from .levels import Check, DrillFinding, Level, at_or_above
from .queries import Answered


class DrillResult(TypedDict):
    """A drill; in check mode what is known before it.

    ``rows``: of the copy, None where none was loaded. ``phases``: seconds of each, pauses included.
    ``restore_seconds``: what a restore would take up to its swap, None where that was not measured;
    ``rebuild``: what a rebuild of the whole server would, likewise.
    ``passed``: nothing was found at ``fail_on`` or above.
    """

    changed: bool
    backup: str
    database: str
    key: str
    bytes: int
    rows: int | None
    seconds: float
    phases: dict[str, float]
    restore_seconds: float | None
    rebuild: Rebuild | None
    checks: list[Check]
    queries: list[Answered]
    findings: list[DrillFinding]
    fail_on: Level
    passed: bool
    #: the longest time between two backups of late, by the journal
    rpo: Rpo | None


def lines(result: DrillResult, check: bool = False) -> list[str]:
    """A drill for a person; the first line is what the log ends with."""
    name, backup = result["database"], result["backup"]
    unchecked = [one["check"] for one in result["checks"] if one["outcome"] == "unchecked"]
    passed = sum(one["outcome"] in ("passed", "note") for one in result["checks"])
    if check:
        word = "would be restored beside the live database" if result["passed"] else "has findings"
        told = f"{name}: the drill of {backup}: it {word}"
    elif result["passed"]:
        told = (
            f"{name}: the drill of {backup} passed: {result['rows']} rows, "
            f"{passed} of {len(result['checks'])} checks passed, "
            f"{human_seconds(result['seconds'])}"
        )
        if result["restore_seconds"] is not None:
            told += f"; {estimate.told(result['restore_seconds'], result['rebuild'])}"
    else:
        worst = at_or_above(result["findings"], result["fail_on"])[0]
        told = f"{name}: the drill of {backup} FAILED: {worst['code']}: {worst['message']}"
    said = [told]
    if unchecked and not check:
        said.append(f"Not checked, so not known: {', '.join(unchecked)}")
    if known := result["rpo"]:
        said.append(rpo.line(known, rpo.DAYS))
    return said + [
        f"{found['level']}  {found['code']}: {found['message']}" for found in result["findings"]
    ]


def require_passed(result: DrillResult) -> None:
    """For whoever can fail only with an error.

    :raises BadBackupError: it did not pass; with all findings.
    """
    if not result["passed"]:
        raise BadBackupError(
            lines(result)[0],
            "docs/troubleshooting.md, What a drill finds",
            [finding(found["code"], found["message"]) for found in result["findings"]],
        )
