"""PostgreSQL in a container, whose image and config are its owner's: the engine is called in there,
beside the PostgreSQL that calls it too, and the disk is looked at from there.

Whoever may ask Docker does it. A call that is broken off goes on in there to its own end.
"""

from __future__ import annotations

import os
import re
import subprocess

from ..errors import PostgresBackupError
from ..settings import Settings
from ..text import printable
from . import places

#: of the image, whom the data belong to
USER = "postgres"
#: what the engine is called in there
PROGRAM = "pgbackrest"
#: what it takes to begin, and whoever looks for a mistake
PAGE = "docs/pitr.md, PostgreSQL in Docker"
#: as roles/pitr/files/docker has it
PUSH = f"{PROGRAM} --stanza={places.STANZA} archive-push %p"
#: seconds
_PATIENCE = 60
#: letters of what a program says that a message quotes
_QUOTED = 300


def command(settings: Settings, *argv: str) -> list[str]:
    """A command as PostgreSQL's user runs it in there; it holds no secret."""
    return ["docker", "exec", "-u", USER, "--", settings.db_container, *argv]


def environment() -> dict[str, str]:
    """Of the call of Docker, which is where the one who calls has it; nothing of it goes inside."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def is_push(archive_command: str) -> bool:
    """Whether it hands on to the engine, and that to where our calls in there look: by its own
    config, and the name of the cluster that we call it by.
    """
    first, *words = re.sub(r"""["']""", "", archive_command).split() or [""]
    options = {word for word in words[:-2] if not word.startswith("--log-level-")}
    push = os.path.basename(first) == PROGRAM and words[-2:] == ["archive-push", "%p"]
    return push and options == {f"--stanza={places.STANZA}"}


def free_bytes(settings: Settings, directory: str) -> int:
    """Of the disk that a folder in there lies on.

    :raises PostgresBackupError: nobody says.
    """
    failing = f"Failed to see how much is free in the container {settings.db_container}: "
    lines = printed(settings, failing, "df", "-Pk", "--", directory).splitlines()
    fields = (lines or [""])[-1].split()
    if len(fields) < 4 or not fields[3].isdigit():
        raise PostgresBackupError(
            f"Failed to see how much is free in the container {settings.db_container}: df says no "
            "number",
            f"Try it: docker exec {settings.db_container} df -Pk {directory}",
        )
    return int(fields[3]) * 1024


def printed(settings: Settings, failing: str, *argv: str) -> str:
    """What a command in there prints that only looks.

    :param failing: how the sentence begins that says why it does not.
    :raises PostgresBackupError: it does not.
    """
    hint = f"Try it: docker exec -u {USER} {settings.db_container} {' '.join(argv)}"
    try:
        done = subprocess.run(
            command(settings, *argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostgresBackupError(failing + str(error), hint) from None
    if done.returncode:
        raise PostgresBackupError(failing + said(done.stderr, done.returncode), hint)
    return done.stdout


def said(text: str, status: int) -> str:
    """Why a call failed, of what Docker or a program has printed, in one line."""
    return printable(" ".join(text.split()))[:_QUOTED] or f"exit status {status}"
