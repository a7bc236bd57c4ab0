#!/usr/bin/python
"""Ansible module: bring back the database that a restore replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_undo_restore
short_description: Take the last restore back, of a database or of tables
description:
  - Swaps the live database with the one that M(postgres_backup_restore) kept, in one short moment.
    What was live is kept in its turn.
  - A restore of tables is taken back in one transaction of the live database. What came since
    stays; where rows have changed since that it had written, it is refused.
options:
  kept:
    description: The kept database to bring back; left out, the newest one of O(database).
    type: str
    default: ""
attributes:
  check_mode:
    description: Says which database would come back.
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.database]
"""

EXAMPLES = r"""
- name: Undo the last restore
  postgres_backup_undo_restore:
    database: crm
"""

RETURN = r"""
database:
  description: The database.
  type: str
  returned: success
  sample: crm
restored_database:
  description: The kept database that is live again.
  type: str
  returned: success
  sample: crm_before_2026-01-27_10-00-00
kept_database:
  description: The name under which the database that was live until now is kept; none where there
    was none.
  type: str
  returned: success
downtime_seconds:
  description: For how long nobody could use the database.
  type: float
  returned: when not in check mode
tables:
  description: Each C(table), and how many of its rows are C(inserted), C(updated), C(deleted).
  type: list
  elements: dict
  returned: where a restore of tables is taken back
dropped:
  description: Tables that the restore had made.
  type: list
  elements: str
  returned: where a restore of tables is taken back
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
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {**CONFIG_OPTION, **DATABASE_OPTION, "kept": {"type": "str", "default": ""}}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.restore import database

    result = database.undo_restore(call.job, call.params["kept"])
    return told(result, database.undo_lines(result, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
