"""Where PostgreSQL in a container answers: Docker is asked, so that no port need be published.

Programs are run inside, where the server is beside them; our own connections go to the address that
the container has in its network. It may be another one each time the container starts.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping

from ..errors import DatabaseError
from ..settings import LOCAL_HOSTS, Settings

#: of the image, whatever it is published as
PORT = 5432
#: nothing else is asked for: a container's environment holds passwords
_WANTED = (
    '{"running": {{json .State.Running}}, "ports": {{json .NetworkSettings.Ports}}, '
    '"networks": {{json .NetworkSettings.Networks}}}'
)


def address(settings: Settings) -> tuple[str, int]:
    """The address and port to connect to; an empty address: as the settings say.

    They are followed where they name another host, and where the container publishes their port or
    has no network of its own.

    :raises DatabaseError: Docker does not answer, or the container does not run.
    """
    if not settings.db_container or settings.db_host not in LOCAL_HOSTS:
        return "", settings.db_port
    return chosen(_ask(settings.db_container), settings)


def chosen(told: Mapping[str, object], settings: Settings) -> tuple[str, int]:
    """The same from what Docker tells.

    :raises DatabaseError: the container does not run.
    """
    name = settings.db_container
    if told.get("running") is not True:
        raise DatabaseError(
            f"Failed to reach PostgreSQL in the container {name}: it does not run",
            f"Start it: docker start {name}",
        )
    if str(settings.db_port) in _published(told.get("ports")):
        return "", settings.db_port
    for network in _objects(told.get("networks")):
        for kind in ("IPAddress", "GlobalIPv6Address"):
            found = network.get(kind)
            if found and isinstance(found, str):
                return found, PORT
    return "", settings.db_port


def _published(ports: object) -> set[str]:
    """The ports of this machine that lead to PostgreSQL's."""
    places = ports.get(f"{PORT}/tcp") if isinstance(ports, dict) else None
    return {str(place.get("HostPort")) for place in _objects(places)}


def _objects(told: object) -> list[dict[str, object]]:
    values = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return [value for value in values if isinstance(value, dict)]


def _ask(name: str) -> dict[str, object]:
    argv = ["docker", "container", "inspect", "--format", _WANTED, "--", name]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unanswered(name, str(error)) from None
    if done.returncode:
        raise _unanswered(name, " ".join(done.stderr.split()))
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise _unanswered(name, "its answer is none")
    return told


def _unanswered(name: str, why: str) -> DatabaseError:
    hint = "Is Docker running? Its word: docker ps"
    if "no such container" in why.lower():
        hint = "docker ps shows the names: set backup_db_container"
    elif "permission denied" in why:
        hint = "Run it as the user postgres-backup, who is in the group docker, or as root"
    return DatabaseError(
        f"Failed to reach PostgreSQL in the container {name}: Docker does not say where it is: "
        f"{why}",
        hint,
    )
