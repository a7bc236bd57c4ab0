#!/usr/bin/python
"""Ansible module: delete the backups that retention no longer keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_prune
short_description: Delete the backups that retention no longer keeps
description:
  - Follows the retention in the settings (days, weeks, months), and deletes only backups that are
    this server's and this database's.
  - Never deletes the newest good backup, the newest proven one, or, unless told to, more than half
    in one run.
options:
  allow_many:
    description: Delete even where that is more than half of the backups.
    type: bool
    default: false
attributes:
  check_mode:
    description: The same plan, nothing deleted.
    support: full
  diff_mode:
    description: The names before and after.
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.database]
"""

EXAMPLES = r"""
- name: Say what would be deleted
  postgres_backup_prune:
    database: crm
  check_mode: true
  register: __backup_plan
"""

RETURN = r"""
database:
  description: The database.
  type: str
  returned: success
deleted:
  description: What was deleted (in check mode, would be), each with C(backup) and the C(reason).
  type: list
  elements: dict
  returned: success
kept:
  description: What stays, each with C(backup) and the C(reason).
  type: list
  elements: dict
  returned: success
partial_deleted:
  description: Parts of backups that were deleted, each with C(backup) and the C(reason).
  type: list
  elements: dict
  returned: success
partial_kept:
  description: Those that stay, each with C(backup) and the C(reason).
  type: list
  elements: dict
  returned: success
recovered_deleted:
  description: Dumps that were taken out of recovered clusters and were deleted, each with C(backup)
    and the C(reason).
  type: list
  elements: dict
  returned: success
recovered_kept:
  description: Those that stay, each with C(backup) and the C(reason).
  type: list
  elements: dict
  returned: success
events_deleted:
  description: How many events of the journal were deleted, older than C(backup_journal_days).
  type: int
  returned: success
every_second:
  description: What is kept beside them to recover any second from, and what was taken out of it, as
    lines for a person; empty where C(backup_pitr) is not set for this server.
  type: list
  elements: str
  returned: success
replaced_deleted:
  description: Databases that restores replaced more than C(backup_keep_replaced_days) ago and that
    were dropped, each C(database) and the C(reason).
  type: list
  elements: dict
  returned: success
replaced_kept:
  description: Those that stay, each C(database) and the C(reason). Never dropped while no good
    backup is newer.
  type: list
  elements: dict
  returned: success
waiting:
  description: How many backups without a manifest stay until C(postgres-backup adopt) says that
    they are this server's.
  type: int
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
findings:
  description: What is worth knowing, such as objects of others under the prefix, each with C(code)
    and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    DATABASE_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **DATABASE_OPTION,
    "allow_many": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.backup import prune

    result = prune.prune_backups(call.job, call.params["allow_many"])
    kept, deleted = ([one["backup"] for one in result[key]] for key in ("kept", "deleted"))
    before = "".join(f"{name}\n" for name in sorted(kept + deleted))
    after = "".join(f"{name}\n" for name in sorted(kept))
    return told(result, prune.lines(result, call.check), {"before": before, "after": after})


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
