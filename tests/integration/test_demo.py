"""``make demo`` as a newcomer types it: an ordinary user, a fresh checkout, nothing of the project
installed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import clean
from tests import documents
from tests.conftest import ROOT
from tests.services.in_memory import claim

NOBODY = 65534
#: how the folders of this test begin
NAME = "postgres-backup-demo-"


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy that an ordinary user may read and write; not below pytest's own folder, which only we
    may enter.
    """
    for left in Path("/var/tmp").glob(f"{NAME}*"):  # by a run that was killed
        if os.access(left, os.W_OK) and (handle := claim(left)) is not None:
            remove(left)
            os.close(handle)
    folder = Path(tempfile.mkdtemp(prefix=NAME, dir="/var/tmp"))
    handle = claim(folder)
    assert handle is not None
    copy = folder / "checkout"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".*", "bench-*", "all.yml", "hosts.yml", "__pycache__"),
        symlinks=True,
    )
    if os.geteuid() == 0:
        for path in (folder, copy, *copy.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    yield copy
    remove(folder)
    os.close(handle)


def remove(folder: Path) -> None:
    clean.clean(folder / "checkout/.demo")
    shutil.rmtree(folder)


def call(checkout: Path, target: str, root: bool = False) -> tuple[list, dict]:
    """``make <target>`` as somebody types it who is not root (where we are, and ``root`` is not
    asked for): words and options for a process.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")
    }
    home = str(checkout.parent)
    environment |= {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"}
    # Ansible goes by the home in /etc/passwd, and that of nobody does not exist
    environment |= {"ANSIBLE_REMOTE_TEMP": f"{home}/tmp", "ANSIBLE_ASYNC_DIR": f"{home}/async"}
    whom = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        if os.geteuid() == 0 and not root
        else {}
    )
    streams = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    return ["make", target], {"cwd": checkout, "env": environment, **streams, **whom}


def make(checkout: Path, target: str, root: bool = False) -> str:
    """What it prints."""
    words, options = call(checkout, target, root)
    done = subprocess.run(words, timeout=840, check=False, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def plain(line: str) -> str:
    """Without numbers, versions and times, and however it is indented."""
    return " ".join(re.sub(r"\d[\d.,:_-]*", "#", line).split())


def servers_of(checkout: Path) -> list[str]:
    """What runs out of the demonstration's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{checkout}/.demo" in line:
                found.append(line.split("\0")[0])
    return found


@pytest.mark.timeout(900)
def test_make_demo_as_a_newcomer_types_it(checkout):
    before = {path.name for path in checkout.iterdir()}
    printed = make(checkout, "demo").splitlines()
    told = printed[
        printed.index(next(line for line in printed if "TASK [List the backups]" in line)) :
    ]
    table = told[2 : told.index("")]  # its first line says that the task went well
    assert table[0].split()[:3] == ["BACKUP", "DATABASE", "AGE"]
    assert all(len(line) <= 80 for line in table), table
    printed = [plain(line) for line in printed]
    shown = next(block for block in documents.blocks("README.md") if "WHAT HAPPENED" in block.text)
    for line in shown.text.splitlines():
        assert plain(line) in printed, (
            f"{shown.where} shows {line!r}, make demo printed:\n" + "\n".join(printed[-30:])
        )
    made = (
        {path.name for path in checkout.iterdir()} - before - {".venv", ".ansible", "__pycache__"}
    )
    assert made == {".demo"}

    # once more, and interrupted by Ctrl-C, which every process of the terminal hears; then root,
    # over what that left
    words, options = call(checkout, "demo")
    with subprocess.Popen(words, process_group=0, **options) as running:
        said = []
        for line in running.stdout:
            said.append(line)
            if "TASK [Take a backup]" in line:
                break
        else:
            pytest.fail("it ended before it took a backup:\n" + "".join(said[-30:]))
        # Ansible does not hear one that comes just as it starts a worker; a person types it again
        for _ in range(60):
            os.killpg(running.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                rest = running.communicate(timeout=1)[0]
                break
    assert running.returncode != 0
    left = servers_of(checkout)
    assert left, "the interrupted demonstration has its servers running:\n" + rest
    again = make(checkout, "demo", root=True)
    assert "proved: every row and value is what it was" in again
    assert servers_of(checkout) == []
    if os.geteuid() == 0:
        assert (checkout / ".demo").stat().st_uid == 0
    assert "Removed" in make(checkout, "demo-clean", root=True)
    assert not (checkout / ".demo").exists()
    assert "Nothing to clean" in make(checkout, "demo-clean", root=True)
