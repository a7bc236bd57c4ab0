"""Tells a module how wide its lines may be, so that a table of the server fits the terminal here.

Ansible shows them as the message of a task, indented; where there is no terminal it takes eighty
columns. The plugins named after modules are this one, as in postgres_backup_progress.py.
"""

from __future__ import annotations

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

#: blanks before the lines of a message: by callback_plugins/sentences.py, and by Ansible's own in
#: YAML
INDENTATION, IN_YAML = 2, 8


class ActionModule(ActionBase):
    """Runs the module that has the task's name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        # Ansible's is one less than the terminal's, and never less than 79
        ours = constants.DEFAULT_STDOUT_CALLBACK == "sentences"
        columns = {"columns": Display().columns + 1 - (INDENTATION if ours else IN_YAML)}
        return self._execute_module(module_args={**columns, **self._task.args}, task_vars=task_vars)
