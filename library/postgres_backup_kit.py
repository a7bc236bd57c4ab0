#!/usr/bin/python
"""Ansible module: save or put back the files that a lost server needs beside its database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_kit
short_description: Save the server kit, or put its files back
description:
  - The kit holds the files named in the settings (C(backup_paths) - compose file, C(.env), uploads)
    as a tar in the bucket, compressed and encrypted.
  - All of a kit is read and compared with its manifest, and each of its members looked at, before
    the first file is put back. All files are then written beside their places, and moved into them
    together.
  - Owners come back by name where the name is known on the machine, else by number.
options:
  state:
    description: V(present) saves a new kit now, and lets the retention remove old ones; V(restored)
      puts the files of one back.
    type: str
    choices: [present, restored]
    default: present
  kit:
    description: Which one to put back - a name, or V(latest).
    type: str
    default: latest
  to:
    description: The folder that stands for C(/) when files are put back. Their owners come back
      where this runs as root.
    type: path
    default: /
  identities:
    description: Private age keys, needed to put back a kit that is encrypted.
    type: list
    elements: str
    default: []
  trust_unsigned:
    description: Put also one back that is not signed, or by a key that this server does not trust.
      Whoever made it writes the files. What is forged is refused all the same.
    type: bool
    default: false
attributes:
  check_mode:
    description: Saving says how much it would be; putting back reads the kit to its end, refuses
      what a real one would refuse, and writes nothing.
    support: full
extends_documentation_fragment:
  - postgres_backup
  - postgres_backup.from_copy
  - postgres_backup.progress
"""

EXAMPLES = r"""
- name: Save the files of this server now
  postgres_backup_kit:

- name: Look at the newest ones beside those that are there
  postgres_backup_kit:
    state: restored
    to: /tmp/kit
"""

RETURN = r"""
kit: {description: The name of the kit., type: str, returned: success,
  sample: postgres-backup-kit-2026-01-27_00-00-00.tar.gz.age}
key: {description: The object's key in the bucket., type: str, returned: success}
files: {description: "Files, folders and links in it.", type: int, returned: success}
bytes: {description: Size of the object., type: int, returned: when not in check mode}
sha256: {description: "SHA-256 of the object, hexadecimal.", type: str,
  returned: when not in check mode}
seconds: {description: How long it took., type: float, returned: when not in check mode}
file_bytes: {description: "Size of the files, together.", type: int, returned: "present"}
unpacked_bytes: {description: Room on the disk that the files take., type: int,
  returned: restored}
owners:
  description: Owners that have another number here than in the kit, each with C(kind) (user or
    group), C(name), C(was), C(here) and C(known). Only where it runs as root; nobody else can give
    files away.
  type: list
  elements: dict
  returned: restored
deleted:
  description: Kits that the retention let go, each with C(kit), C(reason).
  type: list
  elements: dict
  returned: present, when not in check mode
findings: {description: "What is worth knowing, such as files that changed meanwhile.", type: list,
  elements: dict, returned: success}
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import (
    CONFIG_OPTION,
    FROM_COPY_OPTION,
    PROGRESS_OPTION,
    Call,
    Result,
    run,
    told,
)

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    **FROM_COPY_OPTION,
    **PROGRESS_OPTION,
    "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
    "kit": {"type": "str", "default": "latest"},
    "to": {"type": "path", "default": "/"},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "trust_unsigned": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    if call.params["state"] == "present":
        from ansible.module_utils.postgres_backup.backup import kit

        saved = kit.create_kit(call.job)
        return told(saved, kit.lines(saved))
    from ansible.module_utils.postgres_backup.restore import kit as back

    restored = back.restore_kit(call.job, call.params["kit"], call.params["to"])
    return told(restored, back.lines(restored, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
