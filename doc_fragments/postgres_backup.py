"""Documentation that the postgres_backup_* modules share; the options are in
module_utils/postgres_backup_module.py.
"""

from __future__ import annotations


class ModuleDocFragment:
    """Each attribute is a fragment: ``extends_documentation_fragment: [postgres_backup,
    postgres_backup.database]``.
    """

    DOCUMENTATION = r"""
options:
  config:
    description:
      - The settings of this server, as the role C(backup) writes them.
      - Only its owner may be able to read it.
    type: path
    default: /etc/postgres-backup/backup-config.env
  config_text:
    description: What would be written into O(config). In check mode the answer is given by this,
      and not by what lies there; else it is passed over.
    type: str
    default: ""
notes:
  - Runs as the owner of O(config), with the Python of C(/opt/postgres-backup/venv), which has the
    libraries (C(become_user) and C(ansible_python_interpreter) of the task).
  - A failure carries RV(ignore:exit_status) as the command line would have it (1 failed and nothing
    was lost, 2 wrong usage or settings, 3 another run holds the lock, 4 a check found the backup
    bad) and RV(ignore:findings).
  - RV(ignore:lines) says the result to a person, in the words of the command C(postgres-backup) and
    of its log.
"""

    DATABASE = r"""
options:
  database:
    description: The database. May be left out where the settings name only one.
    type: str
    default: ""
"""

    FROM_COPY = r"""
options:
  from_copy:
    description: From the second store (C(backup_copy_to)) instead of the first.
    type: bool
    default: false
"""

    OF_COPY = r"""
options:
  of_copy:
    description: The second store (C(backup_copy_to)) instead of the first.
    type: bool
    default: false
"""

    PREDECESSOR = r"""
options:
  databases:
    description: Those of ours. A script that dumps one of them makes way.
    type: list
    elements: str
    default: []
  host:
    description: Where they are.
    type: str
    default: localhost
  port:
    description: The server's port there.
    type: int
    default: 5432
  config_place:
    description: The place of our config, where something else may lie.
    type: path
    required: true
"""

    PROGRESS = r"""
options:
  progress_file:
    description: Where to write what is being done, for the action plugin of the same name, which
      sets this and shows it.
    type: path
"""
