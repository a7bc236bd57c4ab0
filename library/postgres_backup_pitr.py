#!/usr/bin/python
"""Ansible module: let a cluster be archived, for recovery to any second."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_pitr
short_description: Let all that PostgreSQL writes be archived, for recovery to any second
description:
  - "V(prepare): lays the settings of the engine, makes the archive in the bucket and tells
    PostgreSQL. Whatever may be wrong, with the store, its key or the cluster, is found before
    PostgreSQL is told. In a container, of which the owner has told it already, only the archive is
    made."
  - "V(prove): sees that what PostgreSQL writes arrives, and takes a first backup of the cluster."
  - "V(find): for a lost server, on the machine that takes its place. Finds its archive, reads it by
    O(cipher_key) and lays the settings of the engine; neither the archive nor a cluster is
    touched. Of a PostgreSQL in a container it is read as that one's own config says."
  - "V(mark): gives this moment a name, to recover to."
options:
  step:
    description: Which of them.
    type: str
    choices: [prepare, prove, find, mark]
    required: true
  cipher_key:
    description: By which the archive is encrypted. Empty - the one on the server, or a new one.
    type: str
    default: ""
  settings_text:
    description: In check mode, what O(config) will hold and does not yet.
    type: str
    default: ""
  mark:
    description: With V(mark), the name; one that has none yet.
    type: str
    default: ""
  target_time:
    description: >-
      With V(find), the moment to come back to, with its zone, that there must be a way to. Empty -
      the last.
    type: str
    default: ""
  container:
    description: >-
      With V(find), of a PostgreSQL in a container, one of its service that can be asked, for its
      own does not run yet.
    type: str
    default: ""
  again:
    description: With V(prove), see it also where there is a backup, because settings have changed.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be done, and does nothing.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Let all that is written be archived
  postgres_backup_pitr:
    config: /etc/postgres-backup-pitr/config.env
    step: prepare

- name: Name the moment before a migration
  postgres_backup_pitr:
    config: /etc/postgres-backup-pitr/config.env
    step: mark
    mark: before-migration-42
"""

RETURN = r"""
archive:
  description: Its path in the bucket; empty in a container, whose config says it.
  type: str
  returned: with prepare and find
system_identifier:
  description: What tells its cluster from all others.
  type: str
  returned: with find
major: {description: Of PostgreSQL that wrote it., type: int, returned: with find}
ended: {description: When the newest backup ended., type: str, returned: with find}
older:
  description: How many archives of earlier clusters of that server there are.
  type: int
  returned: with find
unit:
  description: The service of PostgreSQL; empty in a container.
  type: str
  returned: with prepare
restart_needed:
  description: Whether PostgreSQL hands on nothing before it is started anew.
  type: bool
  returned: with prepare
key_made: {description: Whether a key was made for the archive., type: bool, returned: with prepare}
label:
  description: The backup that was taken; with find, the newest, or the one to begin from.
  type: str
  returned: with prove and find
full: {description: Whether it is a full one., type: bool, returned: with prove}
bytes: {description: Of the cluster., type: int, returned: with prove and find}
stored_bytes: {description: Bytes that it added to the bucket., type: int, returned: with prove}
mark: {description: The name., type: str, returned: with mark}
at: {description: When that was., type: str, returned: with mark}
lsn: {description: The position in PostgreSQL's log., type: str, returned: with mark}
archived: {description: Whether it is in the bucket by now., type: bool, returned: with mark}
archives: {description: Whether PostgreSQL hands on anything., type: bool, returned: with prove}
findings:
  description: What is worth knowing, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {
    **CONFIG_OPTION,
    "step": {"type": "str", "choices": ["prepare", "prove", "find", "mark"], "required": True},
    "cipher_key": {"type": "str", "default": "", "no_log": True},
    "settings_text": {"type": "str", "default": "", "no_log": True},
    "mark": {"type": "str", "default": ""},
    "target_time": {"type": "str", "default": ""},
    "container": {"type": "str", "default": ""},
    "again": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.machine import config_file
    from ansible.module_utils.postgres_backup.pitr import lost_archive, mark, prepare, take

    if call.params["step"] == "prepare":
        text, settings = call.params["settings_text"], call.settings
        if call.check and text:
            settings = config_file.from_values(config_file.parse(text))
        prepared = prepare.prepare(settings, call.params["cipher_key"], call.check)
        return told(prepared, prepare.lines(prepared, call.check))
    if call.params["step"] == "find":
        key, moment = call.params["cipher_key"], call.params["target_time"]
        found = lost_archive.find(call.settings, key, moment, call.params["container"])
        return told(found, lost_archive.lines(found))
    if call.params["step"] == "mark":
        marked = mark.mark(call.settings, call.params["mark"], call.check)
        return told(marked, mark.lines(marked, call.check))
    taken = take.first(call.settings, call.progress, call.params["again"], call.check)
    return told(taken, take.lines(taken, call.check))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
