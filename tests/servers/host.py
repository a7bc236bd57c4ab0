"""What the lab needs of the machine it runs on: programs, the kernel, processes, forwarding."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.waiting import wait_for

#: everything of every lab on this machine; a reboot of the machine empties it, as it empties the
#: network
STATE = Path("/run/postgres-backup-lab")
#: program -> Debian's package that has it
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "tc": "iproute2",
    "iptables": "iptables",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}


class LabError(Exception):
    """The lab could not do what was asked; the message says what and why."""


def run(
    *command: str | Path, check: bool = True, timeout: float = 60, **options
) -> subprocess.CompletedProcess:
    """Run a program with its output captured as text.

    :raises LabError: it ended with another status than 0 (where ``check``), or not within
        ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, **options)
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{' '.join(words)} took more than {timeout} s;"
            f" so far: {error.stdout!r} {error.stderr!r}"
        ) from None
    if check and done.returncode:
        raise LabError(
            f"{' '.join(words)} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
        )
    return done


def missing_programs(wanted: Mapping[str, str] = PROGRAMS) -> dict[str, str]:
    """The programs that are not installed, with the packages that have them."""
    sbin = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return {
        program: package
        for program, package in wanted.items()
        if not shutil.which(program, path=sbin)
    }


def install_programs(wanted: Mapping[str, str] = PROGRAMS) -> None:
    """Install from the distribution what :func:`missing_programs` names."""
    with locked(STATE / "install.lock"):  # dpkg does not wait for another worker's
        packages = sorted(set(missing_programs(wanted).values()))
        if not packages:
            return
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", timeout=300, env=environment)
        run(
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            *packages,
            timeout=600,
            env=environment,
        )


def obstacles() -> list[str]:
    """Why no lab can be had on this machine; empty where one can."""
    if os.geteuid() != 0:
        return ["booting servers takes root (network namespaces, loop devices, systemd-nspawn)"]
    if missing := missing_programs():
        return [f"missing: {', '.join(missing)} (to install: python -m tests.servers deps)"]
    found = (
        []
        if os.path.exists("/dev/loop-control")
        else ["the kernel has no loop devices (/dev/loop-control)"]
    )
    probe = f"labt{os.getpid() % 100000}"
    trials = {
        "bridges": (["ip", "link", "add", probe, "type", "bridge"], ["ip", "link", "del", probe]),
        "veth pairs": (
            ["ip", "link", "add", probe, "type", "veth", "peer", "name", f"{probe}p"],
            ["ip", "link", "del", probe],
        ),
        "network namespaces": (["ip", "netns", "add", probe], ["ip", "netns", "del", probe]),
        "masquerading": (["iptables", "-w", "-t", "nat", "-S", "POSTROUTING"], []),
    }
    for what, (do, undo) in trials.items():
        tried = run(*do, check=False)
        if tried.returncode:
            found.append(f"the kernel refuses {what}: {tried.stderr.strip()}")
        elif undo:
            run(*undo)
    return found


def processes_of(directory: Path) -> list[int]:
    """The processes that have a path below ``directory`` among their arguments, or hang below one
    of those.
    """
    arguments, parents = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                stat = Path(entry.path, "stat").read_text()
                parents[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
                arguments[int(entry.name)] = Path(entry.path, "cmdline").read_bytes().split(b"\0")
    path = os.fsencode(directory)
    mine = {
        pid
        for pid, words in arguments.items()
        if any(word == path or word.startswith(path + b"/") for word in words)
    } - {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine, grown = mine | more, bool(more)
    return sorted(mine)


def kill(pids: list[int]) -> None:
    """Kill these processes at once and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(
        f"the end of processes {pids}", lambda: not any(_alive(pid) for pid in pids), timeout=20
    )


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)  # one of our own children is a zombie until it is waited for
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] != "Z"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_SWITCH = Path("/proc/sys/net/ipv4/ip_forward")


def forward(bridge: str, wanted: bool) -> None:
    """Let this machine forward packets while any lab has its bridge; the last one puts back what
    was there.
    """
    users = STATE / "forwarding"
    with locked(STATE / "forwarding.lock"):
        users.mkdir(exist_ok=True)
        before = users / "before"
        if not before.exists():
            before.write_text(_SWITCH.read_text())
        (users / f"for-{bridge}").touch()
        _SWITCH.write_text("1")
        if not wanted:
            (users / f"for-{bridge}").unlink()
        for user in users.glob("for-*"):
            if (
                user.name != f"for-{bridge}"
                and not Path("/sys/class/net", user.name.removeprefix("for-")).exists()
            ):
                user.unlink()  # left by a lab whose bridge has gone
        if not list(users.glob("for-*")):
            _SWITCH.write_text(before.read_text())
            before.unlink()
