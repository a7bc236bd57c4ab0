"""The application that the rehearsals of a disaster stand on: it comes up on a fresh Docker server,
writes all the time, and knows its own downtime.
"""

from __future__ import annotations

import json
import secrets
import time

import pytest

from tests.servers import layers
from tests.servers.application import health
from tests.servers.server import Server
from tests.waiting import wait_for

# images and packages may have to be made first
pytestmark = pytest.mark.timeout(1800)
COMPOSE = ("docker", "compose", "--project-directory", "/srv/crm")


def _start(server: Server) -> None:
    server.put(layers.APP / "compose.yml", "/srv/crm/compose.yml")
    server.write("/srv/crm/.env", f"DB_PASSWORD={secrets.token_urlsafe(18)}\n", "0600")
    server.inside(*COMPOSE, "up", "--detach", "--quiet-pull", timeout=300)
    wait_for("the application", lambda: health(server)[0] == 200, timeout=60)


def _downtimes(server: Server) -> list[dict]:
    return [
        json.loads(line)
        for line in server.inside(
            "sh", "-c", "cat /srv/crm/state/downtime.jsonl 2>/dev/null || :"
        ).stdout.splitlines()
    ]


def test_it_writes_all_the_time_and_knows_its_downtime(new_server):
    server = new_server("trixie", layer="app")
    _start(server)
    before = health(server)[1]
    assert before["customers"] == 500
    wait_for("more rows", lambda: health(server)[1]["visits"] > before["visits"] + 20, timeout=20)
    assert _downtimes(server) == []
    stopped = time.monotonic()
    server.inside(*COMPOSE, "stop", "web")
    time.sleep(2)  # the downtime itself
    server.inside(*COMPOSE, "start", "web")
    [gap] = wait_for(
        "the application's own word on its downtime", lambda: _downtimes(server), timeout=30
    )
    assert gap["restarted"]
    assert 2 < gap["seconds"] < time.monotonic() - stopped
    # a database that goes away under it is a downtime too, of another kind
    server.inside(*COMPOSE, "restart", "--timeout", "10", "db")
    wait_for("the second downtime", lambda: len(_downtimes(server)) == 2, timeout=60)
    gap = _downtimes(server)[1]
    assert not gap["restarted"]
    assert gap["errors"]
    wait_for("the application", lambda: health(server)[0] == 200, timeout=30)


def test_a_database_of_another_version_is_not_healthy_for_it(new_server):
    server = new_server("trixie", layer="app")
    _start(server)
    server.inside(
        *COMPOSE,
        "exec",
        "-T",
        "db",
        "psql",
        "-U",
        "crm",
        "-d",
        "crm",
        "-qc",
        "UPDATE schema_version SET version = 1",
    )
    status, found = health(server)
    assert status == 503
    assert found["reason"] == "the database has schema version 1, this code needs 2"
    # it comes back by itself after a power loss, with what it had
    rows = found["visits"]
    server.crash()
    server.boot()
    wait_for(
        "the application's answer",
        lambda: health(server)[0] == 503 and "visits" in health(server)[1],
        timeout=90,
    )
    assert health(server)[1]["visits"] >= rows


def test_a_server_without_images_pulls_them_from_the_lab(new_server, lab_registry):
    server = new_server("bookworm", layer="docker")
    layers.use_registry(server, lab_registry)
    server.inside("systemctl", "restart", "docker")
    _start(server)
    assert server.inside("docker", "compose", "version").stdout.startswith("Docker Compose version")
