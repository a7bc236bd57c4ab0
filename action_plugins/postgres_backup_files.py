"""Makes the content of files of templates and files of the role, before the module of the task's
name lays them.

A lookup of a template copies all variables of the host first, each time: that costs the controller
more than the rest of a task.

The plugin named after postgres_backup_switch is this one: see postgres_backup_progress.py.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template


class ActionModule(ActionBase):
    """Runs the module that has the task's name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = self.completed(dict(self._task.args), task_vars)
        return self._execute_module(module_args=args, task_vars=task_vars)

    def completed(self, args, task_vars):
        """What the module is called with: these arguments, and what templates and files make."""
        if isinstance(args.get("files"), list):  # else the module says what it is to be
            secrets = dict(args.get("secrets") or {})
            args["files"] = [self._filled(one, secrets, task_vars) for one in args["files"]]
            if secrets:
                args["secrets"] = secrets
        return args

    def _filled(self, file, secrets, task_vars):
        """A file with the content that its template or source makes; a secret one's goes apart."""
        if not isinstance(file, dict):
            return file
        filled = dict(file)
        if name := filled.pop("source", ""):
            place = self._find_needle("files", name)
            filled["content"] = self._loader.get_text_file_contents(place)
        if name := filled.pop("template", ""):
            filled["content"] = self.made_of(name, task_vars)
        if name := filled.pop("secret_template", ""):
            secrets[filled["path"]] = self.made_of(name, task_vars)
        return filled

    def made_of(self, template, task_vars):
        """The text that one of the role's templates makes of these variables."""
        place = self._find_needle("templates", template)
        text = trust_as_template(self._loader.get_text_file_contents(place))
        templar = self._templar.copy_with_new_env(available_variables=task_vars)
        return templar.template(text, escape_backslashes=False)
