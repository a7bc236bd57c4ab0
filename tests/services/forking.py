"""Runs the program in processes forked from one that has loaded it: a start of Python, and the
loading of boto3 and psycopg, are two thirds of what most commands cost.

Whoever is forked runs ``python -m postgres_backup`` from its first line, with its own process,
environment, folder, standard streams and exit status. A process of its own from the start is for
what looks at starting, at signals or at memory, and for what needs more than :func:`run` passes on.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_MODULES = Path(__file__).resolve().parents[2] / "module_utils"
#: what the package loads when it first needs it, beside itself
_LATER = (
    *("cryptography.hazmat.primitives.asymmetric.ed25519", "boto3", "zstandard", "pyrage"),
    *("cryptography.hazmat.primitives.serialization.ssh", "prometheus_client", "_strptime"),
)
_LARGEST = 1 << 20


class _Fork(Exception):
    """Unwinds to the bottom of the server's stack, in the child."""


# --- the side of the tests ---


class Forks:
    """The process that everybody is forked from; it ends when nobody can ask it any more.

    :param environment: of itself, and of all that it forks.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                # those of the children are pipes, and Python has opened them here
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if not self._socket.recv(1):  # it has loaded everything
            raise RuntimeError(self._process.communicate()[1].decode())

    def close(self) -> None:
        """End it; no call may be at work."""
        self._socket.close()
        self._process.communicate()

    def run(self, arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess:
        """The program from start to end, as ``subprocess.run`` gives it, with nothing on standard
        input and the others as text.

        :raises subprocess.TimeoutExpired: it took longer than so many seconds, and was killed.
        """
        with contextlib.ExitStack() as stack:
            mine, theirs = [], []
            for _ in ("standard output", "standard error", "status"):
                reads, writes = os.pipe()
                mine.append(stack.enter_context(open(reads, "rb", buffering=0)))
                theirs.append(writes)
            request = json.dumps({"arguments": list(arguments), "folder": os.getcwd()}).encode()
            try:
                socket.send_fds(self._socket, [request], theirs)
            finally:
                for each in theirs:
                    os.close(each)
            told = _read_all(mine, timeout)
        out, err, status = (data.decode() for data in told)
        if not status.endswith("\n"):
            raise RuntimeError(f"The process that runs {arguments} is gone: {status} {err}")
        return subprocess.CompletedProcess(arguments, int(status.split()[1]), out, err)


def _read_all(pipes: Sequence, timeout: float) -> list[bytes]:
    """What comes out of each until its end; the last tells the process, then its status."""
    found = dict.fromkeys(pipes, b"")
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(end - time.monotonic())
            if not ready and time.monotonic() >= end:
                os.kill(int(found[pipes[-1]]), signal.SIGKILL)
                out, err, _ = found.values()
                raise subprocess.TimeoutExpired("postgres-backup", timeout, out, err)
            for key, _ in ready:
                data = key.fileobj.read(65536)
                found[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
    return list(found.values())


_lock = threading.Lock()
_forks: list[Forks] = []


def run(
    arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess:
    """As :meth:`Forks.run`, by a process that is started at the first call.

    :param environment: the same in every call.
    """
    with _lock:
        if not _forks:
            _forks.append(Forks(environment))
            atexit.register(_forks[0].close)
    return _forks[0].run(arguments, timeout)


# --- the process that is forked ---


def _load() -> None:
    """Everything that a command may need, and what boto3 and Apprise read at their first use."""
    import postgres_backup

    for found in pkgutil.walk_packages(postgres_backup.__path__, "postgres_backup."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)
    for name in _LATER:
        importlib.import_module(name)
    store = importlib.import_module("postgres_backup.s3.client")
    with store._deaf_to_environment():
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        store._session().client("s3", region_name="us-east-1", **keys)
    importlib.import_module("apprise").Apprise().add("json://localhost")  # loads all that it knows
    gc.collect()
    gc.freeze()  # what is here now is looked through by no child


def _serve(server: socket.socket) -> None:
    """Fork for each request, and tell the status of each that ended.

    :raises _Fork: in each process that was forked, ready to run.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not server:
                    selector.unregister(key.fileobj)
                    pid, status = key.data
                    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    os.close(key.fileobj)
                    with contextlib.suppress(BrokenPipeError):  # whoever asked waits no more
                        os.write(status, b"%d\n" % ended)
                    os.close(status)
                    continue
                request, descriptors, *_ = socket.recv_fds(server, _LARGEST, 3)
                if not request:  # nobody asks any more
                    return
                out, err, status = descriptors
                if not (pid := os.fork()):
                    _become(json.loads(request), out, err)
                    raise _Fork
                os.close(out)
                os.close(err)
                with contextlib.suppress(BrokenPipeError):
                    os.write(status, b"%d " % pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _become(request: dict, out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 1024)  # among them the ends of pipes of others that run now
    os.chdir(request["folder"])
    sys.argv = [str(_MODULES / "postgres_backup/__main__.py"), *request["arguments"]]


def main() -> None:
    server = socket.socket(fileno=int(sys.argv[1]))
    _load()
    server.send(b"!")
    try:
        _serve(server)
    except _Fork:
        server.detach()
    else:
        return
    runpy.run_module("postgres_backup", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
