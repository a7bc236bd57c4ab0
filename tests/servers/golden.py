"""Images that servers start from, made once and kept in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .host import locked, run

if TYPE_CHECKING:
    from .lab import Lab
    from .server import Server

SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
#: what a server of a hosting company has beside the base system; nothing that our roles must bring
#: themselves
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "openssh-server",
    "cron",
    "logrotate",
    "iproute2",
    "iptables",
    "ca-certificates",
    "tzdata",
]
PACKAGES += ["iputils-ping", "curl", "sudo", "procps", "util-linux-extra"]
#: what mmdebstrap leaves that must differ from server to server, or is old tomorrow
_LEFTOVERS = [
    "etc/ssh/ssh_host_*",
    "var/lib/apt/lists/*_*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/resolv.conf",
    "etc/hostname",
    "var/lib/dbus/machine-id",
]
#: bytes of a server's disk; the file is sparse
DISK_BYTES = 8 * 1024**3
#: packages move on: an older image is made anew
MAX_AGE_DAYS = 21


def bare(lab: Lab, suite: str) -> Path:
    """The image of a server as it comes from a hosting company: logged in by key, nothing of ours
    on it.
    """
    key = hashlib.sha256(
        repr((suite, PACKAGES, DISK_BYTES, inspect.getsource(_make_bare))).encode()
    ).hexdigest()[:12]
    return _cached(lab, f"{suite}-bare-{key}.img", lambda image: _make_bare(suite, image))


def layer(
    lab: Lab,
    suite: str,
    name: str,
    base: Path,
    docker: bool,
    provision: Callable[[Server], None],
    made_of: str,
) -> Path:
    """The image of a server of ``base`` on which ``provision`` has run; made anew when ``made_of``,
    what it depends on, changes.
    """
    recipe = base.name + made_of + inspect.getsource(layer)
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]

    def make(image: Path) -> None:
        # what the tests bring along for Ansible's modules is each server's own
        server = lab.up(f"make-{name}-{suite}", suite, image=base, docker=docker, forks=False)
        try:
            provision(server)
            server.inside("apt-get", "clean")
            server.inside("fstrim", "/")
            server.power_off()
            server.save_as(image)
        finally:
            server.down()

    return _cached(lab, f"{suite}-{name}-{key}.img", make)


def _cached(lab: Lab, name: str, make: Callable[[Path], None]) -> Path:
    image = lab.cache / name
    with locked(lab.cache / f"{name}.lock"):
        if not image.exists() or time.time() - image.stat().st_mtime > MAX_AGE_DAYS * 86400:
            started = time.monotonic()
            make(image)
            lab.say(f"made {name} in {time.monotonic() - started:.1f} s")
            stem = name.rsplit("-", 1)[0]
            for old in lab.cache.glob(
                f"{stem}-*"
            ):  # of an earlier recipe, and not of another checkout that is at work
                if not old.name.startswith(name) and time.time() - old.stat().st_mtime > 86400:
                    old.unlink()
    return image


def _make_bare(suite: str, image: Path) -> None:
    with contextlib.ExitStack() as stack:
        scratch = Path(
            tempfile.mkdtemp(prefix="lab-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        )
        stack.callback(run, "rm", "-rf", "--one-file-system", scratch)
        scratch.chmod(0o755)
        root = scratch / "root"
        # without a mirror's name mmdebstrap takes this machine's, with SUITE-updates and
        # SUITE-security
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--skip=output/dev",
            '--aptopt=APT::Install-Recommends "false"',
        ]
        run(
            *command,
            f"--include={','.join(PACKAGES)}",
            suite,
            root,
            timeout=600,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        for pattern in _LEFTOVERS:
            for path in root.glob(pattern):
                path.unlink()
        (root / "dev").mkdir(exist_ok=True)
        (root / "etc/default/locale").write_text("LANG=C.UTF-8\n")
        # authorities that this machine trusts beside the usual ones, so that pip gets through a
        # company's proxy
        authorities = list(Path("/usr/local/share/ca-certificates").glob("*.crt"))
        for authority in authorities:
            shutil.copy(authority, root / "usr/local/share/ca-certificates")
        if authorities:
            run("chroot", root, "update-ca-certificates")
        part = image.with_suffix(".part")
        stack.callback(part.unlink, missing_ok=True)
        # no journal: the copy is smaller, and after a crash the kernel that wrote it still lives
        run(
            "mkfs.ext4",
            "-q",
            "-F",
            "-O",
            "^has_journal",
            "-d",
            root,
            part,
            str(DISK_BYTES // 1024),
            timeout=300,
        )
        os.replace(part, image)
