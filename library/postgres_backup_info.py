#!/usr/bin/python
"""Ansible module: list the backups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_info
short_description: List the backups in the bucket
description:
  - Reads the bucket alone; needs neither the database nor any memory of earlier runs.
  - O(database) left out lists the backups of all databases of the settings.
options:
  backup:
    description: Also say which backup this is, a name or V(latest), and fail with the nearest
      names, or with those of other servers, where there is none.
    type: str
    default: ""
  columns:
    description: Break RV(lines) at so many columns; commands stay whole. 0 breaks none. Where it is
      left out, the action plugin takes what there is room for in the terminal.
    type: int
    default: 0
  partial:
    description: List the parts of backups instead (chosen tables, definitions without rows).
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.database
  - postgres_backup.from_copy
"""

EXAMPLES = r"""
- name: List the backups
  postgres_backup_info:
  register: __backup_list

- name: Show the newest
  ansible.builtin.debug:
    var: __backup_list.backups[0]
"""

RETURN = r"""
backups:
  description:
    - The whole-database backups, with O(partial) the parts of backups, newest first. Each has
      C(backup), C(partial) (of which part, empty for all), C(database), C(server), C(key),
      C(taken_at), C(age_hours), C(bytes), C(dump_bytes), C(rows), C(seconds), C(sha256), C(state)
      (proven, good, unproven, bad or foreign), C(problem), C(ours), C(proven),
      C(proof) (C(kind), restored or read, and C(at); none where it is not proven),
      C(postgresql_version), C(collate) and C(encrypted), and C(keep) with its C(reason) as the next
      prune would decide.
  type: list
  elements: dict
  returned: success
table:
  description: The same for reading, one line a backup, with a headline.
  type: list
  elements: str
  returned: success
chosen:
  description: The backup asked for, as in RV(backups).
  type: dict
  returned: with O(backup)
kit:
  description: The newest server kit of this server - C(kit), C(paths), C(files), C(encrypted); none
    where none was saved.
  type: dict
  returned: with O(backup)
waiting:
  description: How many backups that nobody has signed wait for C(postgres-backup adopt).
  type: int
  returned: success
second_store:
  description: What was copied to the second store last, as RV(ignore:second_store) of
    M(postgres_backup_status). RV(backups[].copied) says of each backup whether it lies there.
  type: dict
  returned: with a second store
every_second:
  description: What is kept beside them to recover any second from, as lines for a person; empty
    where C(backup_pitr) is not set for this server.
  type: list
  elements: str
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    COLUMNS_OPTION,
    CONFIG_OPTION,
    DATABASE_OPTION,
    FROM_COPY_OPTION,
    Call,
    Result,
    fitting,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **FROM_COPY_OPTION,
    **COLUMNS_OPTION,
    **DATABASE_OPTION,
    "backup": {"type": "str", "default": ""},
    "partial": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.catalog.kits import newest_kit
    from ansible.module_utils.postgres_backup.health import listing

    asked = [call.params[name] for name in ("database", "backup", "partial")]
    result = listing.look(call.settings, *asked)
    if call.params["backup"]:
        result["kit"] = newest_kit(call.settings)
    result["table"] = listing.table(result["backups"])
    columns = call.params["columns"]
    return told(result, fitting(listing.lines(result, columns), columns))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
