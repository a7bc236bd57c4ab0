"""A drill told to all who should know: the journal and the proofs in the bucket, this server's
state, whoever reads the alarms.
"""

from __future__ import annotations

from datetime import timedelta

from ..catalog import history, journal, rpo
from ..catalog.backups import Backup, layout_for
from ..clock import format_timestamp, utc_now
from ..errors import StoreError
from ..findings import Finding, finding
from ..health import alarms
from ..health.alarm_kinds import Alarm, key
from ..health.drills import LAST_DRILLS
from ..job import Job
from ..machine import state
from ..verify.proof import note_restored
from .levels import at_or_above
from .result import DrillResult

#: checks that must not have failed for a backup to count as restored
_RESTORED = ("signature", "whole", "load", "rows", "content")


def note(job: Job, result: DrillResult, backup: Backup | None) -> list[Finding]:
    """Note how a drill ended.

    :param backup: that was restored; None where nothing was.
    :return: findings: what could not be noted or told.
    """
    return [
        *_proof(job, result, backup),
        *_event(job, result),
        *_state(job, result),
        *_alarm(job, result),
    ]


def rpo_of(job: Job) -> rpo.Rpo | None:
    """The longest time between two backups of late; None where the store does not tell it now."""
    now = utc_now()
    try:
        since = now - timedelta(days=rpo.DAYS)
        told = history.happened(job.settings, job.store, since, job.database, "backup")
    except StoreError:
        return None
    return rpo.longest(told["events"], now)


def _proof(job: Job, result: DrillResult, backup: Backup | None) -> list[Finding]:
    if backup is None or any(
        one["check"] in _RESTORED and one["outcome"] == "failed" for one in result["checks"]
    ):
        return []
    return note_restored(job, backup)


def _event(job: Job, result: DrillResult) -> list[Finding]:
    names = ("backup", "database", "bytes", "rows", "seconds", "phases", "restore_seconds")
    facts: dict[str, object] = {
        name: fact for name, fact in result.items() if name in names and fact is not None
    }
    facts["findings"] = [
        finding(one["code"], job.settings.hide(one["message"])) for one in result["findings"]
    ]
    if not result["passed"]:
        worst = at_or_above(result["findings"], result["fail_on"])[0]
        facts["reason"] = job.settings.hide(f"{worst['code']}: {worst['message']}")
    layout = layout_for(job.settings, job.database)
    event = "drill" if result["passed"] else "drill-failed"
    return journal.record(job.store, layout, utc_now(), event, facts)


def _state(job: Job, result: DrillResult) -> list[Finding]:
    findings: list[Finding] = []
    with state.changing(job.settings, LAST_DRILLS, findings) as last:
        last[job.database] = {
            "at": format_timestamp(utc_now()),
            "backup": result["backup"],
            "passed": result["passed"],
            "seconds": result["seconds"],
            "codes": [found["code"] for found in result["findings"]],
        }
    return findings


def _alarm(job: Job, result: DrillResult) -> list[Finding]:
    looked_for = [key(code, job.database) for code in ("DRILL_FAILED", "DRILL_OVERDUE")]
    if result["passed"]:
        return alarms.settle(job.settings, looked_for)
    grave = at_or_above(result["findings"], result["fail_on"])
    if any(found["code"] == "DRILL_GAVE_WAY" for found in grave):
        return alarms.settle(job.settings, looked_for[1:])  # whoever restores has other worries
    told = "; ".join(f"{found['code']}: {found['message']}" for found in grave[:3])
    raised = Alarm("DRILL_FAILED", job.database, f"{result['backup']}: {told}")
    return alarms.settle(job.settings, looked_for, [raised])
