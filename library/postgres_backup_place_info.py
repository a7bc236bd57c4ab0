#!/usr/bin/python
"""Ansible module: tell where in the bucket a server's backups go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_place_info
short_description: Tell where in the bucket a server's backups go
description:
  - The prefix for a server of which nobody has said it. The config that is there decides, then the
    objects of this server in the bucket, so that a rebuilt one finds what its predecessor made.
  - A new server gets a folder of its own under the prefix, C(<prefix>/<server>/), where other
    servers share the bucket; alone its backups lie directly under the prefix.
options:
  config_place:
    description: The place of the server's config, which may be there or not.
    type: path
    required: true
  config_text:
    description: What would be written there, with the prefix that all servers share.
    type: str
    default: ""
  config_template:
    description: Of which O(config_text) is made, where this module is called by Ansible; one of the
      role's C(templates).
    type: str
    default: ""
  config_variables:
    description: What these variables are in that template, whatever they are elsewhere.
    type: dict
    default: {}
  several:
    description: Other servers of the inventory may share the bucket.
    type: bool
    default: false
  rebuild:
    description: A lost server is rebuilt. Where the store does not answer, the error says what the
      second one has.
    type: bool
    default: false
  store_may_be_gone:
    description: Where the store does not answer, it is the prefix that all servers share, under
      which each finds its own folder too.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: See where its backups go
  postgres_backup_place_info:
    config_place: /etc/postgres-backup/backup-config.env
    config_template: backup-config.env.j2
    config_variables:
      backup_s3_prefix: postgres-backup
  register: __backup_place_info
"""

RETURN = r"""
prefix: {description: For C(backup_s3_prefix)., type: str, returned: success,
  sample: postgres-backup/db1}
reason:
  description: What decides - V(config), V(own objects), V(others) that have something in the bucket
    or stand in the inventory, V(alone), or V(not known) where the store does not answer.
  type: str
  returned: success
new: {description: The server has no place yet., type: bool, returned: success}
lines: {description: The same for a person; empty where nothing is new., type: list, elements: str,
  returned: success}
"""

from contextlib import nullcontext

from ansible.module_utils.postgres_backup_module import Call, Result, run, told

ARGUMENT_SPEC = {
    "config_place": {"type": "path", "required": True},
    "config_text": {"type": "str", "default": "", "no_log": True},
    # these two are read by the action plugin of this name
    "config_template": {"type": "str", "default": ""},
    "config_variables": {"type": "dict", "default": {}},
    "several": {"type": "bool", "default": False},
    "rebuild": {"type": "bool", "default": False},
    "store_may_be_gone": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.catalog import own_place
    from ansible.module_utils.postgres_backup.cli import instead
    from ansible.module_utils.postgres_backup.machine import config_file

    place = call.params["config_place"]
    settings = config_file.of_text(call.params["config_text"], place)
    said = [call.params[name] for name in ("several", "store_may_be_gone")]
    with instead.told(settings, "-e from=copy") if call.params["rebuild"] else nullcontext():
        chosen = own_place.choose(settings, place, *said)
    return told(chosen, own_place.lines(chosen))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
