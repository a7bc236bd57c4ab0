#!/usr/bin/python
"""Ansible module: restore a backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_restore
short_description: Make a database what it was in a backup
description:
  - Loads the backup beside the live database, compares it with its manifest, and swaps the two by renaming.
  - If anything fails before the swap, the live database has not noticed. The old database is kept, and M(postgres_backup_undo_restore) brings it back.
options:
  backup:
    description: The name as listed by M(postgres_backup_info), or V(latest).
    type: str
    required: true
  in_place:
    description:
      - Load inside the live database, in one transaction, where the disk has no room for a second copy. The old data is not kept then.
      - Left out, the settings decide.
    type: bool
  identities:
    description: Private age keys, needed for a backup that is encrypted.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Everything is looked at (backup, grants, disk) and the plan returned; nothing is loaded.
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.database, postgres_backup.progress]
"""

EXAMPLES = r"""
- name: Bring back the newest backup
  postgres_backup_restore:
    backup: latest

- name: Bring back one of several databases
  postgres_backup_restore:
    backup: postgres-backup-2026-01-27_00-00-00.sql.gz
    database: crm
"""

RETURN = r"""
backup:
  description: The name of the backup that was restored.
  type: str
  returned: success
  sample: postgres-backup-2026-01-27_00-00-00.sql.gz
database: {description: The database., type: str, returned: success, sample: crm}
key: {description: The object's key in the bucket., type: str, returned: success}
bytes: {description: Size of the object., type: int, returned: success}
sha256: {description: "SHA-256 of the object, hexadecimal.", type: str, returned: when not in check mode}
kept_database:
  description: The name under which the database is kept as it was before; none where it was restored in place or did not exist.
  type: str
  returned: success
  sample: crm_before_2026-01-27_10-00-00
replaces: {description: There was a database of that name., type: bool, returned: success}
in_place: {description: "It was loaded inside the live database, which is not kept then.", type: bool, returned: success}
rows:
  description: Rows in all tables after the restore; in check mode those of the manifest, none where there is no manifest.
  type: int
  returned: success
missing_roles:
  description: Roles that the backup refers to and the server lacked; they are made from the roles saved with the backup.
  type: list
  elements: str
  returned: success
sessions: {description: How many others were connected to the database., type: int, returned: success}
needed_bytes: {description: Room that a second copy needs on the database server., type: int, returned: success}
free_bytes: {description: Room that there was; none where nobody could say., type: int, returned: success}
seconds: {description: How long all of it took., type: float, returned: when not in check mode}
downtime_seconds: {description: For how long nobody could use the database., type: float, returned: when not in check mode}
findings:
  description: What is worth knowing although the restore is good, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, DATABASE_OPTION, PROGRESS_OPTION, Call, run

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **DATABASE_OPTION,
    **PROGRESS_OPTION,
    "backup": {"type": "str", "required": True},
    "in_place": {"type": "bool"},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
}


def perform(call: Call) -> dict:
    from ansible.module_utils.postgres_backup import restore

    params = call.params
    options = {"in_place_wanted": params["in_place"], "identities": tuple(params["identities"])}
    return restore.restore(call.settings, params["backup"], params["database"], check=call.check, progress=call.progress, **options)


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
