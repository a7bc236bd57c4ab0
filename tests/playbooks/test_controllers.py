"""Every ansible-core that may be the controller's, on each Python that it takes: what is typed,
what roles write, and backups and restores by playbooks, each with an Ansible of its own.

The table in docs/reference.md ("Which Ansible, which Python") is this list.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_pythons import interpreters

ROOT = Path(__file__).resolve().parents[2]
#: ansible-core -> the Pythons that it runs with and that are ours
CONTROLLERS = {
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13"),
    "2.21": ("3.12", "3.13"),
}
PAIRS = [(core, python) for core, pythons in CONTROLLERS.items() for python in pythons]
TRIED = ("tests/playbooks", "tests/roles", "tests/integration/test_playbooks.py")


def test_the_table_of_the_documents_is_this_list():
    text = (ROOT / "docs/reference.md").read_text()
    rows = re.findall(r"^\| (2\.\d+) \| ([\d., ]+) \|", text, re.MULTILINE)
    assert {core: tuple(pythons.split(", ")) for core, pythons in rows} == CONTROLLERS


@pytest.mark.gameday
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("core", "python"), PAIRS)
def test_a_controller(core, python, tmp_path):
    """Its Ansible comes from the index, with the libraries that we pin."""
    found = [one for one in interpreters() if _version(one) == python]
    if not found:
        told = f"there is no Python {python} on this machine"
        (pytest.fail if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip)(told)
    venv = tmp_path / "controller"
    subprocess.run([found[0], "-m", "venv", venv], check=True)
    pins = (ROOT / "requirements/controller.txt").read_text().splitlines()
    others = [pin for pin in pins if re.match(r"[a-z]", pin) and not pin.startswith("ansible-core")]
    server = ["--requirement", str(ROOT / "requirements/server.txt")]
    install = [venv / "bin/python", "-m", "pip", "install", "--quiet", *server, *others]
    subprocess.run([*install, f"ansible-core=={core}.*"], check=True)
    by = subprocess.run(
        [venv / "bin/ansible-playbook", "--version"], capture_output=True, text=True, check=True
    )
    assert f"[core {core}." in by.stdout
    assert f"python version = {python}." in by.stdout
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TRIED],
        cwd=ROOT,
        env=os.environ | {"TESTED_CONTROLLER": str(venv / "bin/python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]


def _version(python: str) -> str:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.strip()
