"""What of an application may be stopped around a restore: of a docker compose project all services
but those that hold the database, whatever they are called. Docker is asked.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

from ..errors import UsageError
from ..settings import LOCAL_HOSTS
from .container import PORT

_SERVICE, _PROJECT = "com.docker.compose.service", "com.docker.compose.project"
#: nothing else is asked for: a container's environment holds passwords
_WANTED = (
    '{"id": {{json .Id}}, "name": {{json .Name}}, "running": {{json .State.Running}}, '
    f'"service": {{{{json (index .Config.Labels "{_SERVICE}")}}}}, '
    '"ports": {{json .NetworkSettings.Ports}}, "networks": {{json .NetworkSettings.Networks}}, '
    '"exposed": {{json .Config.ExposedPorts}}, "mounts": {{json .Mounts}}, '
    f'"files": {{{{json (index .Config.Labels "{_PROJECT}.config_files")}}}}, '
    f'"env_files": {{{{json (index .Config.Labels "{_PROJECT}.environment_file")}}}}}}'
)


class Place(NamedTuple):
    """Where the database answers, as the settings say.

    :param host: a name, an address, or the folder of a socket.
    :param container: its container, by name; may be empty.
    :param service: its compose service, as the user calls it; may be empty, or wrong.
    """

    host: str
    port: int
    container: str = ""
    service: str = ""


class Services(TypedDict):
    """The services of an application."""

    changed: bool
    #: what is stopped and started again: those that run, or all where none does (an earlier restore
    #: was cut off before it started them)
    services: list[str]
    #: what holds the database, and is never stopped
    database_services: list[str]


NONE: Services = {"changed": False, "services": [], "database_services": []}


def containers(directory: str) -> list[dict[str, object]]:
    """Ask Docker for the containers of the project in that directory; nothing is touched.

    :raises UsageError: there is no such project, or Docker does not answer.
    """
    ids = docker(directory, "compose", "ps", "--all", "--quiet").split()
    told = docker(directory, "container", "inspect", "--format", _WANTED, *ids) if ids else ""
    return [an_object(json.loads(line)) for line in told.splitlines()]


def find(there: Sequence[Mapping[str, object]], place: Place) -> Services:
    """Which services these :func:`containers` belong to, and which of them hold the database."""
    return choose(there, place, _addresses(place.host))


def see_commands(directory: str, commands: Sequence[str]) -> None:
    """Be sure that the directory is there, and the programs of these commands.

    :raises UsageError: it is not so.
    """
    if directory and not os.path.isdir(directory):
        raise UsageError(
            f"There is no directory {directory} (backup_app_dir)",
            "Set backup_app_dir to the application's, or leave it empty",
        )
    for command in commands:
        try:
            program = shlex.split(command)[0]
        except (ValueError, IndexError):
            program = command
        path = os.path.join(directory or "/", program) if "/" in program else program
        if not shutil.which(path):
            raise UsageError(
                f"There is no program {program}, by which a restore is to stop or start the "
                f"application ({command})",
                "Correct backup_app_stop and backup_app_start",
            )


def health(url: str) -> str:
    """Why a restore would wait for the application in vain; empty where it is healthy."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            why = "" if answer.status == 200 else f"it answers {answer.status}"
    except urllib.error.HTTPError as error:
        with error:
            why = f"it answers {error.code}"
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", "") or error)
    return why and (
        f"WARNING: {url} (backup_app_health_url) does not say that the application is healthy: "
        f"{why}. A restore waits until it does"
    )


def see_container(name: str) -> None:
    """Be sure that there is such a container, and that it runs.

    :raises UsageError: it is not so.
    """
    running = docker("/", "container", "inspect", "--format", "{{.State.Running}}", "--", name)
    if running.strip() != "true":
        raise UsageError(
            f"The container {name} (backup_db_container) does not run",
            f"Start it: docker start {name}",
        )


def choose(
    containers: Sequence[Mapping[str, object]], place: Place, addresses: Sequence[str]
) -> Services:
    """The same from what Docker tells. Pure.

    :param addresses: of ``place.host``.
    """
    everything: dict[str, bool] = {}
    holding: set[str] = set()
    for one in containers:
        service = str(one.get("service") or "")
        if not service:
            continue
        everything[service] = everything.get(service, False) or one.get("running") is True
        if service == place.service or _holds(one, place, addresses):
            holding.add(service)
    others = [service for service in everything if service not in holding]
    running = [service for service in others if everything[service]]
    return {
        "changed": False,
        "services": sorted(running or others),
        "database_services": sorted(holding),
    }


def lines(found: Services, directory: str) -> list[str]:
    """:func:`find` for a person."""
    stops = ", ".join(found["services"]) or "none"
    keeps = ", ".join(found["database_services"])
    return [
        f"A restore stops and starts these services of {directory}: {stops}"
        + (f"; never {keeps}, which holds the database" if keeps else "")
    ]


def _holds(one: Mapping[str, object], place: Place, addresses: Sequence[str]) -> bool:
    """Whether the database answers in this container, or it is a PostgreSQL, or a pooler before
    one: an application listens nowhere near that port.
    """
    name, container = str(one.get("name")).removeprefix("/"), place.container
    if container and (name == container or str(one.get("id")).startswith(container)):
        return True
    if f"{PORT}/tcp" in an_object(one.get("exposed")):
        return True
    local = place.host in LOCAL_HOSTS or any(_is_own(address) for address in addresses)
    for places in an_object(one.get("ports")).values():
        for published in places if isinstance(places, list) else ():
            if local and str(an_object(published).get("HostPort")) == str(place.port):
                return True
    for network in an_object(one.get("networks")).values():
        told = an_object(network)
        if {told.get("IPAddress"), told.get("GlobalIPv6Address")} & {*addresses}:
            return True
    if place.host.startswith("/"):
        mounts = one.get("mounts")
        sources = [
            str(an_object(m).get("Source")) for m in (mounts if isinstance(mounts, list) else ())
        ]
        folder = os.path.realpath(place.host)
        return any(f"{folder}/".startswith(f"{os.path.realpath(source)}/") for source in sources)
    return False


def _is_own(address: str) -> bool:
    """Whether an address is one of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _addresses(host: str) -> list[str]:
    if host.startswith("/"):
        return []
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None)})
    except OSError:  # who connects there says so
        return []


def an_object(told: object) -> dict[str, object]:
    """What Docker tells as one; an empty one where it is something else."""
    return told if isinstance(told, dict) else {}


def docker(directory: str, *words: str) -> str:
    """What Docker answers, asked in that directory.

    :raises UsageError: it does not, or refuses.
    """
    argv = ["docker", *words]
    what = f"Failed to ask Docker ({' '.join(words[:2])}, in {directory})"
    try:
        done = subprocess.run(
            argv, cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{what}: {error}", "Is Docker installed, and running?") from None
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
        raise UsageError(f"{what}: {why}", _advice(why))
    return done.stdout


def _advice(why: str) -> str:
    if "no such container" in why.lower():
        return "docker ps shows the names: set backup_db_container"
    if "no configuration file" in why:
        return "Set backup_app_dir to the directory with the application's compose.yml"
    return "Is Docker running? Its word: docker ps"
