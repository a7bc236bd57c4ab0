#!/usr/bin/python
"""Ansible module: which PostgreSQL is it, and are its programs here?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_server_info
short_description: Ask PostgreSQL for its version and look for programs of that version
description:
  - Connects with the settings and asks the server what it is and what our user may do.
attributes:
  check_mode:
    description: Reads only.
    support: full
extends_documentation_fragment: [postgres_backup]
"""

EXAMPLES = r"""
- name: Ask which PostgreSQL it is
  postgres_backup_server_info:
  register: __server

- name: Say it
  ansible.builtin.debug:
    msg: "PostgreSQL {{ __server.version }}, pg_dump {{ __server.client_version or 'missing' }}"
"""

RETURN = r"""
version:
  description: The server's version.
  type: str
  returned: success
  sample: "16.3"
major:
  description: Its major.
  type: int
  returned: success
  sample: 16
superuser:
  description: Our user is a superuser.
  type: bool
  returned: success
createdb:
  description: Our user may create databases, which a restore needs.
  type: bool
  returned: success
createrole:
  description: Our user may create roles.
  type: bool
  returned: success
version_number: {description: The version as a number., type: int, returned: success,
  sample: 160003}
data_directory: {description: Where the server keeps its data; empty where our user may not know.,
  type: str, returned: success}
system_identifier: {description: What tells this cluster from all others; empty where our user may
  not know.,
  type: str, returned: success}
tables: {description: How many tables each database of the settings has; none where there is no such
  database.,
  type: dict, returned: success}
client_version:
  description: The version of the installed pg_dump of that major; empty where there is none.
  type: str
  returned: success
  sample: "16.3"
findings:
  description: What is worth knowing, such as C(DATABASE_IN_THE_CLEAR).
  type: list
  elements: dict
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import CONFIG_OPTION, Call, Result, run, told

ARGUMENT_SPEC = {**CONFIG_OPTION}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.postgresql import server

    result = server.ask_server(call.settings)
    return told(result, server.lines(result))


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
