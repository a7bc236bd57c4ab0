"""Servers on a bridge of this machine: the way to them, and no trace of them afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from . import golden, host
from .host import STATE, LabError, run
from .server import Server

#: where images are kept between runs
DEFAULT_CACHE = "/var/cache/postgres-backup-lab"


class Lab:
    """A bridge with an address of this machine, masquerading to the world, and servers on it.

    Two labs live side by side when their bridges and networks differ; each touches only what bears
    the name of its own bridge.

    :param bridge: name of the bridge, at most 10 letters; everything else is named after it.
    :param network: the first three parts of the network's addresses, such as ``10.77.0``.
    :param cache: directory of images.
    :param disks: directory of the servers' disks; in memory (``/dev/shm``) packages install three
        times faster.
    :param say: called with a line when something took a while.
    """

    def __init__(
        self,
        bridge: str,
        network: str,
        *,
        cache: str = "",
        disks: str = "",
        say: Callable[[str], None] | None = None,
    ) -> None:
        if len(bridge) > 10:
            raise LabError(
                f"The bridge's name {bridge!r} is longer than 10 letters:"
                " its links' names would be too long for the kernel"
            )
        self.bridge, self.network, self.address = bridge, network, f"{network}.1"
        self.directory = STATE / bridge
        self.cache = Path(cache or os.environ.get("LAB_CACHE", "") or DEFAULT_CACHE)
        self.disks = (
            Path(disks or os.environ.get("LAB_DISKS", "") or _room_for_disks())
            / f"postgres-backup-lab-{bridge}"
        )
        self.key = self.directory / "id"
        self.say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._lock: TextIO | None = None
        self._servers: dict[str, Server] = {}
        self._numbers = iter(range(11, 250))

    # -- the network
    # --------------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Take this lab for this process, until it ends; False where another process has it."""
        STATE.mkdir(parents=True, exist_ok=True)
        self._lock = open(STATE / f"{self.bridge}.lock", "w", encoding="utf-8")  # noqa: SIM115 - held until release()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let others have this lab."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def start(self) -> None:
        """Make the bridge and the way to the world; does nothing twice.

        :raises LabError: another interface of this machine has an address in the network.
        """
        for directory in (self.directory / "servers", self.disks, self.cache):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (self.directory, self.disks):
            directory.chmod(0o700)
        (self.directory / "lab.json").write_text(json.dumps({"network": self.network}))
        if not self.key.exists():
            run(
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                f"lab {self.bridge}",
                "-f",
                self.key,
            )
        if not Path("/sys/class/net", self.bridge).exists():
            if other := self.other_with_network():
                raise LabError(
                    f"{other} has an address in {self.network}.0/24 already;"
                    " choose another network: LAB_NETWORK=10.78.0"
                )
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "addr", "add", f"{self.address}/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
        host.forward(self.bridge, True)
        for table, chain, rule in self._rules():
            if run("iptables", "-w", "-t", table, "-C", chain, *rule, check=False).returncode:
                run("iptables", "-w", "-t", table, "-I", chain, *rule)

    def _rules(self) -> list[tuple[str, str, list[str]]]:
        """Table, chain and rule of each; Docker on this machine sets FORWARD to DROP, hence the
        last two.
        """
        mark = ["-m", "comment", "--comment", f"postgres-backup lab {self.bridge}"]
        return [
            (
                "nat",
                "POSTROUTING",
                ["-s", f"{self.network}.0/24", "!", "-o", self.bridge, *mark, "-j", "MASQUERADE"],
            ),
            ("filter", "FORWARD", ["-i", self.bridge, *mark, "-j", "ACCEPT"]),
            ("filter", "FORWARD", ["-o", self.bridge, *mark, "-j", "ACCEPT"]),
        ]

    def other_with_network(self) -> str:
        """The interface, not our bridge, that has an address in the network, or nothing."""
        for interface in json.loads(run("ip", "-json", "-4", "addr").stdout):
            local = [address.get("local", "") for address in interface.get("addr_info", [])]
            if interface.get("ifname") != self.bridge and any(
                address.startswith(f"{self.network}.") for address in local
            ):
                return interface["ifname"]
        return ""

    def stop(self) -> None:
        """Remove every server and the bridge, and put back what :meth:`start` changed; also after a
        killed run.
        """
        for server in self.servers():
            server.down()
        for table, chain, rule in self._rules():
            while not run(
                "iptables", "-w", "-t", table, "-C", chain, *rule, check=False
            ).returncode:
                run("iptables", "-w", "-t", table, "-D", chain, *rule)
        if Path("/sys/class/net", self.bridge).exists():
            run("ip", "link", "del", self.bridge)
        if self.directory.exists():
            host.forward(self.bridge, False)
            host.kill(host.processes_of(self.directory))
            shutil.rmtree(self.directory)
        if self.disks.exists():
            shutil.rmtree(self.disks)

    # -- servers
    # ----------------------------------------------------------------------------------------------

    def servers(self) -> list[Server]:
        """Those that there are, running or not, whoever made them."""
        for name in [
            name for name, server in self._servers.items() if not server.directory.exists()
        ]:
            del self._servers[name]
        for directory in sorted((self.directory / "servers").glob("*")):
            if directory.name in self._servers:
                continue
            facts = {"name": directory.name, "suite": "", "number": 0, "docker": False}
            with contextlib.suppress(
                FileNotFoundError, json.JSONDecodeError
            ):  # killed while it was being made
                facts = json.loads((directory / "server.json").read_text())
            self._servers[directory.name] = Server(self, **facts)
        return list(self._servers.values())

    def up(
        self,
        name: str,
        suite: str = "trixie",
        *,
        image: Path | None = None,
        docker: bool = False,
        timezone: str = "Etc/UTC",
        forks: bool = True,
        disk_bytes: int = 0,
    ) -> Server:
        """A new server, booted, whose root logs in with :attr:`key`.

        :param image: what its disk is copied from; None: the bare one of ``suite``.
        :param timezone: its system's time zone, such as ``Asia/Kathmandu``.
        :param forks: whether calls of Ansible's modules are forked (``python/forks.py``).
        :param disk_bytes: of its disk; 0: those of the image.
        :raises LabError: there is one of that name, or it does not come up; what was begun is
            removed.
        """
        if suite not in golden.SUITES:
            raise LabError(f"No such suite: {suite!r}; there are {', '.join(golden.SUITES)}")
        image = image or golden.bare(self, suite)
        taken = {server.number: server.name for server in self.servers()}
        if name in taken.values():
            raise LabError(f"There is a server {name} already")
        # an address is not used twice: a kept ssh connection to a removed server would break the
        # next one's
        server = Server(
            self,
            name,
            suite,
            next(number for number in self._numbers if number not in taken),
            docker,
        )
        self._servers[name] = server
        try:
            server.create(image, timezone, forks, disk_bytes)
            server.boot()
            # so that our sitecustomize is compiled now, and not under the eyes of a test
            server.ssh("python3 -c pass")
        except BaseException:
            server.down()
            raise
        return server


def _room_for_disks() -> str:
    """``/dev/shm`` where it has 6 GB to spare, and 2 GB for each further worker; else the usual
    place for temporary files.
    """
    others = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) - 1
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 6e9 + 2e9 * others:
            return "/dev/shm"
    return "/var/tmp"
