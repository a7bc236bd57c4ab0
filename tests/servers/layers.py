"""What a server may have beside the base system, baked into images so that tests need not wait for packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import golden

if TYPE_CHECKING:
    from .lab import Lab
    from .server import Server


def _install(server: Server, *packages: str) -> None:
    """Install Debian's packages as an administrator would."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    server.inside(*environment, "apt-get", "update", "-qq", timeout=300)
    server.inside(*environment, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, timeout=600)


def postgres(server: Server) -> None:
    """Debian's own PostgreSQL, running, with an empty cluster in UTF-8: 15 on Debian 12, 17 on Debian 13."""
    _install(server, "postgresql")
    encoding = server.sql("SHOW server_encoding")
    assert encoding == "UTF8", encoding


def docker(server: Server) -> None:
    """Docker with compose v2. Debian 12 has no compose v2 of its own: that one package comes from Debian 13."""
    if server.suite == "bookworm":
        source = "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        server.write("/etc/apt/sources.list.d/trixie.sources", source)
        pin = "Package: *\nPin: release n=trixie\nPin-Priority: -1\n\nPackage: docker-compose\nPin: release n=trixie\nPin-Priority: 500\n"
        server.write("/etc/apt/preferences.d/docker-compose", pin)
        _install(server, "docker.io", "docker-compose", "iptables")
    else:
        _install(server, "docker.io", "docker-cli", "docker-compose", "iptables")
    server.inside("docker", "compose", "version")


LAYERS = {"bare": None, "postgres": postgres, "docker": docker}
#: those that need Docker's rights
DOCKER = {"docker"}


def image(lab: Lab, suite: str, name: str) -> Path:
    """The image of a suite with a layer of :data:`LAYERS`."""
    provision = LAYERS[name]
    return golden.layer(lab, suite, name, name in DOCKER, provision) if provision else golden.bare(lab, suite)
