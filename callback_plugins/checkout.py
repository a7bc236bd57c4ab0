"""Sees that Ansible has read this project's ansible.cfg before one of its playbooks begins.

Ansible reads the ansible.cfg of the folder that it is typed in. From another folder it finds no
inventory, says "no hosts matched", and ends as if all were well: a restore that was not made, a
backup of cron's that was not taken.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

DOCUMENTATION = """
name: checkout
type: aggregate
short_description: see that ansible.cfg was read
description: Ends a run of this project's playbooks that has not read its ansible.cfg.
"""

ROOT = Path(__file__).resolve().parents[1]
#: as for any playbook that cannot be begun
_STATUS = 4


class CallbackModule(CallbackBase):
    """Loaded by Ansible because it lies beside the playbooks, whatever was configured."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "checkout"

    def v2_playbook_on_start(self, playbook):
        typed = Path(os.path.abspath(playbook._file_name))
        if said := refusal(typed, constants.DEFAULT_ROLES_PATH):
            Display().error(said, wrap_text=False)
            # a callback's own errors are warnings to Ansible, and this must end the run
            raise SystemExit(_STATUS)


def refusal(playbook: Path, roles_path: list[str]) -> str:
    """Why a playbook is not begun; empty where it may be.

    :param roles_path: where Ansible looks for roles by its configuration: ours are there where it
        has read ours, or the user's own that knows of them.
    """
    known = {Path(one).resolve() for one in roles_path}
    if ROOT not in playbook.resolve().parents or ROOT / "roles" in known:
        return ""
    if ROOT.stat().st_mode & stat.S_IWOTH:
        return (
            f"Ansible passes over {ROOT}/ansible.cfg, because everybody may write in that folder."
            f" Type chmod o-w {ROOT}, then the same again. Nothing was touched."
        )
    return (
        f"Ansible has not read {ROOT}/ansible.cfg: it reads that of the folder where it is typed."
        f" Type cd {ROOT} && ansible-playbook {playbook.resolve().relative_to(ROOT)} with the same"
        " options, or set ANSIBLE_CONFIG to that file. Nothing was touched."
    )
