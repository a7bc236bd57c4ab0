#!/usr/bin/python
"""Ansible module: restore a backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_restore
short_description: Make a database, or some tables of it, what it was in a backup
description:
  - Loads the backup beside the live database, compares it with its manifest, and swaps the two by
    renaming.
  - If anything fails before the swap, the live database has not noticed. The old database is kept,
    and M(postgres_backup_undo_restore) brings it back.
options:
  backup:
    description: The name as listed by M(postgres_backup_info), or V(latest). Not for V(discard) and
      V(compare).
    type: str
    default: ""
  tables:
    description: Only these tables, named as in SQL, in one transaction of the live database;
      everything else stays as it is.
    type: list
    elements: str
    default: []
  copy_as:
    description: As a database of this name beside the live one, to look into; nothing is swapped,
      no application needs to stop. Refused where the name is taken. The nightly prune drops it
      after O(keep_days).
    type: str
    default: ""
  keep_days:
    description: For how many days the copy of O(copy_as) stays. Left out, as many as a database
      that a restore has replaced.
    type: int
  stage:
    description:
      - One step of a restore, for whoever has something to do between them (stop an application
        before the swap, start it after).
      - V(load) fills and proves the side database, V(swap) puts it in the live one's place,
        V(discard) removes it instead; V(compare) says in which tables a kept database and the live
        one have different numbers of rows; V(note) writes into the bucket's journal that it was
        done, which V(swap) leaves out because an application is waiting.
    type: str
    choices: [all, load, swap, discard, compare, note]
    default: all
  side_database:
    description: What V(load) returned; empty where it restores in place. For V(swap) and
      V(discard).
    type: str
    default: ""
  kept_database:
    description: What V(swap) returned. For V(compare) and V(note).
    type: str
    default: ""
  downtime_seconds:
    description: What V(swap) returned. For V(note).
    type: float
    default: 0.0
  in_place:
    description: Load inside the live database, in one transaction, where no second copy fits on the
      disk; nothing is kept. Left out, the settings decide.
    type: bool
  triggers:
    description: With O(tables), whether the application's triggers fire for what is written;
      V(off) as in replication. Foreign keys are checked in any case.
    type: str
    choices: ["off", "on"]
    default: "off"
  identities:
    description: Private age keys, needed for a backup that is encrypted.
    type: list
    elements: str
    default: []
  trust_unsigned:
    description: Use also what is not signed, or by a key that this server does not trust. Whoever
      wrote it has the rights that it is loaded with. What is forged is refused all the same.
    type: bool
    default: false
  roles_with_power:
    description: With O(trust_unsigned), the roles of such a backup may be superusers and the like.
    type: bool
    default: false
  smaller:
    description: A backup with less than C(backup_restore_min_percent) of the live rows is meant.
    type: bool
    default: false
  recovered:
    description: O(backup) is one of a recovered cluster, as M(postgres_backup_create) takes it with
      O(postgres_backup_create#module:recovered_host).
    type: bool
    default: false
attributes:
  check_mode:
    description: Everything is looked at (backup, grants, disk) and the plan returned; with
      O(tables) the backup is loaded beside to count what differs.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.from_copy
  - postgres_backup.database
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: Bring back one of several databases
  postgres_backup_restore:
    backup: postgres-backup-2026-01-27_00-00-00.sql.gz
    database: crm

- name: Bring back two tables of the newest backup
  postgres_backup_restore:
    backup: latest
    tables: [users, public.orders]

- name: Look into last week's backup for two days
  postgres_backup_restore:
    backup: postgres-backup-2026-01-20_00-00-00.sql.gz
    copy_as: crm_last_week
    keep_days: 2

- name: Restore a backup that was made before this server signed its own
  postgres_backup_restore:
    backup: postgres-backup-2026-01-27_00-00-00.sql.gz
    trust_unsigned: true
"""

RETURN = r"""
live:
  description: The backup beside the live database that it replaces. C(age_hours), C(then_rows) and
    C(now_rows) (C(exact) or estimated), and C(newer), the tables that have more rows now.
  type: dict
  returned: when there is a database to replace, and all of it comes back
database: {description: The database., type: str, returned: success, sample: crm}
findings:
  description: What is worth knowing although all is well, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
backup: {description: The name of the backup., type: str, returned: a backup was named,
  sample: postgres-backup-2026-01-27_00-00-00.sql.gz}
key: {description: The object's key in the bucket., type: str, returned: a backup is read}
bytes: {description: Size of the object., type: int, returned: a backup is read}
rows: {description: "Rows in all tables; in check mode those of the manifest, if any.", type: int,
  returned: a backup is read}
sha256: {description: "SHA-256 of the object, hexadecimal.", type: str,
  returned: a backup was loaded}
seconds: {description: How long it took., type: float, returned: a backup was loaded}
kept_database:
  description: What the database as it was is kept as; none in place, or where there was none. With
    O(tables) where the rows that were changed are kept as they were.
  type: str
  returned: all, swap, compare, note, and with O(tables)
downtime_seconds: {description: For how long nobody could use the database., type: float,
  returned: "all, swap and note, when not in check mode"}
copy_database: {description: What the copy is called., type: str, returned: with O(copy_as)}
keep_days: {description: For how many days the copy stays., type: int, returned: with O(copy_as)}
side_database: {description: The side database; none where it restores in place., type: str,
  returned: "load and discard"}
tables:
  description: Each C(table), its C(rows), C(inserted), C(updated), C(deleted), C(created).
  type: list
  elements: dict
  returned: with O(tables)
passed_tables: {description: "Others of the backup, which were read and proved, and not loaded.",
  type: int, returned: with O(tables)}
passed_rows: {description: The rows in them., type: int, returned: with O(tables)}
unread_tables: {description: "Large ones that were not read, for nobody asked for them.", type: int,
  returned: with O(tables)}
read_bytes: {description: Bytes of the object that were used., type: int,
  returned: with O(tables)}
row_differences:
  description: Each C(table), C(kept_rows), C(live_rows); none where there is no such table.
  type: list
  elements: dict
  returned: compare
replaces: {description: There was a database of that name., type: bool, returned: "all and load"}
in_place: {description: It is loaded inside the live database., type: bool,
  returned: "all and load"}
proven:
  description: The backup was read to its end, or restored, before.
  type: bool
  returned: all and load
missing_roles:
  description: Roles that the server lacked, made from those saved with the backup.
  type: list
  elements: str
  returned: all and load
sessions: {description: How many others were connected to the database., type: int,
  returned: "all and load"}
needed_bytes: {description: Room that a second copy needs on the database server., type: int,
  returned: "all and load"}
free_bytes: {description: Room that there was; none where nobody could say., type: int,
  returned: "all and load"}
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

import dataclasses

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    PROGRESS_OPTION,
    READ_OPTIONS,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **READ_OPTIONS,
    **PROGRESS_OPTION,
    "backup": {"type": "str", "default": ""},
    "tables": {"type": "list", "elements": "str", "default": []},
    "copy_as": {"type": "str", "default": ""},
    "keep_days": {"type": "int"},
    "stage": {
        "type": "str",
        "choices": ["all", "load", "swap", "discard", "compare", "note"],
        "default": "all",
    },
    "side_database": {"type": "str", "default": ""},
    "kept_database": {"type": "str", "default": ""},
    "downtime_seconds": {"type": "float", "default": 0.0},
    "in_place": {"type": "bool"},
    "triggers": {"type": "str", "choices": ["off", "on"], "default": "off"},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "trust_unsigned": {"type": "bool", "default": False},
    "roles_with_power": {"type": "bool", "default": False},
    "smaller": {"type": "bool", "default": False},
    "recovered": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.catalog import recovered
    from ansible.module_utils.postgres_backup.restore import steps

    # what the job is made of
    about = {*CONFIG_OPTION, *PROGRESS_OPTION, *READ_OPTIONS, "identities"}
    about |= {"trust_unsigned", "roles_with_power", "smaller", "recovered"}
    options = {name: value for name, value in call.params.items() if name not in about}
    if call.params["recovered"] and options["stage"] != "note":  # the journal is that of the nights
        call = dataclasses.replace(call, settings=recovered.place(call.settings))
    result = steps.perform_step(call.job, **options)
    return told(result, steps.lines(result, options["stage"], call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
