"""``sh bootstrap.sh`` on a server that has nothing: the packages it lacks, the environment, and
nothing done twice.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.servers import golden
from tests.servers.host import LabError

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = "cd /srv/checkout && sh bootstrap.sh"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """What bootstrap.sh needs of a checkout, as it comes from git."""
    folder = tmp_path / "checkout"
    for name in (
        "bootstrap.sh",
        "requirements",
        "module_utils",
        "inventory/hosts.example.yml",
        "group_vars/all.example.yml",
    ):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", golden.SUITES)
def test_a_bare_server_becomes_a_controller(new_server, checkout, suite):
    server = new_server(suite)
    server.put(checkout, "/srv/checkout")
    server.inside("useradd", "--create-home", "plain")
    server.inside("chown", "-R", "plain:", "/srv/checkout")

    # Without the right to install packages: what to type, and nothing half made.
    with pytest.raises(
        LabError, match="sudo apt-get update && sudo apt-get install -y python3-venv"
    ):
        server.inside("runuser", "-u", "plain", "--", "sh", "-c", BOOTSTRAP, timeout=300)
    assert server.inside("ls", "-A", "/srv/checkout").stdout.split().count(".venv") == 0

    # As root it installs them.
    server.ssh(BOOTSTRAP, timeout=600)
    assert (
        "ansible [core 2." in server.ssh("cd /srv/checkout && .venv/bin/ansible --version").stdout
    )
    assert (
        "restore"
        in server.ssh(
            "cd /srv/checkout && PYTHONPATH=module_utils .venv/bin/python -m postgres_backup --help"
        ).stdout
    )
    edited = server.ssh(
        "cd /srv/checkout && stat -c '%a %n' inventory/hosts.yml group_vars/all.yml"
    ).stdout
    assert edited.splitlines() == ["600 inventory/hosts.yml", "600 group_vars/all.yml"]

    # A second run does nothing and says nothing, and leaves what a user wrote.
    server.ssh("echo 'mine: true' > /srv/checkout/group_vars/all.yml")
    stamp = "stat -c %Y /srv/checkout/.venv/bin /srv/checkout/.venv/lib/python3*/site-packages"
    before = server.ssh(stamp).stdout
    again = server.ssh(BOOTSTRAP)
    assert again.stdout + again.stderr == ""
    assert server.ssh(stamp).stdout == before
    assert server.ssh("cat /srv/checkout/group_vars/all.yml").stdout == "mine: true\n"

    if suite == "trixie":  # a checkout that was moved gets an environment that works there
        server.ssh(
            "mv /srv/checkout /srv/elsewhere && cd /srv/elsewhere && sh bootstrap.sh", timeout=600
        )
        assert "ansible [core 2." in server.ssh("/srv/elsewhere/.venv/bin/ansible --version").stdout
