#!/usr/bin/python
"""Ansible module: the page into the bucket, and a link to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_publish
short_description: Put the page of playbooks/report.yml into the bucket, for a while
description:
  - The page is one object, C(<prefix>/report/report.html), replaced each time. It stays private.
  - Whoever has the link can read it until the link ends, without a key. Give it only to those who
    may see it.
  - A link that was given before leads to the new page until it ends.
options:
  page:
    description: The page itself.
    type: str
    required: true
  hours:
    description: For how long the link is good. S3 allows a week, 168.
    type: int
    default: 24
attributes:
  check_mode:
    description: Puts nothing there and makes no link.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Publish the page for a day
  postgres_backup_publish:
    page: "{{ lookup('ansible.builtin.file', '/root/report.html') }}"
  register: __published
"""

RETURN = r"""
key:
  description: The object in the bucket.
  type: str
  returned: success
link:
  description: Its address for those without a key.
  type: str
  returned: when not in check mode
ends_at:
  description: Until when the link is good, UTC, by the clock of this server.
  type: str
  returned: success
  sample: "2026-01-28T09:00:00Z"
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    "page": {"type": "str", "required": True},
    "hours": {"type": "int", "default": 24},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.health import publish

    params = call.params
    result = publish.publish_page(call.settings, params["page"], params["hours"], check=call.check)
    return told(result, publish.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
