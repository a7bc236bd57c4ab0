#!/usr/bin/python
"""Ansible module: what the page tells of this server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_report_info
short_description: Gather what the page of playbooks/report.yml tells of one server
description:
  - Backups, failures, restores, the next prune, costs and open alarms, from the bucket and from
    what the server remembers of its own runs.
  - A database that is down is a finding, not a failure of the module.
attributes:
  check_mode:
    description: Reads only.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Ask the server
  postgres_backup_report_info:
  register: __report

- name: Say when its newest backup was taken
  ansible.builtin.debug:
    msg: "{{ (__report.facts | from_json).databases[0].last }}"
"""

RETURN = r"""
facts:
  description:
    - One JSON object, as text, for RV(ignore:servers) of M(postgres_backup_report). It has
      C(server), C(at), C(days), C(next_run), C(schedule_time), C(fresh_hours), C(retention),
      C(healthy), C(findings), C(alarms), C(costs) and C(databases), each with its C(backups), what
      C(past) ones the journal remembers, C(tables), C(going), C(failures), C(restores), C(drills),
      C(replaced) and C(waiting).
    - Text, because it is only handed on, and Ansible looks into everything else that hundreds of
      servers return.
  type: str
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {**CONFIG_OPTION}


def perform(call: Call) -> Result:
    import json

    from ansible.module_utils.postgres_backup.health import server_facts

    facts = server_facts.describe_server(call.settings)
    result = {"changed": False, "facts": json.dumps(facts, separators=(",", ":"))}
    return told(result, server_facts.lines(facts))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
