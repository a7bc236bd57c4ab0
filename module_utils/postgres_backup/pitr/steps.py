"""A recovery in steps, for whoever has something to do between them: what the module
``postgres_backup_pitr_restore`` is asked for.
"""

from __future__ import annotations

from typing import TypeAlias

from ..machine.progress import Progress
from ..settings import Settings
from . import lost, promote, recover
from .promote import Promoted
from .recover import Recovered, Removed
from .side_cluster import Guest

StepResult: TypeAlias = Recovered | Removed | Promoted


def perform_step(
    settings: Settings,
    progress: Progress,
    check: bool,
    *,
    stage: str = "recover",
    target_time: str = "",
    target_lsn: str = "",
    target_name: str = "",
    latest: bool = False,
    keep: bool = False,
    go_on: bool = False,
    guest_user: str = "",
    guest_role: str = "",
    incoming: str = "",
    kept: str = "",
    as_of: str = "",
    system_identifier: str = "",
) -> StepResult:
    """What is asked for.

    :param stage: ``recover``, ``lost``, ``remove``, ``settle``, ``exchange`` or ``seal``.
    :param go_on: where no target is given, the recovered cluster that was kept.
    :return: the result of the function that is called.
    """
    match stage:
        case "remove":
            return recover.remove(settings, check)
        case "settle":
            return promote.settle(settings, kept, check)
        case "exchange":
            return promote.exchange(settings, incoming, kept, as_of)
        case "seal":
            return promote.seal(settings, progress, incoming, kept, as_of)
        case "lost":
            return lost.bring(settings, progress, system_identifier, lost.wanted(target_time))
    typed = {"time": target_time, "lsn": target_lsn, "name": target_name}
    if go_on and not latest and not any(typed.values()):
        return recover.kept(settings, check)
    guest = Guest(guest_user, guest_role)
    return recover.recover(settings, progress, typed, latest, keep, check, guest)


def lines(settings: Settings, result: StepResult, stage: str, check: bool) -> list[str]:
    """:func:`perform_step` for a person."""
    if "label" not in result:
        return recover.removed_lines(result, check)
    if "tables" in result:
        if stage == "lost":
            return lost.lines(settings, result)
        return recover.lines(settings, result, check)
    return promote.lines(result, stage, check)
