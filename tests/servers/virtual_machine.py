"""A server of the lab with a kernel of its own, and so with a clock of its own: User-mode Linux.

The other servers share this machine's kernel, and its clock must never be set. Here a week passes
in minutes for all that runs inside alike: systemd, cron, PostgreSQL, a store written in Go. The
kernel is a process here, from Debian's package ``user-mode-linux``: it takes no virtualization by
the processor, and what computes is about half as fast as beside it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from datetime import datetime, timezone

from .host import run
from .server import PATH, Server

KERNEL = "linux.uml"
#: program -> Debian's package that has it
PROGRAMS = {KERNEL: "user-mode-linux"}
_MEMORY = "2G"
#: lays the seed over the disk, whose mount cannot outlive it
_PREPARE = """
mount -o loop "$1/disk.img" "$1/root"
cp -a "$1/seed/." "$1/root"
umount "$1/root"
rm -r "$1/seed"
"""
#: by hand, for without udev systemd-networkd waits for ever
_NETWORK = """[Unit]
Description=The place on the bridge
DefaultDependencies=no
After=local-fs.target
Before=network.target network-online.target

[Service]
Type=oneshot
ExecStart=ip link set lo up
ExecStart=ip address add {address}/24 dev eth0
ExecStart=ip link set eth0 up
ExecStart=ip route add default via {gateway}
RemainAfterExit=yes
"""


def obstacles() -> list[str]:
    """Why no such server can be had on this machine; empty where one can."""
    found = []
    if not shutil.which(KERNEL):
        found.append(f"missing: {KERNEL} (to install: apt-get install {PROGRAMS[KERNEL]})")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        found.append("/dev/net/tun cannot be opened")
    return found


class VirtualMachine(Server):
    """A server of the lab that is switched on with a kernel of its own from now on; all that it has
    is what it had. :meth:`Server.down` of either removes it.

    What needs its namespaces it does not do: ``reboot``, ``slow_link`` and ``lose_packets``.

    :param server: one that is off.
    """

    boot_timeout = 300

    def __init__(self, server: Server) -> None:
        super().__init__(server.lab, server.name, server.suite, server.number, docker=False)
        seed = self.directory / "seed"
        units = seed / "etc/systemd/system"
        wanted = units / "multi-user.target.wants"
        wanted.mkdir(parents=True)
        name = "lab-network.service"
        (units / name).write_text(_NETWORK.format(address=self.address, gateway=self.lab.address))
        (wanted / name).symlink_to(f"../{name}")
        # there is nothing to load, and libkmod, which it asks, is not on a small server
        (units / "systemd-modules-load.service").symlink_to("/dev/null")
        prepare = ["sh", "-ec", _PREPARE, "sh", self.directory]
        run("unshare", "--mount", "--propagation", "slave", "--", *prepare)
        self._unplug()
        run("ip", "tuntap", "add", "dev", self._link, "mode", "tap")
        run("ip", "link", "set", self._link, "master", self.lab.bridge, "up")

    def _command(self) -> list[str]:
        # by a path of its own, by which the processes of a killed run are found
        kernel = self.directory / KERNEL
        kernel.unlink(missing_ok=True)
        kernel.symlink_to(shutil.which(KERNEL))
        return [
            "env",
            f"TMPDIR={self.lab.disks}",
            str(kernel),
            f"mem={_MEMORY}",
            f"ubd0={self.directory}/disk.img",
            "root=/dev/ubda",
            "rw",
            f"eth0=tuntap,{self._link}",
            f"uml_dir={self.directory}/uml",
            *("con=null", "con0=null,fd:1", "ssl=null"),
            *("quiet", "selinux=0"),
        ]

    def inside(
        self, *command: str, check: bool = True, timeout: float = 120, cwd: str = "", **options
    ) -> subprocess.CompletedProcess:
        """As of any server; here over ssh, for there is no other way in."""
        line = shlex.join(["env", "-i", f"PATH={PATH}", "HOME=/root", *command])
        if not {"input", "stdin"} & options.keys():
            options["stdin"] = subprocess.DEVNULL
        line = f"cd {shlex.quote(cwd)} && {line}" if cwd else line
        return self.ssh(line, check=check, timeout=timeout, **options)

    def clock(self) -> datetime:
        """What its clock says, UTC."""
        told = self.inside("date", "+%s.%N").stdout
        return datetime.fromtimestamp(float(told), timezone.utc)
