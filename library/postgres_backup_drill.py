#!/usr/bin/python
"""Ansible module: restore a backup beside the live database, to see that it can be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_drill
short_description: Restore a backup beside the live database, look whether it is right, remove it
description:
  - Everything that a restore does but the swap, so that it is known that a restore works, and how
    long it takes. The live database is not touched, and nothing in it is locked.
  - Rows, contents, definitions, owners, rights, extensions, sequences, constraints and settings of
    the copy are compared with what the backup says.
  - What is found is told, and noted in the bucket and on the server. Where it is as grave as
    O(fail_on), the module fails with RV(ignore:exit_status) 4.
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
  fast:
    description: At the full speed of a restore, instead of C(backup_drill_mb_per_second).
    type: bool
    default: false
  fail_on:
    description: The least grave level of a finding at which the drill has not passed.
    type: str
    choices: [failed, warning, note]
    default: failed
  junit:
    description: A file on the server that gets the checks as JUnit has them. Empty for none.
    type: str
    default: ""
  config_of:
    description:
      - The text of the config file of another server. The copy of its backup is made on this one,
        with this one's PostgreSQL, and RV(copied) is what came of it. Nothing is noted or told.
      - It is used for the call and written nowhere.
    type: str
    default: ""
  copied:
    description:
      - What another host has returned as RV(copied), of the same backup. No copy is made then; the
        live database and the kit are looked at here, and how the drill ended is noted and told.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is loaded. What stands in the way of it is found all the same.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.database
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: See that the newest backup can be restored
  postgres_backup_drill:
    backup: latest
"""

RETURN = r"""
backup:
  description: The name of the backup.
  type: str
  returned: success
  sample: postgres-backup-2026-01-27_00-00-00.sql.gz
database: {description: The database., type: str, returned: success, sample: crm}
key: {description: The object's key in the bucket., type: str, returned: success}
bytes: {description: Size of the object., type: int, returned: success}
rows:
  description: Rows in all tables of the copy; null where there was none.
  type: int
  returned: success
seconds: {description: How long it took., type: float, returned: success}
phases:
  description: Seconds of C(kit), C(load), C(statistics), C(compare) and C(queries), with pauses.
  type: dict
  returned: success
restore_seconds:
  description: What a restore would take up to its swap, null where that was not measured.
  type: float
  returned: success
rebuild:
  description: What a rebuild of the whole server would take, C(seconds), of which C(parts), and
    which of them are C(assumed), for nobody has measured them here. Null where a restore was not
    measured.
  type: dict
  returned: success
rpo:
  description: The longest time between two good backups, or from the last one until now, in
    C(hours), C(since) when and C(until) when, as the journal of 30 days has it; null where it has
    none.
  type: dict
  returned: success
checks:
  description: Each check, with its C(outcome) (V(passed), V(note), V(warning), V(failed), or
    V(unchecked) where nobody could look) and what it C(says).
  type: list
  elements: dict
  returned: success
queries:
  description: What came of C(backup_drill_queries), each C(name), C(answer), C(passed), C(error).
  type: list
  elements: dict
  returned: success
passed: {description: Nothing was found at O(fail_on) or above., type: bool, returned: success}
fail_on: {description: As it was asked for., type: str, returned: success}
findings:
  description: What was found, each with C(code), C(message), C(check) and C(level).
  type: list
  elements: dict
  returned: success
copied:
  description: What came of the copy, for O(copied) of the server whose backup it is. Nothing else
    is returned then.
  type: dict
  returned: with O(config_of)
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    DATABASE_OPTION,
    PROGRESS_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **DATABASE_OPTION,
    **PROGRESS_OPTION,
    "backup": {"type": "str", "default": "latest"},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "fast": {"type": "bool", "default": False},
    "fail_on": {"type": "str", "choices": ["failed", "warning", "note"], "default": "failed"},
    "junit": {"type": "str", "default": ""},
    "config_of": {"type": "str", "default": "", "no_log": True},
    "copied": {"type": "dict", "default": {}},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.drill import database, elsewhere, result

    asked = call.params
    if asked["config_of"]:
        made = elsewhere.copy_here(call.job, asked["config_of"], asked["backup"], asked["fast"])
        return told({"changed": not call.check, "copied": made}, elsewhere.lines(made))
    done = database.drill_database(
        call.job,
        asked["backup"],
        asked["fast"],
        asked["fail_on"],
        asked["junit"],
        elsewhere.came_back(asked["copied"]),
    )
    result.require_passed(done)
    return told(done, result.lines(done, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
