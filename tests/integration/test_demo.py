"""``make demo`` as a newcomer types it: an ordinary user, a fresh checkout, nothing of the project installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import clean
from tests import documents
from tests.conftest import ROOT

NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy that an ordinary user may read and write; not below pytest's own folder, which only we may enter."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/var/tmp"))
    copy = folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "bench-*", "all.yml", "hosts.yml", "__pycache__"), symlinks=True)
    if os.geteuid() == 0:
        for path in (folder, copy, *copy.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    yield copy
    clean.clean(copy / ".demo")
    shutil.rmtree(folder)


def make(checkout: Path, target: str) -> str:
    """What ``make <target>`` prints, typed by somebody who is not root."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")}
    home = str(checkout.parent)
    environment |= {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"}
    # Ansible goes by the home in /etc/passwd, and that of nobody does not exist
    environment |= {"ANSIBLE_REMOTE_TEMP": f"{home}/tmp", "ANSIBLE_ASYNC_DIR": f"{home}/async"}
    whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        ["make", target], cwd=checkout, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=840, check=False, **whom,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def plain(line: str) -> str:
    """Without numbers, versions and times, and however it is indented."""
    return " ".join(re.sub(r"\d[\d.,:_-]*", "#", line).split())


@pytest.mark.timeout(900)
def test_make_demo_as_a_newcomer_types_it(checkout):
    before = {path.name for path in checkout.iterdir()}
    printed = [plain(line) for line in make(checkout, "demo").splitlines()]
    shown = next(block for block in documents.blocks("README.md") if "WHAT HAPPENED" in block.text)
    for line in shown.text.splitlines():
        assert plain(line) in printed, f"{shown.where} shows {line!r}, make demo printed:\n" + "\n".join(printed[-30:])
    made = {path.name for path in checkout.iterdir()} - before - {".venv", ".ansible", "__pycache__"}
    assert made == {".demo"}
    assert "Removed" in make(checkout, "demo-clean")
    assert not (checkout / ".demo").exists()
