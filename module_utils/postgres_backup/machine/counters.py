"""What was counted since the server was set up, for the metrics."""

from __future__ import annotations

from typing import TypedDict

from ..findings import Finding
from ..settings import Settings
from . import state


class Counters(TypedDict, total=False):
    """What the state has counted: backups removed, for each database; failures, by reason."""

    pruned: dict[str, int]
    failures: dict[str, dict[str, int]]


COUNTERS = state.Kept("counters.json", Counters)


def removed(settings: Settings, database: str, number: int) -> list[Finding]:
    """Count backups that the retention took. A number that is lost fails nothing.

    :return: findings: what the state could not do.
    """
    findings: list[Finding] = []
    with state.changing(settings, COUNTERS, findings) as numbers:
        pruned = numbers.setdefault("pruned", {})
        pruned[database] = pruned.get(database, 0) + number
    return findings


def failed(settings: Settings, database: str, reason: str) -> list[Finding]:
    """Count a failure, for its reason (see ``errors.reason``); the same in all else."""
    findings: list[Finding] = []
    with state.changing(settings, COUNTERS, findings) as numbers:
        reasons = numbers.setdefault("failures", {}).setdefault(database, {})
        reasons[reason] = reasons.get(reason, 0) + 1
    return findings
