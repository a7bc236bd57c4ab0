"""Take over what old scripts left, so that the retention counts for it."""

from __future__ import annotations

from typing import TypedDict

from ..catalog import manifest
from ..catalog.backups import Catalog
from ..errors import BadBackupError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..machine import lock
from ..verify.proof import prove


class Refused(TypedDict):
    backup: str
    reason: str


class Adopted(TypedDict):
    """The names of those that were taken over, and those that were not, each with the reason."""

    changed: bool
    database: str
    adopted: list[str]
    refused: list[Refused]
    findings: list[Finding]


def adopt_backups(job: Job) -> Adopted:
    """Declare the backups without a manifest to be this server's and database's, so that the
    retention counts for them.

    They are read to their end first, as ``verify`` does; what is not whole is not adopted.
    """
    job.require()
    result: Adopted = {
        "changed": False,
        "database": job.database,
        "adopted": [],
        "refused": [],
        "findings": [],
    }
    with lock.hold(job.settings, job.database, "adopt"):
        for backup in Catalog(job.settings, job.store, job.database).backups():
            if not backup.waits_for_adoption:
                continue
            try:
                proven = prove(job, backup)
            except (BadBackupError, UsageError) as error:
                # cut, altered, or encrypted for a key that is not here
                result["refused"].append({"backup": str(backup.name), "reason": error.message})
                result["findings"] += error.findings or [finding("NOT_ADOPTED", error.message)]
                continue
            proven["server"] = {"name": job.settings.server_name}
            proven["adopted"] = True
            result["changed"] = True
            result["adopted"].append(str(backup.name))
            if not job.check:
                job.store.put(
                    backup.layout.manifest(backup.name), manifest.dump(proven), "application/json"
                )
                job.progress.step(f"{job.database}: adopted {backup.name}")
    return result


def lines(result: Adopted) -> list[str]:
    """:func:`adopt_backups` for a person."""
    return [
        *(f"adopted  {name}" for name in result["adopted"]),
        *(f"refused  {line['backup']}: {line['reason']}" for line in result["refused"]),
    ] or ["Nothing waits for adoption."]
