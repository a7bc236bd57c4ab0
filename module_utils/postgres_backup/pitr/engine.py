"""pgBackRest as we call it: with our config and nothing of the environment, its exit status looked
at, and what it says put into a sentence. In a container with the config that is there.

It runs as the user of PostgreSQL: as root and as others it refuses. Its exit statuses are those of
its ``src/build/error/error.yaml``; which stand for what was tried with 2.45 and 2.55.1.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Sequence

from ..errors import DatabaseError, PostgresBackupError, StoreError, UsageError
from ..settings import Settings
from ..text import printable
from . import boxed, places

#: where Debian and the PostgreSQL project's packages put it
PROGRAM = "/usr/bin/pgbackrest"
#: the oldest that has all that is used: ``repo-bundle``, ``repo-storage-*``, retention by time
OLDEST = (2, 45)
#: blocks of a file that did not change are not stored again; before it was "beta" and refused
BLOCKS = (2, 52, 1)
#: before it a store is found by its name alone, never by its address
BY_ADDRESS = (2, 46)
#: seconds; a call that only asks
_PATIENCE = 300
#: whoever asks need not wait for minutes until a store that is away is given up
SOON = "--io-timeout=30"
#: letters of what it says that a message quotes
_QUOTED = 300

_KEY = "Check backup_s3_access_key, backup_s3_secret_key and backup_s3_bucket; then setup.yml"
_AWAY = "Check backup_s3_endpoint_url, and that this server reaches it; then type the same again"
_CA = "Name the file of the store's authorities: backup_s3_ca_bundle; then setup.yml"
_STUCK = "PostgreSQL's log says why (ls /var/log/postgresql), and so does /var/log/pgbackrest"
_BUSY = 50
#: exit status -> what kind of error it is, and what to do
_MEANS: dict[int, tuple[type[PostgresBackupError], str]] = {
    28: (UsageError, "Another cluster was archived there: give this one its own backup_s3_prefix"),
    39: (StoreError, _KEY),
    42: (StoreError, _KEY),
    49: (StoreError, _AWAY),
    95: (StoreError, _CA),
    101: (StoreError, _AWAY),
    103: (StoreError, _AWAY),
    _BUSY: (
        PostgresBackupError,
        "Another backup of it is under way: wait for its end, then type the same again",
    ),
    56: (DatabaseError, "Is PostgreSQL running? pg_lsclusters"),
    82: (DatabaseError, _STUCK),
}
_OTHERWISE = "Its own log has more: ls /var/log/pgbackrest; then type the same again"


@dataclasses.dataclass(frozen=True)
class Done:
    """How a call ended."""

    status: int
    out: str
    said: str


def version(settings: Settings) -> tuple[int, ...]:
    """Of the installed one, such as ``(2, 55, 1)``.

    :raises UsageError: none is installed, or one that is too old.
    """
    boxed_in = settings.db_container
    try:
        said = subprocess.run(
            [*(boxed.command(settings, boxed.PROGRAM) if boxed_in else [PROGRAM]), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env=boxed.environment() if boxed_in else environment(),
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if not found and boxed_in:
        raise UsageError(
            f"The container {boxed_in} has no pgBackRest that answers",
            f"It takes an image with it: {boxed.PAGE}",
        )
    if not found:
        raise UsageError(
            f"Failed to find the engine of point-in-time recovery: {PROGRAM} does not answer",
            "Run `ansible-playbook setup.yml`, which installs it",
        )
    numbers = tuple(int(number) for number in found.groups() if number)
    if numbers < OLDEST:
        raise UsageError(
            f"The installed pgBackRest {found[0]} is too old for what is used of it",
            f"It takes 2.45 or newer, in the image: {boxed.PAGE}"
            if boxed_in
            else "It takes 2.45 or newer, as Debian 12 has it: apt-get install pgbackrest",
        )
    return numbers


def call(
    settings: Settings,
    failing: str,
    command: str,
    *options: str,
    config: str = "",
    patience: int | None = _PATIENCE,
    of: str = "",
) -> Done:
    """One call that went well.

    :param failing: how the sentence begins that says why: ``Failed to prepare the archive: ``.
    :param command: and ``options``, as it knows them; no secret is among them.
    :param config: another config than the usual one.
    :param patience: see :func:`attempt`; ``of`` too.
    :raises PostgresBackupError: it failed, in the class of the cause.
    """
    done = attempt(settings, command, *options, config=config, patience=patience, of=of)
    if done.status == 0:
        return done
    kind, hint = _MEANS.get(done.status, (PostgresBackupError, _OTHERWISE))
    if settings.db_container and done.status != _BUSY:
        hint = (
            f"Look at the pgbackrest.conf of the container ({boxed.PAGE}), and at docker logs "
            f"{settings.db_container}; then type the same again"
        )
    raise kind(failing + done.said, hint)


def attempt(
    settings: Settings,
    command: str,
    *options: str,
    config: str = "",
    patience: int | None = _PATIENCE,
    of: str = "",
) -> Done:
    """One call, however it ends; a process that is stopped by us is ended and waited for.

    :param patience: seconds; None: as long as it takes.
    :param of: what the command is about; empty: nothing but the cluster.
    :raises PostgresBackupError: it did not begin, or not end in time.
    """
    argv = [
        *(
            boxed.command(settings, boxed.PROGRAM)
            if settings.db_container
            else [PROGRAM, f"--config={config or places.CONFIG}"]
        ),
        f"--stanza={places.STANZA}",
        *options,
        command,
        *filter(None, [of]),
    ]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience,
            check=False,
            env=boxed.environment() if settings.db_container else environment(),
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        cause = "it does not end" if isinstance(error, subprocess.TimeoutExpired) else error
        raise PostgresBackupError(f"Failed to run {PROGRAM} {command}: {cause}", _AWAY) from None
    out, wrong = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return Done(done.returncode, out, settings.hide(said(f"{wrong}\n{out}", done.returncode)))


def environment() -> dict[str, str]:
    """A run from cron and one by hand see the same, whatever somebody's shell has."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def said(text: str, status: int) -> str:
    """The first error in one line, without the time and process before it, and without its hint,
    which may be to write into what is alive.
    """
    if status == 0:
        return ""
    lines = text.splitlines()
    first = next((n for n, line in enumerate(lines) if "ERROR:" in line), None)
    if first is None:  # as where Docker does not come so far
        return boxed.said(text, status)
    told = [re.sub(r".*?ERROR: +\[\d+\]: *", "", lines[first])]
    for line in lines[first + 1 :]:  # what belongs to it stands further in
        if not line.startswith("  ") or line.strip().startswith("HINT"):
            break
        told.append(line.strip())
    return printable(" ".join(" ".join(told).split()))[:_QUOTED]


def option(name: str, value: Sequence[str] | str | int) -> str:
    """``--name=value``."""
    return f"--{name}={value}"
