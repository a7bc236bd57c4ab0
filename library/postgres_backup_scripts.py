#!/usr/bin/python
"""Ansible module: find the backup scripts that a server runs by itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_scripts
short_description: Find the backup scripts that a server runs by itself
description:
  - Looks into the crontabs of every user and of the system, the folders of run-parts and the timers
    of systemd for scripts that send C(pg_dump) to a bucket. They are read, not run, and nothing is
    touched.
  - With O(import_file) it also reads their settings, secrets among them, and the time of day at
    which the script runs that has them, as C(backup_schedule_time) in UTC.
options:
  schedule_time:
    description: When ours runs, in UTC. A script that makes way and runs at another time is told.
    type: str
    default: ""
  import_file:
    description: A file with the scripts' settings. Without it none are read.
    type: path
attributes:
  check_mode:
    description: It only looks.
    support: full
extends_documentation_fragment: [postgres_backup.predecessor]
"""

EXAMPLES = r"""
- name: See what runs here already
  postgres_backup_scripts:
    databases: [crm]
    config_place: /etc/postgres-backup/backup-config.env
"""

RETURN = r"""
found:
  description: "What runs a script by itself: O(ignore:kind) (V(cron), V(folder) or V(timer)),
    O(ignore:path), O(ignore:user), O(ignore:when), O(ignore:at) in UTC where that is one time of
    each day, O(ignore:script), its O(ignore:config) and O(ignore:log), and O(ignore:verdict):
    V(ours) makes way; V(other), V(unknown) and V(more) go on."
  type: list
  elements: dict
  returned: success
foreign_config: {description: Something else lies where our config goes., type: bool,
  returned: success}
settings:
  description: The variables that O(import_file) sets, with their values.
  type: dict
  returned: success
not_ours:
  description: Names in O(import_file) that have no variable here.
  type: list
  elements: str
  returned: success
missing:
  description: Variables without a default that O(import_file) does not set.
  type: list
  elements: str
  returned: success
lines: {description: What was found for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    PREDECESSOR_OPTIONS,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **PREDECESSOR_OPTIONS,
    "schedule_time": {"type": "str", "default": ""},
    "import_file": {"type": "path"},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.moving import found, imported

    ours = found.Ours(call.params["databases"], call.params["host"], call.params["port"])
    schedules = found.find(ours)
    config = call.params["config_place"]
    foreign = found.is_foreign(config)
    path = call.params["import_file"]
    read = {"settings": {}, "not_ours": [], "missing": []}
    if path:
        read = imported.with_their_time(imported.read_settings(path), path)
    # a line of a crontab may hold a secret
    seen = [{name: value for name, value in one.items() if name != "line"} for one in schedules]
    lines = found.lines(schedules, config if foreign else "", call.params["schedule_time"])
    return told({"changed": False, "found": seen, "foreign_config": foreign, **read}, lines)


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
