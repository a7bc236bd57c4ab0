#!/usr/bin/python
"""Ansible module: keep the public keys of servers on the controller, and say whom one believes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_signers
short_description: Keep a server's public keys beside the inventory, and list whom it believes
description:
  - Runs on the controller. Each server has a file there, C(<server>.pub), with a key a line, the
    newest first.
  - A line that begins with C(#) is a key that is no longer believed; it is not added again.
options:
  folder:
    description: Where the files are.
    type: path
    required: true
  server_name:
    description: The server, as its backups call it.
    type: str
    required: true
  public_keys:
    description: Keys of it, newest first, as M(postgres_backup_key) returns them. Those that its
      file lacks are put at its begin.
    type: list
    elements: str
    default: []
  trusted:
    description: The servers that it believes, beside itself. None - all that have a file.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says which keys would be added, and writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Keep the key of a server
  postgres_backup_signers:
    folder: "{{ inventory_dir }}/keys"
    server_name: db1
    public_keys: "{{ __key.public_keys }}"
  delegate_to: localhost

- name: List whom a staging server believes
  postgres_backup_signers:
    folder: "{{ inventory_dir }}/keys"
    server_name: staging
    trusted: [db1]
  delegate_to: localhost
  register: __believed
"""

RETURN = r"""
file: {description: The server's file., type: str, returned: success}
added:
  description: The fingerprints of the keys that were put into it.
  type: list
  elements: str
  returned: success
servers:
  description: The servers that it believes, as far as there are keys of them.
  type: list
  elements: str
  returned: success
trusted_signers:
  description: The list that says so, for the server, in OpenSSH's format C(allowed_signers).
  type: str
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import Call, Result, run, told

ARGUMENT_SPEC = {
    "folder": {"type": "path", "required": True},
    "server_name": {"type": "str", "required": True},
    "public_keys": {"type": "list", "elements": "str", "default": []},
    "trusted": {"type": "list", "elements": "str", "default": []},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.signing import keyring

    folder, name, keys, trusted = (call.params[option] for option in ARGUMENT_SPEC)
    kept, diff = keyring.keep(folder, name, keys, call.check)
    believed = keyring.believed(folder, name, trusted, diff["after"], call.check)
    names = {"before_header": kept["file"], "after_header": kept["file"]}
    return told(
        {**kept, **believed},
        keyring.lines(kept, believed, call.check),
        diff | names if kept["changed"] else None,
    )


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
