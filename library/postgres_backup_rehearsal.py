#!/usr/bin/python
"""Ansible module: what a server has to do with the rehearsal of its rebuild on a spare host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_rehearsal
short_description: Say what the rehearsal of a rebuild must know, or note how it ended
description:
  - C(playbooks/drill.yml -e rebuild=true) rebuilds this server on a spare host. Before it, this
    module says under which name and prefix that may write into the bucket; after it, it removes
    what was written there, and notes how it ended in the journal and for the estimates of drills.
  - It runs on the server that lives, and does nothing to its databases.
options:
  state:
    description: V(begun) before the rehearsal, V(ended) after it.
    type: str
    choices: [begun, ended]
    default: begun
  host:
    description: The spare host, by its name in the inventory.
    type: str
    default: ""
  phases:
    description: Seconds of each phase that came to its end.
    type: dict
    default: {}
  reason:
    description: Why it failed; empty where it did not.
    type: str
    default: ""
  stays:
    description: What could not be removed again on the spare host.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Nothing is removed or noted.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Note how the rehearsal ended
  postgres_backup_rehearsal:
    state: ended
    host: spare
    phases: {program: 21.5, restore: 60.2}
"""

RETURN = r"""
name: {description: Under which name it writes into the bucket., type: str, returned: begun}
prefix: {description: Under which prefix it does., type: str, returned: begun}
roles: {description: Roles of the database that it may make., type: list, elements: str,
  returned: begun}
paths: {description: Where the files of the server kit go., type: list, elements: str,
  returned: begun}
removed: {description: Objects that an earlier rehearsal had left in the bucket., type: int,
  returned: begun}
host: {description: The spare host., type: str, returned: ended}
seconds: {description: Of all phases., type: float, returned: ended}
phases: {description: Seconds of each phase., type: dict, returned: ended}
expected: {description: "Seconds that it should have taken, by the estimate before it.",
  type: float, returned: ended}
reason: {description: "Why it failed; empty where it did not.", type: str, returned: ended}
stays: {description: What is still on the spare host., type: list, elements: str, returned: ended}
findings:
  description: What could not be removed or noted, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    "state": {"type": "str", "choices": ["begun", "ended"], "default": "begun"},
    "host": {"type": "str", "default": ""},
    "phases": {"type": "dict", "default": {}},
    "reason": {"type": "str", "default": ""},
    "stays": {"type": "list", "elements": "str", "default": []},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.drill import rehearsal

    asked = call.params
    if asked["state"] == "begun":
        begun = rehearsal.begin(call.job)
        return told(begun, rehearsal.begun_lines(begun))
    ended = rehearsal.end(call.job, asked["host"], asked["phases"], asked["reason"], asked["stays"])
    return told(ended, rehearsal.ended_lines(ended))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
