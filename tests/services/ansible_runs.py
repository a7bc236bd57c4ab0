"""The environment of the runs of Ansible that tests start."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

#: what lets runs keep what costs most and is the same each time: packed modules
#: (``callbacks/payloads.py``), and on this machine the code that Python makes of them and a process
#: that has loaded it, which ends with this one (``tests/servers/python``)
KEPT = {
    "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callbacks")),
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
