"""Stops a run of Ansible before each of its tasks, and after the last, until a test has looked:
``WATCHED`` is the test's Unix socket. It hears the task's name, the empty one at the end, and
answers with anything; where it does not, the run is killed.
"""

from __future__ import annotations

import os
import signal
import socket

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Asks at each task."""

    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "watched"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._ask(task.get_name().rpartition(" : ")[2])

    def v2_playbook_on_handler_task_start(self, task):
        self._ask(task.get_name().rpartition(" : ")[2])

    def v2_playbook_on_stats(self, stats):
        self._ask("")

    def _ask(self, name: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(os.environ["WATCHED"])
            line.sendall(name.encode() + b"\n")
            if not line.recv(1):
                os.killpg(os.getpgid(0), signal.SIGKILL)
