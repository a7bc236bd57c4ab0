"""Housekeeping that the store does not do: once it is a finding, backup after backup an alarm."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from ..findings import Finding, finding
from ..machine import state
from ..s3.calls import CALLS, Part
from ..settings import Settings
from . import alarms
from .alarm_kinds import Alarm

#: the state that counts: for each database (the kit: empty), code -> backups in a row
_STATE = "housekeeping.json"
#: so many in a row are no passing trouble
LASTING = 3
#: the findings that tell of it
CODES = frozenset(call.finding for call in CALLS.values() if call.part is Part.HOUSEKEEPING)


def note(settings: Settings, database: str, findings: Sequence[Finding]) -> list[Finding]:
    """Count what a backup was told of, and raise the alarm, or end it.

    :param database: whose backup; empty: it is the kit.
    :param findings: of the backup, which is in the bucket.
    :return: findings: what could not be noted or told.
    """
    refused = {one["code"]: one["message"] for one in findings if one["code"] in CODES}
    times: dict[str, int] = {}
    try:
        if refused or state.read(settings, _STATE).get(database):  # else there is nothing to keep
            with state.changing(settings, _STATE) as kept:
                before = kept.get(database)
                earlier = before if isinstance(before, dict) else {}
                times = {code: _number(earlier.get(code)) + 1 for code in refused}
                kept[database] = times
    except UsageError as error:
        return [finding("STATE_NOT_WRITTEN", error.message)]
    lasting = [code for code in times if times[code] >= LASTING]
    told = "; ".join(
        f"{code} in {times[code]} backups in a row: {refused[code]}" for code in lasting
    )
    raised = Alarm("HOUSEKEEPING_REFUSED", database, told)
    return alarms.settle(settings, [raised.key], [raised] if lasting else [])


def _number(kept: object) -> int:
    return kept if isinstance(kept, int) else 0
