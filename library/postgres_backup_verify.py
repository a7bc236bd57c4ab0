#!/usr/bin/python
"""Ansible module: prove that a backup is whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_verify
short_description: Prove that a backup is whole
description:
  - Reads all of a backup from the bucket and compares it with its manifest, row counts and hashes
    of every table included.
  - The proof is written beside the backup, under C(proofs/); a backup without a manifest (made by
    older scripts) gets one.
    The first proof of a backup is a change.
  - A backup that is not whole is a failure with RV(ignore:exit_status) 4, and the findings say what
    is wrong with it.
options:
  backup:
    description: The name as listed by M(postgres_backup_info), or V(latest).
    type: str
    default: latest
  identities:
    description: Private age keys, needed for a backup that is encrypted.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: The backup is read all the same; the proof is not written.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.from_copy
  - postgres_backup.database
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: Prove the newest backup
  postgres_backup_verify:
    backup: latest
"""

RETURN = r"""
backup:
  description: The name of the backup.
  type: str
  returned: success
  sample: postgres-backup-2026-01-27_00-00-00.sql.gz
database:
  description: The database.
  type: str
  returned: success
  sample: crm
key: {description: The object's key in the bucket., type: str, returned: success}
bytes: {description: Size of the object., type: int, returned: success}
dump_bytes: {description: Size of the dump before compression and encryption., type: int,
  returned: success}
rows: {description: Rows in all tables., type: int, returned: success}
sha256:
  description: SHA-256 of the object, hexadecimal.
  type: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
findings:
  description: What is worth knowing, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    DATABASE_OPTION,
    FROM_COPY_OPTION,
    PROGRESS_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **FROM_COPY_OPTION,
    **DATABASE_OPTION,
    **PROGRESS_OPTION,
    "backup": {"type": "str", "default": "latest"},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.verify import verify

    result = verify.verify_backup(call.job, call.params["backup"])
    return told(result, verify.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
