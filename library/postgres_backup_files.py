#!/usr/bin/python
"""Ansible module: lay several files and folders, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_files
short_description: Lay several files and folders on a server in one call
description:
  - What differs is put right and shown by C(--diff), what is right is left alone.
  - "Each task costs a server a way over ssh and half a second of a core: what belongs together goes
    in one."
options:
  files:
    description:
      - What should lie there, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where, from the root on.
        type: path
        required: true
      mode:
        description: As a text of four digits, such as C('0644').
        type: str
        required: true
      owner:
        description: A user's name. Empty - as it is, or whoever makes it.
        type: str
        default: ""
      group:
        description: A group's name, likewise.
        type: str
        default: ""
      content:
        description: Of a file. Without it, it keeps what it holds, and is made empty where there
          is none.
        type: str
      template:
        description: Of which the content is made, where this module is called by Ansible; one of
          the role's C(templates).
        type: str
      secret_template:
        description: Likewise, of its content in O(secrets).
        type: str
      source:
        description: Likewise a file that has the content, one of the role's C(files).
        type: str
      folder:
        description: It is a folder; those above it that are missing are made like it.
        type: bool
        default: false
      parents:
        description: Folders above a file that are missing are made, with the mode C('0755'); those
          that are there stay as they are.
        type: bool
        default: false
      keeps:
        description: A folder that is there already keeps its owner and group.
        type: bool
        default: false
  secrets:
    description: The contents of files that have secrets, by their path. Neither C(--diff) nor a log
      shows them.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be written, and writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Write the schedule
  postgres_backup_files:
    files:
      - path: /var/log/postgres-backup.log
        owner: postgres-backup
        mode: "0640"
      - path: /etc/cron.d/postgres-backup
        template: cron.j2
        mode: "0644"
"""

RETURN = r"""
files:
  description: The paths of what was written, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/cron.d/postgres-backup]
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

import os

from ansible.module_utils.postgres_backup_module import Call, Result, run, told

FILE = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "required": True},
    "owner": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
    "content": {"type": "str"},
    "folder": {"type": "bool", "default": False},
    "parents": {"type": "bool", "default": False},
    "keeps": {"type": "bool", "default": False},
}
ARGUMENT_SPEC = {
    "files": {"type": "list", "elements": "dict", "required": True, "options": FILE},
    # apart from the others: of what is within a list, Ansible logs all
    "secrets": {"type": "dict", "no_log": True, "default": {}},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.machine import laid

    files, given = call.params["files"], call.params["secrets"]
    # as Ansible reads the paths of the files
    secrets = {os.path.expanduser(os.path.expandvars(path)): given[path] for path in given}
    done = laid.lay([laid.wanted(one, secrets) for one in files], call.check)
    return told(done, laid.lines(done, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
