"""A second cluster on this machine, made of the archive: beside the live one, with nothing of what
would act on others, and with a door for PostgreSQL's own user alone. Where the live one runs in a
container, it does too: :mod:`.side_container`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from typing import Annotated, TypedDict

from ..errors import PostgresBackupError, UsageError
from ..machine import state
from ..machine.files import read_bounded, replace_file
from ..machine.patience import OFTEN, wait_until
from ..postgresql import container
from ..settings import Settings
from ..shapes.kinds import Moment, Text, Whole
from . import engine, places, side_container
from .cluster import Cluster
from .repository import Backup
from .target import Target

#: ports that are tried for it
_PORTS = range(5500, 5600)
#: what a path may have that PostgreSQL's own starter hands to a shell
_PLAIN = re.compile(r"/[A-Za-z0-9._/-]{1,500}")
#: seconds for a stop, and to see it begin
_PATIENCE = 120
#: seconds in which its server is there
_BEGIN = 30
#: bytes of the end of its log that are read
_LOG_BYTES = 1 << 20
#: files of ours in its folder
HBA, IDENT = "postgres-backup.hba.conf", "postgres-backup.ident.conf"
#: nothing of the live one's settings that would write, call or listen elsewhere goes on in it, and
#: it takes little memory from the live one
_QUIET = {
    "listen_addresses": "",
    "archive_mode": "off",
    "archive_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    "cron.launch_active_jobs": "off",
    "ssl": "off",
    "huge_pages": "off",
    "shared_buffers": "128MB",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # nobody asks it before it is there: as a standby it would want the memory of back then
    "hot_standby": "off",
    "recovery_min_apply_delay": "0",
}


class Side(TypedDict):
    """What is remembered of it, from before its folder is made.

    :ivar directory: its data; tablespaces lie beside, with ``_ts`` at the end. Of one in a
        container the volume of them.
    :ivar port: where it answers, over the socket alone.
    :ivar target: where it was recovered to, in words.
    """

    at: Annotated[str, Moment()]
    directory: Annotated[str, Text(600)]
    port: Annotated[int, Whole(1, 65535)]
    target: Annotated[str, Text(200)]
    ready: bool


#: the one that there is
SIDE = state.Kept("recovered.json", Side)


def log_file(settings: Settings) -> str:
    """Where it tells of itself."""
    return os.path.join(settings.state_dir, "recovered.log")


def program(cluster: Cluster, name: str) -> str:
    """One of PostgreSQL's, where Debian puts those of each major."""
    return f"/usr/lib/postgresql/{cluster.major}/bin/{name}"


def sockets(settings: Settings) -> str:
    """The folder of those of the recovered cluster."""
    return side_container.sockets(settings) if settings.db_container else settings.db_host


def free_port(settings: Settings) -> int:
    """One at which nobody answers.

    :raises UsageError: there is none.
    """
    if settings.db_container:  # in its own, nobody else is
        return container.PORT
    for port in _PORTS:
        if not os.path.lexists(os.path.join(settings.db_host, f".s.PGSQL.{port}")):
            return port
    raise UsageError(
        f"All ports from {_PORTS.start} to {_PORTS.stop - 1} are taken in {settings.db_host}",
        "Remove the clusters that nobody needs (pg_lsclusters), then type the same again",
    )


def require_plain(directory: str) -> None:
    """:raises UsageError: the path is none that can be handed on."""
    if not _PLAIN.fullmatch(directory):
        raise UsageError(
            f"Failed to recover beside {directory!r}: the path has letters that are none of a "
            "plain one",
            "Letters, digits, dots, hyphens and underscores: move the cluster, or recover by hand",
        )


@dataclasses.dataclass(frozen=True)
class Guest:
    """Who may come in beside PostgreSQL's own user.

    :param user: of the system, such as the backup user; empty: nobody.
    :param role: as whom.
    """

    user: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        if re.search(r"[^\w .@-]", self.user + self.role) or bool(self.user) != bool(self.role):
            raise UsageError(
                f"{self.user!r} cannot be let in as {self.role!r} for what its name has in it",
                "Recover without database=, and take what you need with pg_dump",
            )


def unpack(
    settings: Settings,
    cluster: Cluster,
    side: Side,
    target: Target,
    backup: Backup,
    timeline: int,
    guest: Guest,
) -> None:
    """Lay the backup into its new folder, with what PostgreSQL must know to go on from it.

    :param timeline: of the live cluster; 0: it is not known, and PostgreSQL takes the newest.
    :raises PostgresBackupError: the backup cannot be had; the folder may be half full.
    """
    if settings.db_container:
        words = _which(target, backup, timeline)
        side_container.unpack(settings, side["directory"], cluster.data_directory, words)
        return
    new = side["directory"]
    os.mkdir(new, 0o700)
    fetch = (
        f"{engine.PROGRAM} --config={places.CONFIG} --stanza={places.STANZA} --pg1-path={new} "
        f'--spool-path={new}_spool --lock-path={new}_spool/lock archive-get %f "%p"'
    )
    words = [
        engine.option("pg1-path", new),
        engine.option("tablespace-map-all", f"{new}_ts"),
        engine.option("recovery-option", f"restore_command={fetch}"),
        engine.option("lock-path", f"{new}_spool/lock"),
        *_which(target, backup, timeline),
    ]
    engine.call(settings, "Failed to unpack the cluster: ", "restore", *words, patience=None)
    user = f'recovered "{guest.user}" "{guest.role}"\n' if guest.user else ""
    _write(new, IDENT, user)


def _which(target: Target, backup: Backup, timeline: int) -> list[str]:
    """What to begin from, and where to go on to."""
    words = [engine.option("set", backup.label), engine.option("archive-mode", "off")]
    if target.kind == "latest":
        words.append("--type=default")
    else:
        words += [
            engine.option("type", target.kind),
            engine.option("target", target.value),
            # paused, it would hold the locks of what it stopped in
            engine.option("target-action", "promote"),
        ]
    if timeline:
        words.append(engine.option("target-timeline", timeline))
    return words


def start(settings: Settings, cluster: Cluster, side: Side) -> None:
    """Begin its recovery; it goes on by itself.

    :raises PostgresBackupError: it does not even begin.
    """
    new = side["directory"]
    if settings.db_container:
        place, config = cluster.data_directory, cluster.config_file
        side_container.start(settings, new, place, config, _QUIET)
        return
    log = log_file(settings)
    if os.path.lexists(log):
        os.unlink(log)
    _write(new, HBA, "local all postgres peer\nlocal all all peer map=recovered\n")
    if not os.path.exists(os.path.join(new, IDENT)):
        _write(new, IDENT, "")
    values = {
        **_QUIET,
        "config_file": cluster.config_file,
        "data_directory": new,
        "hba_file": os.path.join(new, HBA),
        "ident_file": os.path.join(new, IDENT),
        "external_pid_file": os.path.join(new, "postgres-backup.pid"),
        "port": str(side["port"]),
        "unix_socket_directories": settings.db_host,
        "cluster_name": "recovered",
    }
    options = " ".join(f"-c {name}={value}" for name, value in values.items())
    done = _control(cluster, "start", "-D", new, "-W", "-s", "-l", log, "-o", options)
    if done.returncode != 0:
        raise PostgresBackupError(
            f"Failed to start the recovered cluster: {_said(done, settings)}",
            f"Its log says why: {log}",
        )
    # its starter does not wait, and what has not begun looks like what has ended
    wait_until(
        lambda: is_running(settings, cluster, side) or "FATAL" in tail(settings), _BEGIN, OFTEN
    )


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def is_running(settings: Settings, cluster: Cluster, side: Side) -> bool:
    """Whether its server is there, ready or not."""
    if settings.db_container:
        return side_container.is_running(side["directory"])
    return _control(cluster, "status", "-D", side["directory"]).returncode == 0


def stop(settings: Settings, cluster: Cluster, side: Side) -> None:
    """End it in good order.

    :raises PostgresBackupError: it does not end.
    """
    if settings.db_container:
        _keep_log(settings)
        side_container.stop(side["directory"])
        return
    if not is_running(settings, cluster, side):
        return
    words = ("stop", "-D", side["directory"], "-m", "fast", "-w", "-t", str(_PATIENCE), "-s")
    done = _control(cluster, *words)
    if done.returncode != 0 and not wait_until(lambda: not is_running(settings, cluster, side), 5):
        raise PostgresBackupError(
            f"Failed to stop the recovered cluster: {_said(done, settings)}",
            f"Its log says why: {log_file(settings)}",
        )


def remove(settings: Settings, cluster: Cluster, side: Side) -> None:
    """End it and take its folders away.

    :raises PostgresBackupError: something of it stays.
    """
    if settings.db_container:
        remove_contained(settings, [side["directory"]])
        return
    if os.path.isdir(side["directory"]):
        stop(settings, cluster, side)
    for path in folders(side):
        try:
            if os.path.lexists(path):
                shutil.rmtree(path)
        except OSError as error:
            raise PostgresBackupError(
                f"Failed to remove {path}: {error.strerror}",
                "Remove it by hand, or type the same with -e remove=true again",
            ) from None


def remove_contained(settings: Settings, volumes: list[str]) -> None:
    """The same of those in containers, for which the live one need not run; the log stays.

    :raises PostgresBackupError: something of it stays.
    """
    _keep_log(settings)
    for volume in volumes:
        side_container.remove(settings, volume)


def _keep_log(settings: Settings) -> None:
    if told := tail(settings):
        replace_file(log_file(settings), told.encode(), 0o640)


def folders(side: Side) -> list[str]:
    """All that it takes."""
    return [side["directory"] + end for end in ("", "_ts", "_spool")]


def tail(settings: Settings) -> str:
    """The end of its log; empty where there is none yet."""
    if settings.db_container:
        return side_container.log(settings)
    path = log_file(settings)
    try:
        size = os.stat(path).st_size
        if size <= _LOG_BYTES:
            return read_bounded(path, _LOG_BYTES)[0].decode(errors="replace")
        with open(path, "rb") as file:
            file.seek(size - _LOG_BYTES)
            return file.read(_LOG_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _control(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [program(cluster, "pg_ctl"), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE * 2,
            check=False,
            env=engine.environment(),
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        cause = "it does not end" if isinstance(error, subprocess.TimeoutExpired) else error
        raise PostgresBackupError(
            f"Failed to run {program(cluster, 'pg_ctl')}: {cause}",
            "Is PostgreSQL installed whole? pg_lsclusters",
        ) from None


def _said(done: subprocess.CompletedProcess[bytes], settings: Settings) -> str:
    lines = (done.stderr + done.stdout).decode(errors="replace").split("\n")
    return settings.hide(next((line.strip() for line in lines if line.strip()), "no reason given"))
