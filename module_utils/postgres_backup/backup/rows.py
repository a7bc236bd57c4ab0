"""After a backup: are rows that there were many of gone?"""

from __future__ import annotations

from collections.abc import Sequence

from ..catalog import said
from ..catalog.backups import Catalog
from ..clock import utc_now
from ..errors import StoreError
from ..findings import Finding, finding
from ..health import alarms, rows_gone
from ..health.alarm_kinds import Alarm, key
from ..job import Job
from ..machine.identity import Mark


def look_for_rows(job: Job, own: Mark, emptied: Sequence[str] = ()) -> list[Finding]:
    """Whether tables that had many rows have none in the newest backup, told as such.

    :param emptied: of these it is meant: that is noted first.
    :return: findings ROWS_GONE, NOT_EMPTIED, TREND_NOT_KNOWN.
    """
    server, name, now = job.settings.server_name, job.database, utc_now()
    findings: list[Finding] = []
    try:
        catalog = Catalog(job.settings, job.store, name, own)
        lost = rows_gone.gone(server, name, catalog.backups(), now)
        if emptied:
            meant, others = rows_gone.named(lost, emptied)
            said.write_emptied(job.store, catalog.layout, name, meant, now)
            lost = [one for one in lost if one.table not in meant]
            told = "is not among the tables that have lost all of their rows"
            findings += [finding("NOT_EMPTIED", f"{table} {told}") for table in others]
    except StoreError as error:  # the backup is in the bucket all the same
        return [finding("TREND_NOT_KNOWN", error.message)]
    gone = rows_gone.findings_of(name, lost)
    for found in gone:
        job.progress.step(f"{name}: {found['code']}: {found['message']}")
    raised = [Alarm(found["code"], name, found["message"]) for found in gone]
    return findings + gone + alarms.settle(job.settings, [key("ROWS_GONE", name)], raised)
