"""The environment of the runs of Ansible that tests start."""

from __future__ import annotations

import os
from pathlib import Path

_CALLBACKS = Path(__file__).with_name("callbacks")


def environment(**more: str) -> dict[str, str]:
    """This process's, but for its own settings of Ansible; packed modules are kept between runs
    (``callbacks/payloads.py``).

    :param more: further variables.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
    }
    kept = {"ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS), "ANSIBLE_CALLBACKS_ENABLED": "payloads"}
    return inherited | kept | {"ANSIBLE_NOCOLOR": "1"} | more
