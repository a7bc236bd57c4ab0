#!/usr/bin/python
"""Ansible module: what of an application may be stopped around a restore?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup_app_info
short_description: Say which services of an application a restore stops, and which hold the database
description:
  - Asks Docker which containers of a docker compose project hold the database, by where it answers
    and whatever they are called. All others may be stopped.
  - Fails where a restore would find no directory, program or container. An application that is not
    healthy is said, and no failure.
  - Needs no config and none of the program's libraries.
options:
  directory:
    description: Of the application; it must be there.
    type: str
    default: ""
  composed:
    description: It is a docker compose project, whose services are stopped.
    type: bool
    default: false
  commands:
    description: That stop and start the application; their programs must be there.
    type: list
    elements: str
    default: []
  health_url:
    description: Asked once.
    type: str
    default: ""
  database_host:
    description: Where the database answers.
    type: str
    default: localhost
  database_port:
    description: Its port.
    type: int
    default: 5432
  database_container:
    description: The container that PostgreSQL runs in. It must be there, and run.
    type: str
    default: ""
  database_service:
    description: A service that is never stopped, whatever Docker says.
    type: str
    default: ""
  needs:
    description: Find out what of the application's files a rebuilt server needs, too.
    type: bool
    default: false
  repository:
    description: A rebuild clones a git repository into O(directory), and brings what is in it.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: See what a restore would stop
  postgres_backup_app_info:
    directory: /srv/crm
    composed: true
    database_port: 5432
"""

RETURN = r"""
services:
  description: What is stopped and started again.
  type: list
  elements: str
  returned: success
database_services:
  description: What holds the database, and is never stopped.
  type: list
  elements: str
  returned: success
needs:
  description: Paths that a rebuilt server needs, and that the repository does not bring; none where
    O(needs) is not asked for, or they are not known.
  type: list
  elements: str
  returned: success
lines: {description: The same for a person., type: list, elements: str, returned: success}
"""

from ansible.module_utils.postgres_backup_module import Call, Result, run, told

ARGUMENT_SPEC = {
    "directory": {"type": "str", "default": ""},
    "composed": {"type": "bool", "default": False},
    "commands": {"type": "list", "elements": "str", "default": []},
    "health_url": {"type": "str", "default": ""},
    "database_host": {"type": "str", "default": "localhost"},
    "database_port": {"type": "int", "default": 5432},
    "database_container": {"type": "str", "default": ""},
    "database_service": {"type": "str", "default": ""},
    "needs": {"type": "bool", "default": False},
    "repository": {"type": "bool", "default": False},
}


def perform(call: Call) -> Result:
    from ansible.module_utils.postgres_backup.errors import PostgresBackupError
    from ansible.module_utils.postgres_backup.postgresql import app_files, compose

    asked = call.params
    container, directory = asked["database_container"], asked["directory"]
    if container:
        compose.see_container(container)
    compose.see_commands(directory, asked["commands"])
    result, lines, there = compose.NONE, [], []
    if asked["composed"]:
        host, port = asked["database_host"], asked["database_port"]
        place = compose.Place(host, port, container, asked["database_service"])
        there = compose.containers(directory)
        result = compose.find(there, place)
        lines = compose.lines(result, directory)
    if asked["health_url"] and (ill := compose.health(asked["health_url"])):
        lines.append(ill)
    needs = []
    if asked["needs"] and directory:
        try:
            needs = app_files.needs(directory, asked["composed"], there, asked["repository"])
        except PostgresBackupError as error:  # no reason to have no backups
            lines.append(
                f"WARNING: what a rebuild needs of {directory} is not known: {error.message}"
            )
    return told({**result, "needs": needs}, lines)


if __name__ == "__main__":
    run(ARGUMENT_SPEC, perform)
