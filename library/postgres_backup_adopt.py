#!/usr/bin/python
"""Ansible module: vouch for backups that nobody has signed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_adopt
short_description: List the backups that nobody has signed, or vouch for them
description:
  - They are those of older scripts, and those that this server itself made before it had a key, its
    kits too.
  - Each is read to its end before it is signed, and the newest is loaded beside the live database
    too. What is cut, or of another database, is refused by its name.
options:
  vouch:
    description: Sign them, so that they are restored without a question and the retention counts
      for them. Otherwise they are only listed.
    type: bool
    default: false
  identities:
    description: Private age keys, needed for a backup that is encrypted.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: With O(vouch) they are read to their end, and nothing is signed.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.database
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: See what nobody vouches for
  postgres_backup_adopt:

- name: Vouch for it
  postgres_backup_adopt:
    vouch: true
"""

RETURN = r"""
database: {description: The database., type: str, returned: success, sample: crm}
offered:
  description: What waits for somebody who vouches for it, without O(vouch); each C(backup),
    C(bytes), C(ours).
  type: list
  elements: dict
  returned: success
adopted:
  description: The names of those that were signed.
  type: list
  elements: str
  returned: success
restored:
  description: The name of that of them which was loaded too; empty where none was.
  type: str
  returned: success
refused:
  description: Those that were not signed, each C(backup) and C(reason).
  type: list
  elements: dict
  returned: success
compared:
  description: How many tables of those that name no database the live one has - each C(backup),
    C(tables), C(live), C(missing).
  type: list
  elements: dict
  returned: success
findings:
  description: What is worth knowing, each with C(code) and C(message).
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
    "vouch": {"type": "bool", "default": False},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.nightly import adopt

    vouch = call.params["vouch"]
    # a list changes nothing, and must not read them all to say so
    job = call.job if vouch else dataclasses.replace(call.job, check=False)
    result = adopt.adopt_backups(job, yes=vouch)
    return told(result, adopt.lines(result, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
