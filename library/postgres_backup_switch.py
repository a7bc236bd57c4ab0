#!/usr/bin/python
"""Ansible module: from the old scripts' schedule to ours in one step, and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_switch
short_description: Switch from the old scripts' schedule to ours in one step, or back
description:
  - Lays our schedule, then switches off the lines, files and timers that run a script for one of
    O(databases). A line stays in its crontab as a comment. Files that lie where ours go are kept
    under their name and C(.of-the-scripts).
  - What it does it first writes into O(record). A call that was cut off is finished by the next.
options:
  state:
    description: V(undone) puts everything back as O(record) says it was.
    type: str
    choices: [switched, undone]
    default: switched
  staged:
    description: The folder in which config and keys were made because something else lay at their
      place.
    type: path
  log:
    description: The place of our log.
    type: path
    required: true
  files:
    description: What runs us by itself, as in M(postgres_backup_files).
    type: list
    elements: dict
    default: []
  record:
    description: Where it is written down, in a folder that only root may write.
    type: path
    required: true
attributes:
  check_mode:
    description: Says what would be done, and does nothing.
    support: full
extends_documentation_fragment: [postgres_backup.predecessor]
"""

EXAMPLES = r"""
- name: Let the old script go
  postgres_backup_switch:
    databases: [crm]
    config_place: /etc/postgres-backup/backup-config.env
    log: /var/log/postgres-backup.log
    files: "{{ schedule_files }}"
    record: /opt/postgres-backup/moved-in.json
"""

RETURN = r"""
schedules:
  description: What was switched off, or on again.
  type: list
  elements: str
  returned: success
aside:
  description: Files that lay where ours go, kept aside, or put back.
  type: list
  elements: str
  returned: success
findings: {description: What could not be put back., type: list, elements: dict, returned: success}
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    PREDECESSOR_OPTIONS,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["switched", "undone"], "default": "switched"},
    **PREDECESSOR_OPTIONS,
    "staged": {"type": "path"},
    "log": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "dict", "default": []},
    "record": {"type": "path", "required": True},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.machine import laid
    from ansible.module_utils.postgres_backup.moving import found, switch

    params = call.params
    if params["state"] == "undone":
        done = switch.undo(params["record"], call.check)
        return told(done, switch.lines(done, True, call.check))
    ours = found.Ours(params["databases"], params["host"], params["port"])
    wanted = switch.Wanted(
        found=found.find(ours),
        staged=params["staged"] or "",
        config=params["config_place"],
        log=params["log"],
        files=[laid.wanted(one) for one in params["files"]],
        record=params["record"],
    )
    done = switch.switch(wanted, call.check)
    return told(done, switch.lines(done, False, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
