#!/usr/bin/python
"""Ansible module: tell the journal which settings are others than before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_settings
short_description: Note in the journal which settings have changed
description:
  - Compares O(config) with what the server remembers of it, from the last call or the last night,
    and writes one event with the names of what changed, the old values and the new ones. Of secrets
    it says only that they changed.
  - A server that remembers nothing yet has nothing to tell.
options:
  scripts_gone:
    description: Remember too that older scripts have made way just now. What comes into the bucket
      after that without us is told (C(FOREIGN_WRITER)), and nothing that came before.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what has changed, writes nothing and remembers nothing.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Note what was changed
  postgres_backup_settings:
"""

RETURN = r"""
changes:
  description: "Each O(ignore:name) with its value O(ignore:before) and O(ignore:after); empty where
    it was, or is, not set; both V(changed) for a secret."
  type: list
  elements: dict
  returned: success
  sample: [{name: RETENTION_DAYS, before: "7", after: "30"}]
findings: {description: What could not be noted., type: list, elements: dict, returned: success}
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {**CONFIG_OPTION, "scripts_gone": {"type": "bool", "default": False}}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.clock import utc_now
    from ansible.module_utils.postgres_backup.health import foreign_writer
    from ansible.module_utils.postgres_backup.nightly import changes

    result = changes.note(call.settings, call.check)
    if call.params["scripts_gone"] and not call.check:
        result["findings"] += foreign_writer.scripts_gone(call.settings, utc_now())
    return told(result, changes.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
