"""The environment of the runs of Ansible that tests start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PYTHON = Path(os.environ.get("TESTED_CONTROLLER") or sys.executable)
#: the Ansible that is tried; of another environment where ``TESTED_CONTROLLER`` is its Python
#: (tests/playbooks/test_controllers.py)
PLAYBOOK = _PYTHON.with_name("ansible-playbook")

#: what lets runs keep what costs most and is the same each time: packed modules
#: (``callbacks/payloads.py``), and on this machine the code that Python makes of them and a process
#: that has loaded it, which ends with this one (``tests/servers/python``)
KEPT = {
    # ours too: what ansible.cfg says of them does not count beside this
    "ANSIBLE_CALLBACK_PLUGINS": f"{Path(__file__).with_name('callbacks')}:"
    f"{_ROOT / 'callback_plugins'}",
    "ANSIBLE_CALLBACKS_ENABLED": "payloads",
    "PYTHONPATH": str(_ROOT / "tests/servers/python"),
    "KEPT_CODE": str(_ROOT / ".pytest_cache/d/ansible-code"),
    "FORKS_UNTIL": str(os.getpid()),
}


def environment(**more: str) -> dict[str, str]:
    """This process's, but for its own settings of Ansible, and with :data:`KEPT`.

    :param more: further variables.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
    }
    return inherited | KEPT | {"ANSIBLE_NOCOLOR": "1"} | more
