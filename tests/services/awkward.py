"""S3 servers that refuse, or silently spoil, what a careless client sends. Both stand behind TLS,
which brings that out.

* JuiceFS gateway (an old MinIO layer): refuses chunked uploads with trailers (411) and
  DeleteObjects without Content-MD5
* nanio: keeps the framing of chunked uploads inside the object
* rclone's S3 server: no versions, no rules, and most headers mean nothing to it
* moto: in memory, and any key is good
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.secure_s3 import make_certificate
from tests.waiting import wait_for

from .proxy import TlsFront

_START_TIMEOUT = 60


def find_program(name: str) -> str:
    """The path of a program that a wheel put beside this interpreter; empty where it is not
    installed.
    """
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.is_file() else shutil.which(name) or ""


@contextmanager
def juicefs_gateway(directory: Path, access_key: str, secret_key: str) -> Iterator[TlsFront]:
    """The gateway over a volume in ``directory``; CreateBucket makes folders, its buckets."""
    program = find_program("juicefs")
    directory.mkdir(parents=True, exist_ok=True)
    environment = _environment(directory) | {
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
    }
    volume = [
        program,
        "format",
        "--storage",
        "file",
        "--bucket",
        f"{directory}/blocks/",
        "--trash-days",
        "0",
        "sqlite3://meta.db",
        "volume",
    ]
    subprocess.run(volume, cwd=directory, env=environment, check=True, capture_output=True)
    port, metrics = free_port(), free_port()
    options = [
        "--multi-buckets",
        "--keep-etag",
        "--no-usage-report",
        "--no-bgjob",
        "--no-banner",
        "--metrics",
        f"127.0.0.1:{metrics}",
    ]
    options += [
        "--cache-dir",
        f"{directory}/cache",
        "--cache-size",
        "100M",
        "--log",
        f"{directory}/gateway.log",
    ]
    with _running(
        [program, "gateway", *options, "sqlite3://meta.db", f"127.0.0.1:{port}"],
        directory,
        environment,
        port,
    ) as front:
        yield front


@contextmanager
def nanio(directory: Path, access_key: str, secret_key: str) -> Iterator[TlsFront]:
    """nanio over a folder in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = _environment(directory) | {
        "NANIO_ACCESS_KEY": access_key,
        "NANIO_SECRET_KEY": secret_key,
    }
    port = free_port()
    command = [
        find_program("nanio"),
        "serve",
        "--data-dir",
        str(directory / "data"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-access-log",
    ]
    with _running(command, directory, environment, port) as front:
        yield front


@contextmanager
def rclone(directory: Path, access_key: str, secret_key: str) -> Iterator[TlsFront]:
    """rclone's S3 server over a folder in ``directory``."""
    (directory / "data").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        find_program("rclone"),
        "serve",
        "s3",
        "--config",
        str(directory / "rclone.conf"),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{access_key},{secret_key}",
        str(directory / "data"),
    ]
    with _running(command, directory, _environment(directory), port) as front:
        yield front


@contextmanager
def moto(directory: Path, access_key: str, secret_key: str) -> Iterator[TlsFront]:
    """moto's server, which holds everything in memory and looks at no key."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [find_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, directory, _environment(directory), port) as front:
        yield front


def _environment(directory: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(directory), "TMPDIR": str(directory)}


@contextmanager
def _running(
    command: list[str], directory: Path, environment: dict[str, str], port: int
) -> Iterator[TlsFront]:
    log = directory / "server.log"
    tie = ["setpriv", "--pdeathsig", "KILL"]
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [*tie, *command],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        wait_for(
            f"{command[0]} ({log})",
            lambda: _listens(port) or process.poll() is not None,
            _START_TIMEOUT,
        )
        if process.poll() is not None:
            raise RuntimeError(
                f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}"
            )
        make_certificate(directory / "tls")
        with TlsFront(f"http://127.0.0.1:{port}", directory / "tls") as front:
            yield front
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
