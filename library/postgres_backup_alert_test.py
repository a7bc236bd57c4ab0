#!/usr/bin/python
"""Ansible module: see that alarms arrive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_alert_test
short_description: Send a test to everybody who is told of trouble
description:
  - Sends a message to each address of C(backup_alert_urls), as a failed backup would, so that it is
    known today whether they arrive.
  - Fails where one cannot be reached; the message says which by its number and kind, since an
    address is a secret itself.
options:
  only_new:
    description: Only to addresses that no test has reached yet, so that a second run changes
      nothing.
    type: bool
    default: true
attributes:
  check_mode:
    description: Says how many would be told; nothing is sent.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: See that alarms arrive
  postgres_backup_alert_test:
  become: true
  become_user: postgres-backup

- name: Send one to everybody
  postgres_backup_alert_test:
    only_new: false
"""

RETURN = r"""
sent:
  description: To how many addresses a message was sent.
  type: int
  returned: success
addresses:
  description: Their kinds, or in check mode the kinds of those that would be told.
  type: list
  elements: str
  returned: success
  sample: [tgram, mailto]
findings:
  description: Always empty; what could not be delivered is a failure.
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {**CONFIG_OPTION, "only_new": {"type": "bool", "default": True}}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.health import alarms

    result = alarms.send_test(call.settings, call.params["only_new"], call.check)
    return told(result, alarms.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
