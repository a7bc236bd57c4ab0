"""This machine in the part of the controller: an inventory, and ``ansible-playbook`` over ssh."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from tests.services import ansible_runs

from .lab import Lab
from .server import Server

ROOT = Path(__file__).resolve().parents[2]
_RECAP = re.compile(r"^(?P<host>\S+)\s+:\s+(?P<counts>ok=.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Play:
    """What a run of ``ansible-playbook`` did."""

    status: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Per host the counts of the last lines: ok, changed, unreachable, failed, skipped,
        rescued, ignored.
        """
        return {
            found["host"]: {
                name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", found["counts"])
            }
            for found in _RECAP.finditer(self.output)
        }


class Controller:
    """Holds an inventory and runs playbooks of this checkout against it.

    :param lab: whose key logs in.
    :param directory: the inventory and what Ansible writes beside it.
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab, self.directory = lab, directory
        self.inventory = directory / "inventory"
        (self.inventory / "group_vars").mkdir(parents=True)
        (self.inventory / "host_vars").mkdir()
        # an ssh connection kept open to a removed server would break the next at its address; and a
        # socket's path may have 107 bytes
        self._sockets = tempfile.mkdtemp(prefix="lab-cp-", dir=lab.directory)
        self._hosts: dict[str, dict] = {}

    def add(self, server: Server, user: str = "root", **variables: object) -> None:
        """Put a server into the inventory: logged in as ``user``, who becomes root by sudo where he
        is not.
        """
        self._hosts[server.name] = {
            "ansible_host": server.address,
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(self.lab.key),
            "ansible_ssh_common_args": (
                f"-o UserKnownHostsFile={server.known_hosts} -o IdentitiesOnly=yes"
            ),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        (self.inventory / "hosts.yml").write_text(
            json.dumps({"all": {"hosts": self._hosts}}, indent=2)
        )
        (self.inventory / "host_vars" / f"{server.name}.yml").write_text(
            json.dumps(variables, indent=2)
        )

    def variables(self, **variables: object) -> None:
        """What ``group_vars/all.yml`` holds."""
        (self.inventory / "group_vars" / "all.yml").write_text(json.dumps(variables, indent=2))

    def command(self, playbook: str, *options: str) -> tuple[list[str], dict[str, str]]:
        """The words and the environment of a call, for a test that starts it by itself."""
        environment = ansible_runs.environment(
            ANSIBLE_SSH_CONTROL_PATH_DIR=self._sockets, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg")
        )
        words = [str(ansible_runs.PLAYBOOK), "-i", str(self.inventory), playbook, *options]
        return words, environment

    def run(self, playbook: str, *options: str, check: bool = True, timeout: float = 880) -> Play:
        """Run a playbook from the root of the checkout.

        :raises AssertionError: it ended with another status than 0 (where ``check``); the message
            holds its output.
        """
        words, environment = self.command(playbook, *options)
        started = time.monotonic()
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        done = subprocess.run(
            words, cwd=ROOT, env=environment, text=True, timeout=timeout, check=False, **streams
        )
        play = Play(done.returncode, done.stdout, time.monotonic() - started)
        assert not check or play.status == 0, (
            f"{playbook} ended with {play.status}:\n{play.output[-12000:]}"
        )
        return play
