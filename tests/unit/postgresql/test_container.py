"""The address of a container's PostgreSQL, from what Docker 26.1 tells (the answers are its own).

With a real Docker: ``tests/servers/test_recovery.py``. Here a program that prints an answer stands
in for it, so that every answer can be had.
"""

from __future__ import annotations

import json

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.machine import config_file
from postgres_backup.postgresql import container

GIVEN = {
    "SERVER_NAME": "db1",
    "DB_NAME": "crm",
    "DB_USER": "crm",
    "DB_CONTAINER": "crm-db-1",
    "S3_ENDPOINT_URL": "https://s3.example.com",
    "S3_BUCKET_NAME": "backups",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}
NETWORK = {"Aliases": ["crm-db-1", "db"], "Gateway": "172.18.0.1", "IPAddress": "172.18.0.2"}
NETWORK |= {"GlobalIPv6Address": "", "DriverOpts": None}
SIX = NETWORK | {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}
NOWHERE = NETWORK | {"IPAddress": ""}
PUBLISHED = {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5432"}]}
ELSEWHERE = {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5433"}]}


def settings(**more: str):
    return config_file.from_values(GIVEN | more)


def told(ports: object, **networks: object) -> dict[str, object]:
    return {"running": True, "ports": ports, "networks": networks}


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (told({"5432/tcp": None}, crm_default=NETWORK), "172.18.0.2"),
        (told({"5432/tcp": None}, a=NOWHERE, b=NETWORK), "172.18.0.2"),
        (told({}, crm_default=SIX), "fd00::2"),
        (told(ELSEWHERE, crm_default=NETWORK), "172.18.0.2"),
        (told(PUBLISHED, crm_default=NETWORK), ""),
        (told({}, host=NOWHERE), ""),
        (told(None), ""),
    ],
    ids=["private", "two networks", "IPv6", "another port", "published", "host's", "none"],
)
def test_where_it_answers(answer, address):
    assert container.chosen(answer, settings()) == (address, 5432)


def test_the_port_that_is_published_is_followed():
    answer = told(ELSEWHERE, crm_default=NETWORK)
    assert container.chosen(answer, settings(DB_PORT="5433")) == ("", 5433)
    assert container.chosen(told(PUBLISHED, x=NETWORK), settings(DB_PORT="5433"))[0]


def test_one_that_does_not_run():
    with pytest.raises(DatabaseError, match="it does not run") as caught:
        container.chosen({"running": False, "ports": {}, "networks": {}}, settings())
    assert caught.value.hint == "Start it: docker start crm-db-1"


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """``docker(text)``: a program of that name which is these lines of shell; its arguments."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(text: str):
        program = tmp_path / "docker"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/asked"\n{text}\n')
        program.chmod(0o755)
        return tmp_path / "asked"

    return make


def test_docker_is_asked_for_nothing_but_the_address(docker):
    asked = docker(f"echo '{json.dumps(told({'5432/tcp': None}, x=NETWORK))}'")
    assert container.address(settings()) == ("172.18.0.2", 5432)
    words = asked.read_text().splitlines()
    assert (words[:3], words[-2:]) == (["container", "inspect", "--format"], ["--", "crm-db-1"])
    assert ".Config" not in asked.read_text()
    # another host is followed, and without a container nobody is asked
    docker("exit 1")
    assert container.address(settings(DB_HOST="db.example.com")) == ("", 5432)
    assert container.address(settings(DB_CONTAINER="")) == ("", 5432)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (
            "echo 'Error response from daemon: No such container: crm-db-1' >&2; exit 1",
            "No such container",
            "backup_db_container",
        ),
        (
            "echo 'permission denied while trying to connect to the socket' >&2; exit 1",
            "permission denied",
            "group docker",
        ),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "Cannot connect", "docker ps"),
        ("echo nonsense", "its answer is none", "docker ps"),
        ("echo '[]'", "its answer is none", "docker ps"),
    ],
)
def test_what_docker_does_not_say(docker, text, says, hint):
    docker(text)
    with pytest.raises(DatabaseError, match=r"Failed to reach PostgreSQL .* crm-db-1") as caught:
        container.address(settings())
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_without_docker(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseError, match=r"Docker does not say where it is: .*docker"):
        container.address(settings())
