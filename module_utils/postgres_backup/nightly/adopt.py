"""Take over what old scripts left, so that the retention counts for it."""

from __future__ import annotations

from ..catalog import manifest
from ..catalog.backups import Catalog
from ..errors import BadBackupError, UsageError
from ..machine import lock
from ..machine.progress import Progress
from ..s3.store import Store
from ..settings import Settings
from ..verify.proof import prove


def adopt_backups(
    settings: Settings, database: str = "", check: bool = False, progress: Progress | None = None
) -> dict:
    """Declare the backups without a manifest to be this server's and database's, so that the
    retention counts for them.

    They are read to their end first, as ``verify`` does; what is not whole is not adopted.

    :return: ``database adopted refused findings changed``.
    """
    progress = progress or Progress()
    database = settings.for_database(database)
    store = Store(settings)
    store.check()
    result: dict = {
        "changed": False,
        "database": database,
        "adopted": [],
        "refused": [],
        "findings": [],
    }
    with lock.hold(settings, database, "adopt"):
        for backup in Catalog(settings, store, database).backups():
            if not (backup.waits_for_adoption and backup.candidate):
                continue
            try:
                found = prove(settings, store, backup, database, (), progress)
            except (
                BadBackupError,
                UsageError,
            ) as error:  # cut, altered, or encrypted for a key that is not here
                result["refused"].append({"backup": str(backup.name), "reason": error.message})
                result["findings"] += error.findings or [
                    {"code": "NOT_ADOPTED", "message": error.message}
                ]
                continue
            found |= {"server": {"name": settings.server_name}, "adopted": True}
            result["changed"] = True
            result["adopted"].append(str(backup.name))
            if not check:
                store.put(
                    backup.layout.manifest(backup.name), manifest.dump(found), "application/json"
                )
                progress.step(f"{database}: adopted {backup.name}")
    return result
