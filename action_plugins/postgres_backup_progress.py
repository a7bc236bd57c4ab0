"""Shows what a long module does while it does it.

The module runs in the background of its host and writes its state into a file (``FileProgress`` in
module_utils/postgres_backup/progress.py); this reads the file about once a second and prints what is new, until the
module has ended. The result is the module's own. In check mode the module runs as any other.

The plugins named after modules are this one: Ansible picks an action plugin by the module's name.
"""

from __future__ import annotations

import base64
import json
import time
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

#: seconds after which the host ends a module that still runs
LIMIT = 7 * 24 * 3600
#: seconds between two looks: soon at first, so that a short module ends without a wait
WAITS = (0.2, 0.4, 0.7, 1.0)
#: seconds between two lines about the same step
PATIENCE = 5.0
#: seconds for which a host may be out of reach; the module goes on there meanwhile
OUT_OF_REACH = 120.0
#: seconds within which a job shows itself; on a busy host async_wrapper answers before it has written that the job began
APPEARS = 60.0
#: what async_status adds to the module's result
WRAPPING = ("ansible_job_id", "results_file", "started", "finished", "stdout", "stderr", "stdout_lines", "stderr_lines")


class ActionModule(ActionBase):
    """Runs the module that has the task's name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if self._task.check_mode:
            return self._execute_module(task_vars=task_vars)
        # where async_wrapper keeps the job itself: a folder that the user whom the module becomes may write to
        self._job_dir = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        # async_wrapper would go by HOME, which need not be where the user's home is (sudo, containers)
        self._connection._shell.set_option("async_dir", self._job_dir)
        state_file = f"{self._job_dir}/postgres-backup-{uuid.uuid4().hex}.json"
        started = self._start({**self._task.args, "progress_file": state_file}, task_vars)
        if "ansible_job_id" not in started:
            return started
        try:
            result = self._wait(started["ansible_job_id"], state_file, task_vars)
        finally:
            self._call("file", {"path": state_file, "state": "absent"}, task_vars)
        self._call("async_status", {"jid": started["ansible_job_id"], "mode": "cleanup", "_async_dir": self._job_dir}, task_vars)
        return {key: value for key, value in result.items() if key not in WRAPPING}

    def _start(self, arguments: dict, task_vars: dict) -> dict:
        self._task.async_val = LIMIT
        try:
            return self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            # the executor would wait a second time for a task that is still marked as asynchronous
            self._task.async_val = 0

    def _wait(self, job: str, state_file: str, task_vars: dict) -> dict:
        teller, began, looks, appeared = Teller(task_vars["inventory_hostname"]), time.monotonic(), 0, False
        seen = began
        while True:
            time.sleep(WAITS[min(looks, len(WAITS) - 1)])
            looks += 1
            try:
                status = self._call("async_status", {"jid": job, "_async_dir": self._job_dir}, task_vars)
                state = self._call("slurp", {"src": state_file}, task_vars)
            except AnsibleConnectionFailure:
                if time.monotonic() - seen > OUT_OF_REACH:
                    raise
                continue
            seen = time.monotonic()
            appeared = appeared or status.get("msg") != "could not find job"
            if not appeared and seen - began < APPEARS:
                continue
            if not state.get("failed"):  # not there yet is no failure
                teller.tell(json.loads(base64.b64decode(state["content"])))
            if status.get("finished"):
                return status

    def _call(self, module: str, arguments: dict, task_vars: dict) -> dict:
        return self._execute_module(module_name=f"ansible.legacy.{module}", module_args=arguments, task_vars=task_vars)


class Teller:
    """Prints what of a state was not yet printed: each step once, and now and then how far the present one is."""

    def __init__(self, host: str) -> None:
        self.host, self.steps, self.line, self.next = host, 0, "", time.monotonic() + WAITS[-1]

    def tell(self, state: dict) -> None:
        for step in state["steps"][self.steps :]:
            self._say(step)
        self.steps = len(state["steps"])
        line, now = state["line"], time.monotonic()
        if line not in (self.line, *state["steps"]) and now >= self.next:
            self.next = now + PATIENCE
            self.line = line
            self._say(line)

    def _say(self, text: str) -> None:
        display.display(f"    {self.host}: {text}")
