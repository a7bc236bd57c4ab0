#!/usr/bin/python
"""Ansible module: what the store can do, known before it is needed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_store_check
short_description: Say what the store can do, by trying it on canaries
description:
  - Writes, reads, lists and deletes small objects of fixed names below C(store-check/) of the
    prefix, and takes them away again. Settings of the bucket are read, never changed.
  - Every answer is held against what lies there afterwards, since stores take headers and do not
    heed them.
  - Fails where no backup can live on the store. What else it lacks is in RV(rows), with what falls
    away and what to set.
options:
  only_new:
    description: Only where no store of these settings was found fit before.
    type: bool
    default: true
attributes:
  check_mode:
    description: Nothing is written, and so nothing tried.
    support: full
extends_documentation_fragment: [postgres_backup, postgres_backup.of_copy]
"""

EXAMPLES = r"""
- name: See what the store can do
  postgres_backup_store_check:
    only_new: false
  become: true
  become_user: postgres-backup
"""

RETURN = r"""
endpoint: {description: The address of the store., type: str, returned: success}
bucket: {description: The name of the bucket., type: str, returned: success}
fit:
  description: Backups can live there; null in check mode.
  type: bool
  returned: success
remembered:
  description: It was tried before with the same settings, and nothing was tried now.
  type: bool
  returned: success
rows:
  description: What was tried, each with C(row), what it C(does), its C(state) (V(works), V(lacks),
    V(ignores) where the store says yes and does not do it, V(warns), V(untried)), what is C(said)
    of it, what is C(lost) and what is to do (C(todo)), and whether it is C(unfit) for backups.
  type: list
  elements: dict
  returned: success
left:
  description: Keys of canaries that could not be taken away.
  type: list
  elements: str
  returned: success
seconds: {description: How long it took., type: float, returned: success}
findings:
  description: What could not be taken away, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    OF_COPY_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {**CONFIG_OPTION, **OF_COPY_OPTION, "only_new": {"type": "bool", "default": True}}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.health import store_check

    result = store_check.check_store(
        call.settings, call.progress, call.params["only_new"], call.check
    )
    store_check.require_fit(result)
    return told(result, store_check.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
