"""The recovered cluster of a PostgreSQL in a container: of the same image, in a volume of its own,
beside the live one.

It has the live one's network, from which its log comes, and listens to nobody there. Its sockets
lie in a folder of the state that only we can enter, so there everybody is trusted. The config of
the engine, and whatever else is mounted into the live one, is mounted into it to be read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping

from ..catalog import recovered
from ..errors import PostgresBackupError, UsageError
from ..machine.files import replace_file
from ..machine.patience import OFTEN, wait_until
from ..postgresql import container
from ..settings import Settings
from . import boxed, docker, places
from .docker import Live

#: what tells ours from all others: its value is the volume's name
_LABEL = "postgres-backup.recovered"
#: where its sockets and our file of who may come in lie, in there
_INSIDE = "/run/postgres-backup"
_HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
#: seconds in which one that has ended is gone
_GOING = 10
#: lines of the end of its log that are read
_LOG_LINES = "20000"


def sockets(settings: Settings) -> str:
    """The folder of its sockets, within one that only we can enter."""
    return os.path.join(settings.state_dir, "recovered-sockets", "in")


def free_bytes() -> int:
    """Where Docker makes a volume.

    :raises PostgresBackupError: Docker does not say where that is.
    """
    failing = "Failed to see how much is free for Docker's volumes: "
    root = docker.do(failing, "info", "--format", "{{.DockerRootDir}}").strip()
    try:
        disk = os.statvfs(root)
    except OSError as error:
        raise PostgresBackupError(
            f"{failing}{root}: {error.strerror}", f"Recover by hand: {boxed.PAGE}"
        ) from None
    return disk.f_bavail * disk.f_frsize


def unpack(settings: Settings, volume: str, directory: str, options: list[str]) -> None:
    """Make the volume, and lay the backup into it.

    :param directory: of the data, in the live container as in this one.
    :param options: of the engine's ``restore``: which backup, and what to go on to.
    :raises PostgresBackupError: the backup cannot be had; the volume may be half full.
    """
    live = docker.ask(settings)
    failing = "Failed to unpack the cluster: "
    common = _options(live, volume, directory)
    docker.do(failing, "volume", "create", "--label", f"{_LABEL}={volume}", volume)
    image = live["image"]
    words = ["-d", "-o", boxed.USER, "-g", boxed.USER, "-m", "0700", directory]
    docker.do(failing, "run", "--rm", "-u", "0", "--entrypoint", "install", *common, image, *words)
    docker.do(
        failing,
        *("run", "--rm", "-u", boxed.USER, "--entrypoint", boxed.PROGRAM),
        *common,
        image,
        f"--stanza={places.STANZA}",
        f"--pg1-path={directory}",
        *options,
        "restore",
        patience=None,
    )


def control_data(settings: Settings, volume: str, directory: str) -> str:
    """What PostgreSQL's own program tells of the unpacked cluster, which does not run.

    :raises PostgresBackupError: it tells nothing.
    """
    live = docker.ask(settings)
    return docker.do(
        "Failed to look at the unpacked cluster: ",
        *("run", "--rm", "-u", boxed.USER, "--entrypoint", "pg_controldata"),
        *_options(live, volume, directory),
        live["image"],
        *("-D", directory),
    )


def start(
    settings: Settings, volume: str, directory: str, config_file: str, quiet: Mapping[str, str]
) -> None:
    """Begin its recovery, or start it once more; it goes on by itself.

    :param quiet: PostgreSQL's settings for it.
    :raises PostgresBackupError: it does not even begin.
    """
    failing = "Failed to start the recovered cluster: "
    _end(volume)
    folder = sockets(settings)
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    os.makedirs(folder, exist_ok=True)
    # by whoever PostgreSQL is in there; who could come so far here is kept out one folder above
    os.chmod(folder, 0o777)
    replace_file(os.path.join(folder, "hba.conf"), _HBA.encode(), 0o644)
    live = docker.ask(settings)
    values = {
        **quiet,
        "config_file": config_file,
        "hba_file": f"{_INSIDE}/hba.conf",
        "unix_socket_directories": _INSIDE,
        "listen_addresses": "127.0.0.1",
        "port": str(container.PORT),
        "cluster_name": "recovered",
    }
    docker.do(
        failing,
        # at which it ends in good order, whatever the image says
        *("run", "--detach", "--init", "--log-driver", "json-file", "--stop-signal", "SIGINT"),
        *("--name", recovered.container(settings), "-u", boxed.USER, "--entrypoint", "postgres"),
        *("--mount", f"type=bind,source={folder},target={_INSIDE}"),
        *_options(live, volume, directory),
        live["image"],
        # as libraries that the log is in need of; what stands behind them counts
        *_options_of(live["command"] or []),
        *("-D", directory),
        *(word for name, value in values.items() for word in ("-c", f"{name}={value}")),
    )


def is_running(volume: str) -> bool:
    """Whether its server is there, ready or not."""
    return bool(_containers(volume, "--filter", "status=running"))


def log(settings: Settings) -> str:
    """The end of what it tells; empty where there is none."""
    words = ["docker", "logs", "--tail", _LOG_LINES, "--", recovered.container(settings)]
    done = docker.called(words, docker.PATIENCE, both=True)
    return done.stdout if done.returncode == 0 else ""


def left_over(settings: Settings) -> list[str]:
    """Volumes and containers of recovered clusters that there are, by the volume's name."""
    failing = "Failed to ask for recovered clusters: "
    form = f'{{{{.Label "{_LABEL}"}}}}'
    words = ("--filter", f"label={_LABEL}", "--format", form)
    told = docker.do(failing, "ps", "--all", *words) + docker.do(failing, "volume", "ls", *words)
    return sorted({one for one in told.split() if is_ours(settings, one)})


def is_ours(settings: Settings, volume: str) -> bool:
    """Whether one of that name can be of a recovered cluster of this container."""
    return volume.startswith(f"{settings.db_container}_recovered_")


def stop(volume: str) -> None:
    """End it in good order, and only then take the container away; its volume stays.

    :raises PostgresBackupError: it did not end in good order.
    """
    failing = "Failed to stop the recovered cluster: "
    for one in _containers(volume):
        docker.do(failing, "stop", "-t", str(docker.PATIENCE // 2), one)
        ended = docker.do(failing, "container", "inspect", "--format", "{{.State.ExitCode}}", one)
        if ended.strip() != "0":
            raise PostgresBackupError(
                f"Failed to stop the recovered cluster: it ended with {ended.strip()}",
                f"Its log says why: docker logs {one}",
            )
    _end(volume)


def remove(settings: Settings, volume: str) -> None:
    """End it and take its volume away.

    :raises PostgresBackupError: something of it stays.
    """
    failing = f"Failed to remove {volume}: "
    _end(volume)
    words = ("volume", "ls", "--quiet", "--filter", f"label={_LABEL}={volume}")
    for one in docker.do(failing, *words).split():
        docker.do(failing, "volume", "rm", one)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(os.path.dirname(sockets(settings)))


def _end(volume: str) -> None:
    failed: PostgresBackupError | None = None
    for one in _containers(volume):
        try:
            docker.do("Failed to end the recovered cluster: ", "rm", "--force", "--volumes", one)
        except PostgresBackupError as error:
            failed = error
    # one that has ended just then is being removed by itself, and that is refused a second time
    if failed and not wait_until(lambda: not _containers(volume), _GOING, OFTEN):
        raise failed


def _containers(volume: str, *filters: str) -> list[str]:
    words = ("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={volume}", *filters)
    return docker.do("Failed to ask for the recovered cluster: ", *words).split()


def _options_of(command: list[str]) -> list[str]:
    """What PostgreSQL is given, whose name an image's own start lets be left out; none where it is
    begun by something else.
    """
    first = command[0] if command else ""
    return command if first.startswith("-") else command[1:] if first == "postgres" else []


def _options(live: Live, volume: str, directory: str) -> list[str]:
    """What all its containers have."""
    networks = [name for name in live["networks"].split() if name not in ("host", "none")]
    words = ["--label", f"{_LABEL}={volume}", "--network", (networks or ["bridge"])[0]]
    for host in live["hosts"] or []:
        words += ["--add-host", host]
    data = docker.data_place(live["mounts"], directory)
    words += ["--mount", f"type=volume,source={volume},target={data}"]
    for mount in live["mounts"]:
        place = mount["Destination"]
        source = mount.get("Name") if mount["Type"] == "volume" else mount["Source"]
        # what lies within the data is the live one's
        if mount["Type"] in ("volume", "bind") and not f"{place}/".startswith(f"{data}/"):
            if re.search(r'[",\n]', f"{source}{place}"):
                raise UsageError(
                    f"Failed to mount {source!r} into the recovered cluster: a path with a comma "
                    "or a quote cannot be handed to Docker",
                    f"Recover by hand: {boxed.PAGE}",
                )
            words += ["--mount", f"type={mount['Type']},source={source},target={place},readonly"]
    return words
