"""Shows what a long module does while it does it.

The module runs in the background of its host and writes its state into a file (``FileProgress`` in
module_utils/postgres_backup/machine/progress.py); this looks at the file about once a second and
prints what is new, until the module has ended. The result is the module's own. In check mode the
module runs as any other, and so does the step of a restore that swaps: it takes a moment, in which
an application is down, and the way over the background costs more than that.

A look is one short shell command, not a module: a module costs the host half a second of a core,
which the backup needs.

The plugins named after modules are this one: Ansible picks an action plugin by the module's name.
"""

from __future__ import annotations

import json
import posixpath
import time
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

#: seconds after which the host ends a module that still runs
LIMIT = 7 * 24 * 3600
#: seconds between two looks: soon at first, so that a short module ends without a wait
WAITS = (0.2, 0.3, 0.5, 1.0)
#: seconds between two lines about the same step
PATIENCE = 5.0
#: seconds for which a host may be out of reach; the module goes on there meanwhile
OUT_OF_REACH = 120.0
#: looks in a row that must find the module's process gone and no answer: it was killed
GONE = 3
#: what async_status adds to the module's result
WRAPPING = (
    "ansible_job_id",
    "results_file",
    "started",
    "finished",
    "stdout",
    "stderr",
    "stdout_lines",
    "stderr_lines",
)


class ActionModule(ActionBase):
    """Runs the module that has the task's name."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        # in place there is no side database, and the swap is the long load itself
        swaps = self._task.args.get("stage") == "swap" and self._task.args.get("side_database")
        if self._task.check_mode or swaps:
            return self._execute_module(task_vars=task_vars)
        # The module holds its arguments, a private key among them. Core leaves its folder to the
        # wrapper of a background job, which cannot remove it where it became another user.
        holder = self._make_tmp_path()
        try:
            return self._in_background(task_vars)
        finally:
            self._remove_tmp_path(holder, force=True)

    def _in_background(self, task_vars: dict) -> dict:
        # beside the file of the job itself, in a folder of the user that the module becomes
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        name = f"postgres-backup-{uuid.uuid4().hex}.json"
        started = self._start({**self._task.args, "progress_file": f"{folder}/{name}"}, task_vars)
        job_file = started.get("results_file")
        if not job_file:
            return started
        folder, job = posixpath.split(job_file)
        state_file = f"{folder}/{name}"
        try:
            self._watch(job_file, state_file, task_vars["inventory_hostname"])
            status = self._execute_module(
                module_name="ansible.legacy.async_status",
                module_args={"jid": job, "_async_dir": folder},
                task_vars=task_vars,
            )
        finally:
            self._shell("rm", "-f", "--", state_file, job_file)
        if not status.get("finished"):
            return {
                "failed": True,
                "msg": "The module ended without an answer: it was killed, or memory ran out. "
                "What it left behind the next run removes",
            }
        return {key: value for key, value in status.items() if key not in WRAPPING}

    def _start(self, arguments: dict, task_vars: dict) -> dict:
        self._task.async_val = LIMIT
        try:
            return self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            # the executor would wait a second time for a task that is still marked as asynchronous
            self._task.async_val = 0

    def _watch(self, job_file: str, state_file: str, host: str) -> None:
        """Print what the module says until it has answered, or is gone without an answer."""
        teller, heard, looks, gone = Teller(host), time.monotonic(), 0, 0
        while gone < GONE:
            time.sleep(WAITS[min(looks, len(WAITS) - 1)])
            looks += 1
            try:
                state, answered = self._look(job_file, state_file)
                alive = (
                    answered or not state or self._shell("kill", "-0", str(state["pid"]))["rc"] == 0
                )
            except AnsibleConnectionFailure:
                if time.monotonic() - heard > OUT_OF_REACH:
                    raise
                continue
            heard = time.monotonic()
            if state:
                teller.tell(state)
            if answered:
                return
            gone = 0 if alive else gone + 1

    def _look(self, job_file: str, state_file: str) -> tuple[dict, bool]:
        """The module's state (empty before it has one), and whether its answer is there.

        async_wrapper keeps ``{"started": ..., "finished": 0}`` in the job's file until the answer
        replaces it.
        """
        state = self._shell("cat", "--", state_file)
        job = _json(self._shell("cat", "--", job_file)["stdout"])
        return _json(state["stdout"]), bool(job) and (
            "started" not in job or bool(job.get("finished"))
        )

    def _shell(self, *words: str) -> dict:
        return self._low_level_execute_command(
            " ".join(self._connection._shell.quote(word) for word in words)
        )


def _json(text: str) -> dict:
    """What a file holds; nothing where it is not there yet, or just being written."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


class Teller:
    """Prints what of a state was not yet printed: each step once, and now and then how far the
    present one is.
    """

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
