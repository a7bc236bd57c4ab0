"""Fixtures: a lab for the whole run, new servers for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.s3_server import SeaweedFS
from tests.servers import host, layers
from tests.servers.controller import Controller
from tests.servers.lab import Lab
from tests.servers.server import Server
from tests.services.brief import BriefSeaweedFS
from tests.services.secure_s3 import SecureSeaweedFS

#: labs that may stand side by side without being told apart by LAB_BRIDGE and LAB_NETWORK
SLOTS = 8


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of this run's own; what earlier runs that were killed left behind is removed first.

    Without root or a feature of the kernel the tests are skipped, with ``REQUIRE_ALL=1`` they fail.
    """
    required = os.environ.get("REQUIRE_ALL") == "1"
    if required and os.geteuid() == 0:
        host.install_programs()
    if found := host.obstacles():
        if required:
            pytest.fail(
                f"REQUIRE_ALL=1, but no servers can be booted here: {'; '.join(found)}",
                pytrace=False,
            )
        pytest.skip(f"no servers can be booted here: {'; '.join(found)}")
    mine = _claim()
    try:
        mine.start()
        yield mine
    finally:
        mine.stop()
        mine.release()


def _claim() -> Lab:
    if bridge := os.environ.get("LAB_BRIDGE"):
        labs = [Lab(bridge, os.environ.get("LAB_NETWORK", "10.77.0"))]
    else:
        labs = [Lab(f"pgb{slot}", f"10.77.{slot}") for slot in range(SLOTS)]
    mine = None
    for candidate in (
        labs
    ):  # all of them: one that a killed run held is tidied up even where an earlier one is free
        if not candidate.claim():
            continue
        candidate.stop()
        if mine is None and not candidate.other_with_network():
            mine = candidate
        else:
            candidate.release()
    if mine is None:
        raise host.LabError(
            f"Every lab of {[candidate.bridge for candidate in labs]} is in use;"
            " set LAB_BRIDGE and LAB_NETWORK"
        )
    return mine


class Servers:
    """Makes servers, and removes those that it made."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.made = lab, []

    def __call__(
        self,
        suite: str = "trixie",
        *,
        layer: str = "",
        docker: bool = False,
        timezone: str = "Etc/UTC",
        name: str = "",
        forks: bool = True,
        disk_bytes: int = 0,
    ) -> Server:
        """A new server of a suite; ``docker=True`` alone brings Docker along, beside
        ``layer="bare"`` it only lets it be installed. Without ``forks`` each call of a module
        starts a Python of its own, as on a user's server. ``disk_bytes`` makes a larger disk
        than the image has.
        """
        layer = layer or ("docker" if docker else "bare")
        image = layers.image(self.lab, suite, layer)
        name = name or f"{suite}-{secrets.token_hex(2)}"
        server = self.lab.up(
            name,
            suite,
            image=image,
            docker=docker or layers.needs_docker(layer),
            timezone=timezone,
            forks=forks,
            disk_bytes=disk_bytes,
        )
        self.made.append(server)
        return server

    def remove(self) -> None:
        for server in self.made:
            server.down()


@pytest.fixture
def new_server(lab: Lab) -> Iterator[Callable[..., Server]]:
    """``new_server("bookworm", layer="postgres", docker=False, timezone="Asia/Kathmandu")``; gone
    after the test.
    """
    servers = Servers(lab)
    yield servers
    servers.remove()


@pytest.fixture(scope="module")
def new_module_server(lab: Lab) -> Iterator[Callable[..., Server]]:
    """As ``new_server``; gone after the last test of the module."""
    servers = Servers(lab)
    yield servers
    servers.remove()


@pytest.fixture(scope="session")
def lab_s3(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server on the bridge, over HTTP."""
    with BriefSeaweedFS(
        tmp_path_factory.mktemp("lab-s3"),
        "lab-access-key",
        secrets.token_urlsafe(24),
        host=lab.address,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def lab_s3_tls(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server on the bridge, over HTTPS with a CA of its own (``ca_bundle``)."""
    with SecureSeaweedFS(
        tmp_path_factory.mktemp("lab-s3"),
        "lab-access-key",
        secrets.token_urlsafe(24),
        host=lab.address,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def lab_registry(lab: Lab) -> Iterator[Server]:
    """A server with a Docker registry that has the images of ``app/``;
    ``layers.use_registry(server, lab_registry)`` lets another pull from it.
    """
    servers = Servers(lab)
    yield servers(layer="registry", name="registry")
    servers.remove()


@pytest.fixture
def controller(lab: Lab, tmp_path: Path) -> Controller:
    """This machine as the controller: its own inventory, and ``ansible-playbook`` over ssh."""
    return Controller(lab, tmp_path / "controller")
