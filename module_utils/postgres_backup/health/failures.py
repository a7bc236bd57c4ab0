"""The backups that failed and that none has made good since: from the journal, which every server
under the prefix shares, and from what this one remembers of its last run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..catalog.backups import Backup, newest_good
from ..catalog.history import Event, LastRun, happened, last_run_line
from ..catalog.listed_once import Listings
from ..errors import StoreError
from ..findings import Finding, finding
from ..machine.due import BACKUP
from ..s3.store import Store
from ..settings import Settings
from .verdict import Failed

#: the event of the journal
FAILED = "backup-failed"


def newest(
    settings: Settings,
    store: Store,
    backups: Mapping[str, Sequence[Backup]],
    last_run: LastRun,
    told: Sequence[Event] | None,
    findings: list[Finding],
    listings: Listings | None = None,
) -> dict[str, Failed]:
    """By database, the newest failure after its newest good backup; a database without either is
    not there.

    :param backups: per database, newest first.
    :param told: events of the last days, where somebody has read them; else the journal is asked.
    :param findings: gets what the journal does not tell.
    :param listings: what the look at the backups has listed.
    """
    good = {name: newest_good(there) for name, there in backups.items()}
    taken = [last.taken_at for last in good.values() if last]
    if told is None:
        told, read = [], None
        try:
            # where there is no good one, nothing that failed makes it worse
            if taken:
                read = happened(settings, store, min(taken), only=FAILED, listings=listings)
            told = read["events"] if read else []
            findings += read["findings"] if read else []
        except StoreError as refused:
            message = f"what failed is not known: {refused.message}"
            findings.append(finding("EVENT_UNREADABLE", settings.hide(message)))
    failed: dict[str, Failed] = {}
    for event in told:  # newest first
        if event["event"] == FAILED:
            reason = settings.hide(str(event.get("reason", "")))
            failed.setdefault(event["database"], Failed(event["at"], reason))
    for name, error in _of_the_last_run(last_run).items():
        if name not in failed or failed[name].at < last_run["started_at"]:
            failed[name] = Failed(last_run["started_at"], error)
    return failed


def waiting(run: LastRun) -> str:
    """What the last run has left to be tried again, in a sentence; empty where it has nothing. What
    failed for good, an alarm tells.
    """
    return last_run_line(run) if run.get("again_at") else ""


def _of_the_last_run(run: LastRun) -> dict[str, str]:
    """Why it has no backup, by database."""
    step = f"{BACKUP}: "
    return {
        name: one["error"].removeprefix(step)
        for name, one in run.get("databases", {}).items()
        if one["error"].startswith(step) and not one["backup"]
    }
