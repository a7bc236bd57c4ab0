"""One server of the lab: a real Debian with systemd, cron and sshd on a disk and an address of its
own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import WaitedInVain, wait_for

from . import golden
from .host import LabError, kill, processes_of, run

if TYPE_CHECKING:
    from .lab import Lab

#: makes calls of Ansible's modules cheap
_SITECUSTOMIZE = Path(__file__).with_name("python") / "sitecustomize.py"
_FORKS = _SITECUSTOMIZE.with_name("forks.py")
_PY3COMPILE = _SITECUSTOMIZE.with_name("py3compile")
#: seconds a boot may take; it is usually done in two
BOOT_TIMEOUT = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: what Docker needs of systemd-nspawn: the whole cgroup tree, writable /proc/sys/net, and three
#: system calls
_DOCKER_ENVIRONMENT = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
_DOCKER_OPTIONS = [
    "--capability=all",
    "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE",
    "--system-call-filter=add_key keyctl bpf",
]


class Server:
    """A server; made by :meth:`Lab.up`, found again by :meth:`Lab.servers`.

    :param lab: where it stands.
    :param name: its host name.
    :param suite: ``bookworm`` (Debian 12) or ``trixie`` (Debian 13).
    :param number: the last part of its address.
    :param docker: whether Docker can run inside.
    """

    #: see :data:`BOOT_TIMEOUT`
    boot_timeout = BOOT_TIMEOUT

    def __init__(self, lab: Lab, name: str, suite: str, number: int, docker: bool) -> None:
        self.lab, self.name, self.suite, self.number, self.docker = lab, name, suite, number, docker
        self.address = f"{lab.network}.{number}"
        self.directory = lab.directory / "servers" / name
        self.known_hosts = self.directory / "known_hosts"
        self.console_log = self.directory / "console.log"
        self._link, self._namespace = f"{lab.bridge}-{number}", f"{lab.bridge}-{name}"
        self._process: subprocess.Popen | None = None
        #: process 1, as last found, and when it began; 0: none was
        self._known_leader = 0, ""

    # -- life
    # ----------------------------------------------------------------------------------------------

    def create(self, image: Path, timezone: str, forks: bool = True, disk_bytes: int = 0) -> None:
        """Give it a disk copied from ``image``, a host key, a name and a place on the bridge; it is
        off.

        :param disk_bytes: more than the image has; 0: as many.
        """
        (self.directory / "root").mkdir(parents=True)
        facts = {
            "name": self.name,
            "suite": self.suite,
            "number": self.number,
            "docker": self.docker,
        }
        (self.directory / "server.json").write_text(json.dumps(facts))
        disk = self.lab.disks / f"{self.name}.img"
        (self.directory / "disk.img").symlink_to(disk)
        run("cp", "--sparse=always", image, disk)
        if disk_bytes:
            run("e2fsck", "-fp", disk, timeout=120)
            run("truncate", f"--size={disk_bytes}", disk)
            run("resize2fs", disk, timeout=120)
        self._write_seed(timezone, forks)
        run("ip", "netns", "add", self._namespace)
        run(
            "ip",
            "link",
            "add",
            self._link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self._namespace,
        )
        run("ip", "link", "set", self._link, "master", self.lab.bridge, "up")
        inside = ["ip", "-n", self._namespace]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", self.lab.address)

    def _write_seed(self, timezone: str, forks: bool) -> None:
        """What makes this server differ from its image; laid over the disk at the first boot."""
        seed = self.directory / "seed"
        for folder, mode in {"etc/ssh": 0o755, "root/.ssh": 0o700}.items():
            (seed / folder).mkdir(parents=True)
            (seed / folder).chmod(mode)
        (seed / "root").chmod(0o700)
        (seed / "etc/hostname").write_text(f"{self.name}\n")
        (seed / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (seed / "etc/machine-id").write_text("")
        python = seed / f"etc/python{golden.PYTHONS[self.suite]}"
        python.mkdir()
        shutil.copy(_SITECUSTOMIZE, python)
        if forks:
            shutil.copy(_FORKS, python)
        (seed / "usr/bin").mkdir(parents=True)
        shutil.copy(_PY3COMPILE, seed / "usr/bin")  # with its mode
        (seed / "etc/resolv.conf").write_text(_resolvers())
        (seed / "etc/timezone").write_text(f"{timezone}\n")
        (seed / "etc/localtime").symlink_to(f"/usr/share/zoneinfo/{timezone}")
        shutil.copy(f"{self.lab.key}.pub", seed / "root/.ssh/authorized_keys")
        host_key = seed / "etc/ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", host_key)
        algorithm, public = Path(f"{host_key}.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"{self.address} {algorithm} {public}\n")

    def boot(self) -> None:
        """Switch it on and wait until systemd has started everything and sshd answers."""
        if self.running:
            raise LabError(f"{self.name} runs already")
        environment = {**os.environ, **(_DOCKER_ENVIRONMENT if self.docker else {})}
        with open(self.console_log, "a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self.wait()

    def _command(self) -> list[str]:
        """The words that switch it on, and run until it is off."""
        options = _DOCKER_OPTIONS if self.docker else []
        nspawn = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--boot",
            "--console=read-only",
            "--link-journal=no",
        ]
        nspawn += [
            "--resolv-conf=off",
            "--timezone=off",
            f"--machine={self._namespace}",
            f"--hostname={self.name}",
        ]
        nspawn += [
            f"--directory={self.directory}/root",
            f"--network-namespace-path=/run/netns/{self._namespace}",
            *options,
        ]
        supervisor = [
            sys.executable,
            str(Path(__file__).with_name("supervise.py")),
            str(self.directory),
        ]
        command = ["unshare", "--mount", "--propagation", "slave", "--", *supervisor, "--", *nspawn]
        if os.path.isdir(
            "/run/systemd/system"
        ):  # where systemd manages this machine, every server gets a scope of its own
            command = [
                "systemd-run",
                "--scope",
                "--quiet",
                "--collect",
                f"--unit=lab-{self._namespace}",
                "--property=Delegate=yes",
                *command,
            ]
        return command

    def wait(self) -> None:
        """Wait until systemd has started everything and sshd answers.

        :raises LabError: it did not within :attr:`boot_timeout` seconds; the message ends with its
            console.
        """
        try:
            wait_for(f"sshd on {self.name}", self._answers, self.boot_timeout)
            state = self.inside(
                "systemctl", "is-system-running", "--wait", check=False, timeout=self.boot_timeout
            ).stdout.strip()
        except (LabError, WaitedInVain) as error:
            console = (
                self.console_log.read_text(errors="replace")[-2000:]
                if self.console_log.exists()
                else ""
            )
            raise LabError(f"{error}; its console ends with:\n{console}") from None
        if state != "running":
            failed = self.inside(
                "systemctl", "list-units", "--failed", "--no-legend", check=False
            ).stdout
            told = self.inside("journalctl", "-b", "-p", "warning", "-n", "30", check=False).stdout
            raise LabError(f"{self.name} is {state or 'not up'}: {failed}\n{told}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def _leader(self) -> int | None:
        """The process id that the server's own process 1 has on this machine."""
        pid, born = self._known_leader
        # to look for it again through every process here costs as much as what is asked inside
        if pid and born == _born(pid):
            return pid
        for pid in self._processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            namespaces = next(
                (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), []
            )
            if namespaces[1:] == ["1"]:
                self._known_leader = pid, _born(pid)
                return pid
        return None

    def _processes(self) -> list[int]:
        """Every process of the server, and those that keep it running.

        Its process 1 outlives systemd-nspawn, and names no path.
        """
        inside = run(
            "ip", "netns", "pids", self._namespace, check=False
        ).stdout.split()  # fails where there is no such namespace
        return sorted({*map(int, inside), *processes_of(self.directory)})

    @property
    def running(self) -> bool:
        if self._process:
            self._process.poll()  # our own child stays visible until it is asked
        return bool(self._processes())

    def reboot(self) -> None:
        """``systemctl reboot``, and wait until it is up again."""
        before = self._boot_id()
        self.ssh("systemctl", "reboot", check=False)  # the connection may break before it ends
        wait_for(
            f"{self.name} to boot again",
            lambda: self._leader and self._answers() and self._boot_id() != before,
            self.boot_timeout,
        )
        self.wait()

    def _boot_id(self) -> str:
        # all servers share the kernel's boot_id; the start of its process 1 is what differs
        return _born(self._leader or 0)

    def crash(self) -> None:
        """Power loss: every process is gone at once, nothing is told; the disk keeps what was
        written.
        """
        self._end()
        self._wait_for_disk()

    def _end(self) -> None:
        kill(self._processes())
        if self._process:
            self._process.wait()

    def power_off(self) -> None:
        """An orderly shutdown; the disk stays."""
        self.ssh("systemctl", "poweroff", check=False)
        wait_for(f"{self.name} to switch itself off", lambda: not self.running, self.boot_timeout)
        self._end()
        self._wait_for_disk()

    def _wait_for_disk(self) -> None:
        # while its namespace goes, the kernel shows the path without the part where the file system
        # was mounted
        disk = f"/{self.lab.disks.name}/{self.name}.img"
        wait_for(
            f"the loop device of {disk}",
            lambda: not any(disk in path for path in _loop_files()),
            timeout=20,
        )

    def down(self) -> None:
        """Remove it without a trace; also what an interrupted :meth:`create` left."""
        self._end()
        self._unplug()
        if self.directory.exists():
            self._wait_for_disk()
            (self.lab.disks / f"{self.name}.img").unlink(missing_ok=True)
            shutil.rmtree(self.directory)

    def _unplug(self) -> None:
        if Path("/sys/class/net", self._link).exists():  # first: a namespace frees its end late
            run("ip", "link", "del", self._link)
        if Path("/run/netns", self._namespace).exists():
            run("ip", "netns", "del", self._namespace)

    def save_as(self, image: Path) -> None:
        """Make its disk an image that new servers start from; the server must be off."""
        if self.running:
            raise LabError(f"{self.name} runs: power_off() first")
        with tempfile.NamedTemporaryFile(
            dir=image.parent, prefix=".", suffix=".img", delete=False
        ) as file:
            run(
                "cp",
                "--sparse=always",
                (self.directory / "disk.img").resolve(),
                file.name,
                timeout=300,
            )
        os.replace(file.name, image)

    # -- hands
    # ----------------------------------------------------------------------------------------------

    def ssh_command(self, user: str = "root") -> list[str]:
        """The words that log in, with this server's host key known and nothing of the caller's ssh
        settings.
        """
        options = {
            "UserKnownHostsFile": self.known_hosts,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "/dev/null", "-i", str(self.lab.key), *words, f"{user}@{self.address}"]

    def ssh(
        self, *command: str, user: str = "root", check: bool = True, timeout: float = 120, **options
    ) -> subprocess.CompletedProcess:
        """Run a command over ssh: one word is given to the shell there as it is, several are
        quoted.
        """
        line = command[0] if len(command) == 1 else shlex.join(command)
        return run(*self.ssh_command(user), line, check=check, timeout=timeout, **options)

    def inside(
        self, *command: str, check: bool = True, timeout: float = 120, **options
    ) -> subprocess.CompletedProcess:
        """Run a command inside without the network, in an empty environment but for PATH and HOME.

        :raises LabError: it is off, or the command failed (where ``check``).
        """
        leader = wait_for(f"process 1 of {self.name}", lambda: self._leader, timeout=10)
        enter = [
            "nsenter",
            "--target",
            str(leader),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
        ]
        return run(
            *enter,
            "env",
            "-i",
            f"PATH={PATH}",
            "HOME=/root",
            *command,
            check=check,
            timeout=timeout,
            **options,
        )

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What a statement says, as PostgreSQL's superuser: rows as lines, columns separated by
        ``|``.
        """
        # by standard input: an argument list, passwords in it, would show in the process table and
        # in the journal
        words = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
        return self.inside(
            "runuser", "-u", "postgres", "--", *words, cwd="/", input=statement
        ).stdout.strip()

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file, owned by root."""
        self.inside("install", "-D", "-m", mode, "/dev/stdin", path, input=text)

    def put(self, source: Path, target: str) -> None:
        """Copy a file or a folder of this machine to the path ``target``, owned by root."""
        names = ["."] if source.is_dir() else [source.name]
        folder = target if source.is_dir() else os.path.dirname(target)
        packed = subprocess.run(
            [
                "tar",
                "-C",
                source if source.is_dir() else source.parent,
                "--owner=root:0",
                "--group=root:0",
                "-c",
                *names,
            ],
            capture_output=True,
            check=True,
        )
        self.inside("mkdir", "-p", folder)
        with tempfile.TemporaryFile() as file:
            file.write(packed.stdout)
            file.seek(0)
            self.inside("tar", "-C", folder, "-x", stdin=file)
        if not source.is_dir() and os.path.basename(target) != source.name:
            self.inside("mv", f"{folder}/{source.name}", target)

    def add_user(self, name: str) -> None:
        """An ordinary user who logs in with the lab's key and may do everything with sudo, as cloud
        images have it.
        """
        self.inside("useradd", "--create-home", "--shell", "/bin/bash", name)
        self.write(f"/etc/sudoers.d/{name}", f"{name} ALL=(ALL) NOPASSWD: ALL\n", "0440")
        self.inside("install", "-d", "-m", "0700", "-o", name, "-g", name, f"/home/{name}/.ssh")
        self.inside(
            "install",
            "-m",
            "0600",
            "-o",
            name,
            "-g",
            name,
            "/root/.ssh/authorized_keys",
            f"/home/{name}/.ssh/authorized_keys",
        )

    # -- faults
    # ----------------------------------------------------------------------------------------------

    def link(self, up: bool) -> None:
        """Plug its network cable in, or pull it."""
        run("ip", "link", "set", self._link, "up" if up else "down")

    def slow_link(self, rate: str = "") -> None:
        """Let what it sends pass at ``rate`` at most, such as ``8mbit``; empty: as fast as it can
        again.
        """
        device = ["dev", "eth0", "root"]
        run("tc", "-n", self._namespace, "qdisc", "del", *device, check=False)  # there may be none
        if rate:
            run(
                "tc",
                "-n",
                self._namespace,
                "qdisc",
                "add",
                *device,
                "tbf",
                "rate",
                rate,
                "burst",
                "32kb",
                "latency",
                "400ms",
            )

    def lose_packets(self, share: float) -> None:
        """Drop this share (0 to 1) of what comes in; 0 ends it."""
        rule = ["INPUT", "-i", "eth0", "-m", "statistic", "--mode", "random", "--probability"]
        netns = ["ip", "netns", "exec", self._namespace, "iptables", "-w"]
        run(*netns, "-F", "INPUT")
        if share:
            run(*netns, "-A", *rule, str(share), "-j", "DROP")


def _born(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where it is no more."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def _resolvers() -> str:
    """resolv.conf for a server: this machine's name servers, but those that listen on its loopback
    only.
    """
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        if os.path.exists(path):
            lines = [
                line
                for line in Path(path).read_text().splitlines()
                if line.startswith("nameserver") and not line.split()[1].startswith("127.")
            ]
            if lines:
                return "\n".join(lines) + "\n"
    return "nameserver 9.9.9.9\n"


def _loop_files() -> set[str]:
    files = set()
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            files.add(backing.read_text().strip())
        except OSError:  # detached meanwhile
            continue
    return files
