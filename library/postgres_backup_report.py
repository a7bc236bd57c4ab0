#!/usr/bin/python
"""Ansible module: the page, one HTML file of all servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_report
short_description: Write one page of all servers
description:
  - One HTML file that needs nothing else - no script, and nothing that is loaded from elsewhere.
  - A server that could not be asked is shown as such. One whose facts cannot be read is, too.
  - It is written whole or not at all, readable by its owner only.
  - Runs on the controller, with its Python (C(ansible_playbook_python)), and needs no config.
options:
  servers:
    description: What is known of each server.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in the inventory.
        type: str
        required: true
      facts:
        description: What M(postgres_backup_report_info) said there.
        type: str
      error:
        description: Why it could not be asked.
        type: str
  template:
    description: The template of the page, C(playbooks/templates/report.html.j2).
    type: path
    required: true
  dest:
    description: The file to write.
    type: path
    required: true
attributes:
  check_mode:
    description: Makes the page and throws it away.
    support: full
"""

EXAMPLES = r"""
- name: Write the page
  postgres_backup_report:
    servers: [{name: db1, facts: "{{ __report.facts }}"}, {name: db2, error: It does not answer}]
    template: "{{ playbook_dir }}/templates/report.html.j2"
    dest: /root/report.html
"""

RETURN = r"""
file:
  description: The file.
  type: str
  returned: success
bytes:
  description: How large it is.
  type: int
  returned: success
verdict:
  description: Is everything all right? In one line.
  type: str
  returned: success
  sample: "All is well: every database has a fresh, good backup"
states:
  description: What each server is, the worst first, each with C(name), C(state) (none, stale,
    failed, bad, unasked, look or well) and C(why).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import Call, Result, run, told

SERVER = {
    "name": {"type": "str", "required": True},
    "facts": {"type": "str"},
    "error": {"type": "str"},
}
ARGUMENT_SPEC = {
    "servers": {"type": "list", "elements": "dict", "required": True, "options": SERVER},
    "template": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.page import report

    params = call.params
    result = report.write_report(
        params["servers"], params["template"], params["dest"], check=call.check
    )
    return told(result, report.lines(result, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
