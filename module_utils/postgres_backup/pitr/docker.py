"""Docker, as its own command line asks it: calls of it, and what it tells of the live container."""

from __future__ import annotations

import subprocess
from typing import Annotated, TypedDict

from ..errors import PostgresBackupError
from ..settings import Settings
from ..shapes.kinds import Text
from ..shapes.reader import Unfit, fitted, load
from . import boxed, engine

#: seconds for a call
PATIENCE = 120
#: nothing else is asked for: a container's environment holds passwords
_WANTED = (
    '{"image": {{json .Image}}, "mounts": {{json .Mounts}}, '
    '"hosts": {{json .HostConfig.ExtraHosts}}, "command": {{json .Config.Cmd}}, '
    '"removed": {{json .HostConfig.AutoRemove}}, "networks": '
    '"{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"}'
)


class _Named(TypedDict, total=False):
    Name: str


class Mount(_Named):
    """As Docker tells of it; a volume has a ``Name``."""

    Type: str
    Source: str
    Destination: Annotated[str, Text(4096, r"/.*")]


class Live(TypedDict):
    """The container as Docker tells of it; ``networks`` with a blank behind each; ``removed``: by
    Docker, when it stops.
    """

    image: Annotated[str, Text(200, r"[a-z0-9]+:[0-9a-f]+")]
    mounts: list[Mount]
    hosts: list[str] | None
    command: list[str] | None
    removed: bool
    networks: str


def ask(settings: Settings) -> Live:
    """The live container.

    :raises PostgresBackupError: Docker does not say.
    """
    failing = f"Failed to ask Docker for the container {settings.db_container}: "
    words = ("container", "inspect", "--format", _WANTED, "--", settings.db_container)
    try:
        return fitted(load(do(failing, *words).encode()), Live)
    except Unfit as error:
        raise PostgresBackupError(f"{failing}{error}", f"Recover by hand: {boxed.PAGE}") from None


def data_place(mounts: list[Mount], directory: str) -> str:
    """Where a volume of the data belongs: where the live one's lies, at or above the data."""
    places_above = (one["Destination"].rstrip("/") for one in mounts)
    above = [place for place in places_above if f"{directory}/".startswith(f"{place}/")]
    return max(above, key=len, default=directory)


def do(failing: str, *words: str, patience: int | None = PATIENCE) -> str:
    """What Docker prints.

    :param failing: how the sentence begins that says why it does not do it.
    :param patience: seconds; None: as long as it takes.
    :raises PostgresBackupError: it does not do it.
    """
    done = called(["docker", *words], patience)
    if done.returncode:
        raise PostgresBackupError(
            failing + engine.said(done.stderr + done.stdout, done.returncode),
            f"What the container says of itself may tell more (docker logs); {boxed.PAGE}",
        )
    return done.stdout


def called(
    words: list[str], patience: int | None, both: bool = False
) -> subprocess.CompletedProcess[str]:
    """However it ends.

    :param both: what it says of errors is in what it prints.
    :raises PostgresBackupError: it did not begin, or not end in time.
    """
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=patience,
            check=False,
            env=boxed.environment(),
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostgresBackupError(
            f"Failed to run docker {words[1]}: {error}", "Is Docker running? Its word: docker ps"
        ) from None
