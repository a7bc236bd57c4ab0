"""PgBouncer in transaction mode before a server, as applications use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.postgres_server import UNPRIVILEGED
from tests.waiting import wait_for

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
_SETTINGS = """[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {pool}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
unix_socket_dir =
{more}
"""


@contextlib.contextmanager
def pooler(host: str, port: int, user: str, password: str, more: str = "") -> Iterator[int]:
    """Its port.

    :param more: lines of its settings.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        pool = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _SETTINGS.format(host=host, port=port, pool=pool, folder=folder, more=more)
        (folder / "pool.ini").write_text(settings)
        (folder / "users").write_text(f'"{user}" "{password}"\n')
        argv = ["setpriv", "--pdeathsig=TERM", PROGRAM, folder / "pool.ini"]
        if os.geteuid() == 0:  # it refuses to run as root
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, UNPRIVILEGED)
            argv[:0] = ["setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups"]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_for("a pooler", lambda: _answers(pool))
                yield pool
            finally:
                process.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
