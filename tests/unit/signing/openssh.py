"""What OpenSSH's own program says: the other side of everything that is signed."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

from tests.conftest import missing

NAMESPACE = "postgres-backup"


def keygen(*arguments: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One call of ssh-keygen; whoever asks looks at how it ended."""
    program = shutil.which("ssh-keygen")
    if not program:
        missing("ssh-keygen is not here: apt install openssh-client")
    return subprocess.run(
        [str(program), *map(os.fspath, arguments)],
        input=data,
        capture_output=True,
        check=False,
        timeout=30,
        env={"TZ": os.environ.get("TZ", "UTC"), "LC_ALL": "C.UTF-8"},
    )


def make_key(path: Path, *more: str, kind: str = "ed25519", passphrase: str = "") -> Path:
    done = keygen("-q", "-t", kind, "-N", passphrase, "-C", "a comment", "-f", path, *more)
    assert done.returncode == 0, done.stderr
    return path


def sign(key: Path, data: bytes, *options: str) -> bytes:
    done = keygen("-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, *options, data=data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accepts(
    folder: Path,
    allowed: str | bytes,
    principal: str,
    data: bytes,
    signature: bytes,
    at: datetime | None = None,
) -> bool:
    """Whether ``ssh-keygen -Y verify`` believes it, with that file of allowed signers."""
    file, beside = folder / "trusted_signers", folder / "X.json.sig"
    file.write_bytes(allowed.encode() if isinstance(allowed, str) else allowed)
    beside.write_bytes(signature)
    when = ["-O", f"verify-time={at:%Y%m%d%H%M%S}Z"] if at else []
    done = keygen(
        *("-Y", "verify", "-f", file, "-I", principal, "-n", NAMESPACE, "-s", beside, *when),
        data=data,
    )
    good = done.stdout.startswith(b'Good "postgres-backup" signature for ')
    assert good == (done.returncode == 0), done
    return good
