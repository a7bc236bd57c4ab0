#!/usr/bin/python
"""Ansible module: recover a cluster to a moment, beside the live one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_pitr_restore
short_description: Recover a cluster to any second, beside the live one
description:
  - "V(recover): a cluster as it was at a moment, in a new folder and on a new port, which archives
    nothing; the live one goes on. It is seen where the recovery came to an end, and rows are
    counted beside the live ones."
  - "V(lost): the cluster of a lost server, on the machine that takes its place, to O(target_time)
    or the last that there is; after V(find) of M(postgres_backup_pitr). The one that is there must
    be empty. One that was brought there before is taken as it is."
  - "V(remove): removes that cluster."
  - "V(settle), V(exchange), V(seal): let it take the live one's place, or let the one that was kept
    then come back. Between V(settle) and V(exchange) PostgreSQL is stopped, between V(exchange) and
    V(seal) it is started, by whoever may. In a container V(exchange) does both."
options:
  stage:
    description: Which of them.
    type: str
    choices: [recover, lost, remove, settle, exchange, seal]
    default: recover
  target_time:
    description: The moment, with its zone, such as V(2026-01-27T14:03:00Z).
    type: str
    default: ""
  target_lsn:
    description: Or a position in PostgreSQL's log, such as V(0/3000028).
    type: str
    default: ""
  target_name:
    description: Or a mark, as C(playbooks/backup.yml -e mark=NAME) makes them.
    type: str
    default: ""
  latest:
    description: Or all that was archived.
    type: bool
    default: false
  keep:
    description: The recovered cluster goes on to run; else it is removed after the look.
    type: bool
    default: false
  go_on:
    description: Where no target is given, take the one that was kept.
    type: bool
    default: false
  guest_user:
    description: A user of the system that may come into it too, as O(guest_role).
    type: str
    default: ""
  guest_role:
    description: The role of PostgreSQL for O(guest_user).
    type: str
    default: ""
  incoming:
    description: With V(exchange) and V(seal), what V(settle) returned.
    type: str
    default: ""
  kept:
    description: With V(settle), the data directory to go back to; else what V(settle) returned.
    type: str
    default: ""
  as_of:
    description: What V(settle) returned.
    type: str
    default: ""
  system_identifier:
    description: With V(lost), what tells its cluster from all others, as V(find) returned it.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be done, and does nothing; not with V(lost).
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.progress]
"""

EXAMPLES = r"""
- name: Look at the cluster as it was before the mistake
  postgres_backup_pitr_restore:
    config: /etc/postgres-backup-pitr/config.env
    target_time: 2026-01-27T14:03:00Z
    keep: true
"""

RETURN = r"""
target: {description: Where to, in words., type: str, returned: with recover and lost}
label: {description: The backup that it began from., type: str, returned: with recover and lost}
directory:
  description: Its data; in a container the volume of them.
  type: str
  returned: success
host: {description: The folder of its sockets., type: str, returned: with recover and lost}
port: {description: Where it answers., type: int, returned: with recover and lost}
last_commit:
  description: The time of the last transaction that is in it; empty where there is none.
  type: str
  returned: with recover and lost
next_commit:
  description: The time of the one that is not, where that is known.
  type: str
  returned: with recover and lost
lsn: {description: The position that was reached., type: str, returned: with recover and lost}
bytes: {description: Of the cluster., type: int, returned: with recover and lost}
seconds: {description: How long it took., type: float, returned: with recover and lost}
live: {description: Whether the live cluster runs., type: bool, returned: with recover and lost}
kept:
  description: Whether the recovered one goes on to run; with settle, exchange and seal the folder
    in which the live one's data are kept, in a container that of its volume.
  type: raw
  returned: success
tables:
  description:
    - The C(rows) of each C(table) of each C(database), and its C(live_rows); none where it is not
      there, or was not C(counted), because that takes more than a minute.
  type: list
  elements: dict
  returned: with recover and lost
unit:
  description: The service of PostgreSQL; empty where it runs in a container.
  type: str
  returned: with settle, exchange and seal
incoming:
  description: The data directory that takes the place; in a container the volume.
  type: str
  returned: with settle, exchange and seal
as_of: {description: What it is, in words., type: str, returned: with settle, exchange and seal}
findings:
  description: What is worth knowing, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    PROGRESS_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **PROGRESS_OPTION,
    "stage": {
        "type": "str",
        "choices": ["recover", "lost", "remove", "settle", "exchange", "seal"],
        "default": "recover",
    },
    "target_time": {"type": "str", "default": ""},
    "target_lsn": {"type": "str", "default": ""},
    "target_name": {"type": "str", "default": ""},
    "latest": {"type": "bool", "default": False},
    "keep": {"type": "bool", "default": False},
    "go_on": {"type": "bool", "default": False},
    "guest_user": {"type": "str", "default": ""},
    "guest_role": {"type": "str", "default": ""},
    "incoming": {"type": "str", "default": ""},
    "kept": {"type": "str", "default": ""},
    "as_of": {"type": "str", "default": ""},
    "system_identifier": {"type": "str", "default": ""},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.pitr import steps

    about = {*CONFIG_OPTION, *PROGRESS_OPTION}
    options = {name: value for name, value in call.params.items() if name not in about}
    result = steps.perform_step(call.settings, call.progress, call.check, **options)
    return told(result, steps.lines(call.settings, result, options["stage"], call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
