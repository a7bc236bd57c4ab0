#!/usr/bin/python
"""Ansible module: make the key by which a server signs, or a new one in its place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_key
short_description: Make the key by which a server signs its backups
description:
  - The private key is made on the server, beside O(config), readable for its owner alone. It never
    leaves the server and is never returned; its public half is.
  - What keys that were replaced have signed stays good.
options:
  rotate:
    description: Make a new key in the place of the one that is there.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says whether a key would be made, and makes none.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Make the key
  postgres_backup_key:

- name: Sign with another one from now on
  postgres_backup_key:
    rotate: true
"""

RETURN = r"""
principal:
  description: How the server is called in lists of those to believe.
  type: str
  returned: success
  sample: db1
public_key:
  description: "The public half, as OpenSSH writes it; empty where no key is there yet, in check
    mode."
  type: str
  returned: success
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
fingerprint:
  description: Its fingerprint, as C(ssh-keygen -l) says it; empty likewise.
  type: str
  returned: success
public_keys:
  description: The public halves of that key and of those that it replaced, newest first.
  type: list
  elements: str
  returned: success
trusted_signers:
  description: The line by which others believe it, in OpenSSH's format C(allowed_signers).
  type: str
  returned: success
replaced: {description: The fingerprint of the key that this call replaced., type: str,
  returned: success}
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {**CONFIG_OPTION, "rotate": {"type": "bool", "default": False}}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.signing import own_key

    result = own_key.own_key(call.settings, call.params["rotate"], call.check)
    return told(result, own_key.lines(result, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
