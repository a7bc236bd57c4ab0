"""Keeps what Ansible packs for a module from one run to the next, for runs that tests start.

Ansible reads and packs what a module imports once for each module and run, which is a third of what
a playbook costs the controller, and puts it into a folder of the run. Here that folder is a link to
one for all runs of the same Ansible with the same files.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: payloads
type: aggregate
short_description: keep the packed modules
description: Keeps what Ansible packs for a module from one run to the next.
"""

_PLACE = Path(__file__).resolve().parents[3] / ".pytest_cache/d"
_KEPT = _PLACE / "ansible-payloads"
#: seconds after which what no run asks for any more is removed
_DAY = 86400


class CallbackModule(CallbackBase):
    """Tells nobody anything."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "payloads"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        kept = _KEPT / _made_of()
        if not kept.exists():
            for other in _KEPT.glob("*"):
                if other.stat().st_mtime < time.time() - _DAY:
                    shutil.rmtree(other, ignore_errors=True)
            # compiled modules, each by its source: made again where one is still needed
            shutil.rmtree(_PLACE / "ansible-code", ignore_errors=True)
            kept.mkdir(parents=True, exist_ok=True)
        Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(kept)


def _made_of() -> str:
    """The SHA-256 of all that a payload is made of: Ansible, and this project's modules."""
    found = hashlib.sha256(__version__.encode())
    for folder in (*constants.DEFAULT_MODULE_PATH, *constants.DEFAULT_MODULE_UTILS_PATH):
        for path in sorted(Path(folder).rglob("*.py")):
            name, content = str(path.relative_to(folder)).encode(), path.read_bytes()
            found.update(b"%d %d " % (len(name), len(content)) + name + content)
    return found.hexdigest()
