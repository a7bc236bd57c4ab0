"""What differs between Debian and Ubuntu, as the roles work it out of a machine's facts.

The names were looked up in the lists of Ubuntu 22.04 and 24.04 as released (main and universe):
docker.io is in both, docker-compose-v2 in 24.04 (22.04 has it among its updates, which were not
looked at), awscli in 22.04 alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[2] / "roles"
MACHINES = {
    "bookworm": {"distribution": "Debian", "distribution_release": "bookworm"},
    "trixie": {"distribution": "Debian", "distribution_release": "trixie"},
    "jammy": {"distribution": "Ubuntu", "distribution_release": "jammy"},
    "noble": {"distribution": "Ubuntu", "distribution_release": "noble"},
}


def worked_out(role: str, name: str, release: str):
    """A variable of a role on a machine of that release."""
    known: dict[str, object] = {"ansible_facts": MACHINES[release]}
    for place in ("defaults", "vars"):
        file = ROLES / role / place / "main.yml"
        if file.exists():
            known |= DataLoader().load_from_file(str(file), trusted_as_template=True)
    return Templar(loader=None, variables=known).template(known[name])


@pytest.mark.parametrize(
    ("release", "packages", "from_elsewhere"),
    [
        ("bookworm", ["docker.io", "iptables", "docker-compose-plugin"], True),
        ("trixie", ["docker.io", "docker-cli", "docker-compose", "iptables"], False),
        ("jammy", ["docker.io", "docker-compose-v2"], False),
        ("noble", ["docker.io", "docker-compose-v2"], False),
    ],
)
def test_docker_and_compose_v2(release, packages, from_elsewhere):
    assert worked_out("docker", "__docker_packages", release) == packages
    repository = worked_out("docker", "__docker_repository", release)
    assert bool(repository) is from_elsewhere
    assert repository == {} or repository["suite"] == release


@pytest.mark.parametrize("release", MACHINES)
def test_the_suite_of_the_postgresql_projects_packages(release):
    suite = worked_out("postgres_client", "postgres_client_repository_suite", release)
    assert suite == f"{release}-pgdg"


def test_nothing_is_bound_to_one_processor():
    """arm64: no role asks for an architecture, and apt takes the machine's own."""
    for path in ROLES.rglob("*.yml"):
        text = path.read_text()
        assert not {"amd64", "x86_64", "architectures:"} & set(text.split()), path


def test_what_no_list_of_ubuntu_24_has_comes_another_way():
    [first, *_] = yaml.safe_load((ROLES / "aws_cli/tasks/install.yml").read_text())
    assert first["vars"]["packages_names"] == ["awscli"]
    assert "python3-venv" in first["vars"]["packages_instead"]
