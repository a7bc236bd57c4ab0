"""What a server may have beside the base system, baked into images so that tests need not wait for
packages.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import golden
from .host import LabError

if TYPE_CHECKING:
    from .lab import Lab
    from .server import Server

#: the application of the tests; its images are called after this registry, which the lab has to
#: bring along
APP = Path(__file__).with_name("app")
REGISTRY = "registry.lab:5000"
IMAGES = {"postgres": f"{REGISTRY}/postgres:17", "web": f"{REGISTRY}/web:1"}
_BACKUP = Path(__file__).parents[2] / "roles/backup"
_LIBRARIES = _BACKUP / "files/requirements.txt"
#: of the roles backup and aws_cli; read without a parser, for a new machine makes images before it
#: has one
_PACKAGES = re.findall(
    r"[a-z0-9-]+",
    re.search(r"^__backup_packages: \[(.+)]$", (_BACKUP / "vars/main.yml").read_text(), re.M)[1],
)
_PACKAGES += ["awscli"]
#: seconds; a busy machine with two cores takes its time
_PATIENCE = 600


def _install(server: Server, *packages: str) -> None:
    """Install Debian's packages as an administrator would."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    server.inside(*environment, "apt-get", "update", "-qq", timeout=_PATIENCE)
    server.inside(
        *environment,
        "apt-get",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        *packages,
        timeout=_PATIENCE,
    )


def _postgres(server: Server) -> None:
    """Debian's own PostgreSQL, running, with an empty cluster in UTF-8: 15 on Debian 12, 17 on
    Debian 13.
    """
    _install(server, "postgresql")
    encoding = server.sql("SHOW server_encoding")
    assert encoding == "UTF8", encoding


def _tools(server: Server) -> None:
    """The packages that setup.yml installs, for tests of what comes after that."""
    _install(server, *_PACKAGES)


def _ready(server: Server) -> None:
    """And the program's libraries, as an earlier version of the program left them."""
    folder = "/opt/postgres-backup"
    server.write(f"{folder}/requirements.txt", _LIBRARIES.read_text())
    server.inside("python3", "-m", "venv", f"{folder}/venv")
    pip = [f"{folder}/venv/bin/python", "-m", "pip", "install", "--quiet"]
    server.inside(*pip, "--requirement", f"{folder}/requirements.txt", timeout=_PATIENCE)


def _docker(server: Server) -> None:
    """Docker with compose v2.

    Debian 12 has no compose v2 of its own: that one package comes from Debian 13.
    """
    if server.suite == "bookworm":
        mirrors = server.inside(
            "grep",
            "-rhoE",
            "https?://[^ ]+",
            "/etc/apt/sources.list",
            "/etc/apt/sources.list.d",
            check=False,
        ).stdout.split()
        mirror = next(
            address for address in mirrors if "security" not in address
        )  # the one that the server itself was made from
        source = f"Types: deb\nURIs: {mirror}\nSuites: trixie\nComponents: main\n"
        source += "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        server.write("/etc/apt/sources.list.d/trixie.sources", source)
        pin = "Package: *\nPin: release n=trixie\nPin-Priority: -1\n\n"
        pin += "Package: docker-compose\nPin: release n=trixie\nPin-Priority: 500\n"
        server.write("/etc/apt/preferences.d/docker-compose", pin)
        _install(server, "docker.io", "docker-compose", "iptables")
    else:
        _install(server, "docker.io", "docker-cli", "docker-compose", "iptables")
    server.inside("docker", "compose", "version")


def _app(server: Server) -> None:
    """The images of the application in ``app/``, built from Debian's packages: the world's
    registries cannot be reached from here.
    """
    _install(server, "mmdebstrap")
    make_base = (
        f"mmdebstrap --quiet --variant=minbase trixie - | docker import - {REGISTRY}/debian:trixie"
    )
    server.inside("bash", "-ec", f"set -o pipefail; TMPDIR=/var/tmp {make_base}", timeout=_PATIENCE)
    server.put(APP, "/root/app")
    for name, image in IMAGES.items():
        build = [
            "docker",
            "build",
            "--quiet",
            "--network=host",
            "--build-arg",
            f"REGISTRY={REGISTRY}",
            "--tag",
            image,
            f"/root/app/{name}",
        ]
        server.inside("env", "DOCKER_BUILDKIT=0", *build, timeout=_PATIENCE)
    server.inside("rm", "-r", "/root/app")


def _registry(server: Server) -> None:
    """A registry on port 5000 with those images, for servers on which nothing is installed yet."""
    _install(server, "docker-registry")
    server.write(
        "/etc/docker/registry/config.yml",
        "version: 0.1\nstorage:\n  filesystem: {rootdirectory: /var/lib/docker-registry}\n"
        "http: {addr: ':5000'}\n",
    )
    server.inside("systemctl", "restart", "docker-registry")
    for image in IMAGES.values():
        local = image.replace(
            REGISTRY, "localhost:5000"
        )  # Docker speaks plain HTTP with this machine only
        server.inside("docker", "tag", image, local)
        server.inside("docker", "push", "--quiet", local, timeout=_PATIENCE)
    server.inside("docker", "system", "prune", "--all", "--force", timeout=_PATIENCE)
    server.inside("systemctl", "disable", "docker.service", "docker.socket", "containerd.service")


@dataclasses.dataclass(frozen=True)
class Layer:
    """What is added to which other layer, whether it takes Docker's rights, and what it is made of
    beside its recipe: files, and anything ``more``.
    """

    provision: Callable[[Server], None]
    base: str = "bare"
    docker: bool = False
    files: Path | None = None
    more: str = ""

    @property
    def made_of(self) -> str:
        here = [self.files, *self.files.rglob("*")] if self.files else []
        files = sorted(path for path in here if path.is_file() and path.suffix != ".pyc")
        texts = "".join(path.read_text() for path in files)
        return inspect.getsource(self.provision) + texts + self.more


LAYERS = {
    "postgres": Layer(_postgres),
    "tools": Layer(_tools, "postgres", more=repr(_PACKAGES)),
    "ready": Layer(_ready, "tools", files=_LIBRARIES),
    "docker": Layer(_docker, docker=True),
    "app": Layer(_app, "docker", docker=True, files=APP),
    "registry": Layer(_registry, "app", docker=True),
}
NAMES = ["bare", *LAYERS]
#: suite and layer of the tests' servers, the first that is needed first
TESTED = (
    ("trixie", "app"),
    ("bookworm", "postgres"),
    ("trixie", "ready"),
    ("trixie", "registry"),
    ("bookworm", "docker"),
)


def needs_docker(name: str) -> bool:
    """Whether a server with this layer needs Docker's rights."""
    return name in LAYERS and LAYERS[name].docker


def image(lab: Lab, suite: str, name: str) -> Path:
    """The image of a suite with one of :data:`NAMES`; made where there is none yet, which takes a
    minute.
    """
    if name == "bare":
        return golden.bare(lab, suite)
    layer = LAYERS[name]
    return golden.layer(
        lab,
        suite,
        name,
        image(lab, suite, layer.base),
        layer.docker,
        layer.provision,
        layer.made_of,
    )


def make_all(lab: Lab) -> None:
    """Make those images of :data:`TESTED` that are not there, in a lab that nobody else uses."""
    if not lab.claim():
        raise LabError(f"Somebody makes images in the lab {lab.bridge} already")
    lab.stop()  # what one that was killed left
    lab.start()
    try:
        for suite, name in TESTED:
            image(lab, suite, name)
    finally:
        lab.stop()
        lab.release()


def use_registry(server: Server, registry: Server) -> None:
    """Let Docker, once it is installed, pull from the lab's registry, as a company's administrator
    would prepare it.
    """
    host = REGISTRY.partition(":")[0]
    server.inside("sh", "-c", f"echo {registry.address} {host} >> /etc/hosts")
    server.write("/etc/docker/daemon.json", f'{{"insecure-registries": ["{REGISTRY}"]}}\n')
