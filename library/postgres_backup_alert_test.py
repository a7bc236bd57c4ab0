#!/usr/bin/python
"""Ansible module: see that alarms arrive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_alert_test
short_description: Send a test to everybody who is told of trouble
description:
  - Sends a message to each address of C(backup_alert_urls), as a failed backup would, so that it is
    known today whether they arrive. With O(ping) the dead-man's switch of C(backup_ping_url) gets a
    sign of life too.
  - Fails where one cannot be reached; the message says which by its number and kind, since an
    address is a secret itself.
options:
  only_new:
    description: Only to addresses that no test has reached yet, so that a second run changes
      nothing.
    type: bool
    default: true
  ping:
    description: Send the dead-man's switch a sign of success where its address is new or another.
      There must be a good backup. Nobody need be told of trouble then.
    type: bool
    default: false
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
pinged:
  description: Whether the dead-man's switch has got its first sign, or would get it.
  type: bool
  returned: success
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

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    "only_new": {"type": "bool", "default": True},
    "ping": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.health import alarms, ping

    asked = call.params
    first = ping.first_sign(call.settings, call.check) if asked["ping"] else ping.SILENCE
    nobody = asked["ping"] and not call.settings.alert_urls
    result = (
        alarms.NOBODY_TOLD
        if nobody
        else alarms.send_test(call.settings, asked["only_new"], call.check)
    )
    lines = alarms.lines(result)
    if first["changed"]:
        heard = "would hear" if call.check else "has heard"
        lines.append(f"The dead-man's switch {heard} a first sign")
    whole = {
        **result,
        "changed": result["changed"] or first["changed"],
        "pinged": first["changed"],
        "findings": first["findings"] + result["findings"],
    }
    return told(whole, lines)


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
