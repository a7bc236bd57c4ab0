"""The roles that were saved beside a backup: the object as it was uploaded, or nothing of it."""

from __future__ import annotations

import hashlib

from ..catalog.backups import Backup
from ..errors import BadBackupError
from ..findings import finding
from ..job import Job

#: bytes of the object at most: some eighty thousand roles
MOST_BYTES = 8 * 1024 * 1024


class AlteredRolesError(BadBackupError):
    """The saved roles are others than were uploaded."""


def saved_roles(job: Job, backup: Backup) -> bytes | None:
    """The object, packed and encrypted as it is; None where the manifest names none, or it is gone.

    Backups of version 0.1.0 know no hash of it. One that is signed has one: what lies there all the
    same, nobody has vouched for, and it is as if it were not there.

    :raises AlteredRolesError: its SHA-256 is not the manifest's.
    :raises TooLarge: nobody has so many roles.
    """
    known = backup.manifest and backup.manifest.get("globals")
    if not known:
        return None
    wanted = known.get("sha256")
    if backup.trusted and not wanted:
        return None
    # by its place, as a prune finds it: the key in a manifest may be that of any object
    key = backup.layout.globals(backup.name)
    data = job.store.get(key, MOST_BYTES)
    if data is not None and wanted and hashlib.sha256(data).hexdigest() != wanted:
        raise AlteredRolesError(
            f"The roles saved with {backup.name} are not those that were uploaded: the SHA-256 of "
            f"{key} is not what the manifest says, and nothing of it was used",
            "Restore another backup: postgres-backup list",
            [finding("OBJECT_ALTERED", f"{key}: its SHA-256 is not the manifest's")],
        )
    return data
