"""Housekeeping that the store does not do: once it is a finding, backup after backup an alarm."""

from __future__ import annotations

from collections.abc import Sequence

from ..findings import Finding
from ..machine import state
from ..s3.calls import CALLS, COUNT_LEFT, Part
from ..settings import Settings
from . import alarms
from .alarm_kinds import Alarm

#: for each database (the kit: empty), code -> backups in a row
_STATE = state.Kept("housekeeping.json", dict[str, dict[str, int]])
#: so many in a row are no passing trouble
LASTING = 3
#: the findings that tell of it; what `status` could not count is not among a backup's, where the
#: same code says that something was removed
CODES = frozenset(
    call.finding
    for call in CALLS.values()
    if call.part is Part.HOUSEKEEPING and call is not COUNT_LEFT
)


def note(settings: Settings, database: str, findings: Sequence[Finding]) -> list[Finding]:
    """Count what a backup was told of, and raise the alarm, or end it.

    :param database: whose backup; empty: it is the kit.
    :param findings: of the backup, which is in the bucket.
    :return: findings: what could not be noted or told.
    """
    refused = {one["code"]: one["message"] for one in findings if one["code"] in CODES}
    times: dict[str, int] = {}
    troubles: list[Finding] = []
    if refused or state.read(settings, _STATE, troubles).get(database):  # else nothing to keep
        with state.changing(settings, _STATE, troubles) as kept:
            earlier = kept.get(database, {})
            kept[database] = times = {code: earlier.get(code, 0) + 1 for code in refused}
    lasting = [code for code in times if times[code] >= LASTING]
    told = "; ".join(
        f"{code} in {times[code]} backups in a row: {refused[code]}" for code in lasting
    )
    raised = Alarm("HOUSEKEEPING_REFUSED", database, told)
    return troubles + alarms.settle(settings, [raised.key], [raised] if lasting else [])
