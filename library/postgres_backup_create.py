#!/usr/bin/python
"""Ansible module: take a backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_create
short_description: Back up a PostgreSQL database into S3-compatible object storage
description:
  - Streams C(pg_dump) into the bucket; no local file, bounded memory. The backup becomes visible
    under its name only when it is whole.
  - Each run makes a new backup, so a run that succeeds is always a change.
options:
  tables:
    description:
      - Only these tables, such as V(users,public.orders), into C(partial/); never mistaken for a
        whole backup.
    type: list
    elements: str
    default: []
  schema_only:
    description: Only the definitions, no rows; into C(partial/) as well.
    type: bool
    default: false
  recovered_host:
    description: It is taken from the recovered cluster there, a folder of sockets, as
      M(postgres_backup_pitr_restore) returns it, and lies apart from the nightly ones.
    type: str
    default: ""
  recovered_port:
    description: Its port.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be made; the server and the bucket are asked whether they would let
      us.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.database
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: Back up the database
  postgres_backup_create:
  become: true
  become_user: postgres-backup
  vars:
    ansible_python_interpreter: /opt/postgres-backup/venv/bin/python

- name: Back up two tables of one of several databases
  postgres_backup_create:
    database: crm
    tables: [users, public.orders]
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
taken_at:
  description: The moment that it shows, UTC.
  type: str
  returned: when not in check mode
  sample: "2026-01-27T00:00:00Z"
key:
  description: The object's key in the bucket.
  type: str
  returned: success
  sample: postgres-backup/postgres-backup-2026-01-27_00-00-00.sql.gz
bytes:
  description: Size of the object.
  type: int
  returned: when not in check mode
dump_bytes:
  description: Size of the dump before compression and encryption.
  type: int
  returned: when not in check mode
tables:
  description: How many tables have rows in it.
  type: int
  returned: when not in check mode
rows:
  description: Rows in all tables.
  type: int
  returned: when not in check mode
seconds:
  description: How long it took.
  type: float
  returned: when not in check mode
sha256:
  description: SHA-256 of the object, hexadecimal.
  type: str
  returned: when not in check mode
findings:
  description: What is worth knowing although the backup is good, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

import dataclasses

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
    "tables": {"type": "list", "elements": "str", "default": []},
    "schema_only": {"type": "bool", "default": False},
    "recovered_host": {"type": "str", "default": ""},
    "recovered_port": {"type": "int", "default": 0},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.backup import database
    from ansible.module_utils.postgres_backup.catalog import recovered

    host, port = call.params["recovered_host"], call.params["recovered_port"]
    if host:
        call = dataclasses.replace(call, settings=recovered.source(call.settings, host, port))
    result = database.create_backup(call.job, call.params["tables"], call.params["schema_only"])
    return told(result, database.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
