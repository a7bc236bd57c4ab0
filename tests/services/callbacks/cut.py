"""Kills a run of Ansible at a task, as a laptop's lid does that is shut: ``CUT_AT`` is the task's
name, ``CUT_WHEN`` before or after it; or ``CUT_AT`` is a number of tasks.
"""

from __future__ import annotations

import os
import signal

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Counts tasks as they begin."""

    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "cut"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._at, self._number, self._passed = os.environ.get("CUT_AT", ""), 0, False

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._number += 1
        name = task.get_name().rpartition(" : ")[2]
        is_it = name == self._at or str(self._number) == self._at
        after = os.environ.get("CUT_WHEN") == "after"
        if (is_it and not after) or (self._passed and after):
            os.killpg(os.getpgid(0), signal.SIGKILL)
        self._passed = self._passed or is_it
