"""Runs a module that asks no server within Ansible itself: by the way that other modules take, each
call costs the controller a fifth of a second of a core, for each host of a play.

The plugins named after modules are this one, as in postgres_backup_progress.py. Its arguments,
answers and refusals are the module's own.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import ansible.module_utils
from ansible.plugins.action import ActionBase

ROOT = Path(__file__).resolve().parents[1]
# as Ansible makes it for modules
if (shared := str(ROOT / "module_utils")) not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(shared)

# here and not where they are used: Ansible finds a plugin once, and runs it in a process a host
from ansible.module_utils.postgres_backup.signing import keyring  # noqa: E402, F401
from ansible.module_utils.postgres_backup_module import Call, Progress, refused  # noqa: E402


class ActionModule(ActionBase):
    """Runs the module that has the task's name."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        module = loaded(self._task.action.rpartition(".")[2])
        _, params = self.validate_argument_spec(module.ARGUMENT_SPEC)
        try:
            done = module.perform(Call(None, params, bool(self._task.check_mode), Progress()))
        except Exception as error:  # noqa: BLE001 - the last one to hear of it: never a traceback
            return {**result, **refused(error, str), "failed": True}
        return {**result, **done}


@functools.cache
def loaded(name: str) -> ModuleType:
    """A module of ``library/``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"library/{name}.py")
    assert spec is not None  # it has the name of a task that was found
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
