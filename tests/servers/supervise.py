"""Runs one booted server until it is switched off; started by server.py in a mount namespace of its
own.

    unshare --mount --propagation slave -- python supervise.py DIRECTORY -- systemd-nspawn ...

Because the server's disk is mounted in that namespace only, no mount and no loop device can outlive
the server, however it ends. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

#: systemd-nspawn --keep-unit ends with this status when the server inside asks for a reboot
#: (EXIT_FORCE_RESTART)
REBOOT = 133


def main() -> int:
    directory, command = Path(sys.argv[1]), sys.argv[3:]
    root, seed = directory / "root", directory / "seed"
    subprocess.run(["mount", "-o", "loop", directory / "disk.img", root], check=True)
    if seed.exists():  # only at the first boot
        subprocess.run(["cp", "-a", f"{seed}/.", root], check=True)
        shutil.rmtree(seed)
    # without a tmpfs here a reboot fails with "remove disk file system ... can not allow"
    Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run/systemd/nspawn"], check=True
    )
    while True:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
        print(f"-- systemd-nspawn ended with {status}", flush=True)
        if status != REBOOT:
            return status


if __name__ == "__main__":
    sys.exit(main())
