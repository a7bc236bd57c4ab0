"""Makes the text of the config of its template, before the module of this name reads it: as
postgres_backup_files.py beside this does, and for its reason.
"""

from ansible.plugins.loader import action_loader

_Files = action_loader.get("postgres_backup_files", class_only=True)


class ActionModule(_Files):
    """Runs the module that has the task's name."""

    def completed(self, args, task_vars):
        """The module's arguments, with the text in place of what it is made of."""
        variables = args.pop("config_variables", {})
        if template := args.pop("config_template", ""):
            args["config_text"] = self.made_of(template, {**task_vars, **variables})
        return args
