"""What of an application a rebuilt server needs beside its database: what docker compose reads of
its project (compose files, ``.env``, ``env_file``, secrets, configs, what images are built from),
and what its containers keep on this server's disk. Docker is asked, and git which of it the
application's repository brings.
"""

from __future__ import annotations

import glob
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import PostgresBackupError
from .compose import an_object, docker

#: what docker compose reads of a project, where it is there
_COMPOSE = tuple(
    f"{stem}{override}.{ending}"
    for stem in ("compose", "docker-compose")
    for override in ("", ".override")
    for ending in ("yaml", "yml")
)
_SECRETS = (".env",)
#: what the distribution, the machine or Docker itself brings
_OF_THE_MACHINE = tuple(
    "/bin /boot /dev /etc/group /etc/hostname /etc/hosts /etc/localtime /etc/machine-id "
    "/etc/os-release /etc/passwd /etc/resolv.conf /etc/ssl/certs /etc/timezone /lib /lib64 /proc "
    "/run /sbin /sys /usr /var/log /var/run".split()
)
#: it holds what Docker itself brings, and volumes
_DOCKER = "/var/lib/docker"
#: files that are looked at to see that a folder has any
_MOST_LOOKED = 1000


class Need(NamedTuple):
    """A path; ``grows``: what comes into it is made here, and in no repository."""

    path: str
    grows: bool


def needs(
    directory: str,
    composed: bool,
    there: Sequence[Mapping[str, object]],
    repository: bool,
) -> list[str]:
    """Paths that are on this server, and that its repository does not bring.

    :param directory: of the application.
    :param composed: it is a docker compose project.
    :param there: its containers, as ``compose.containers`` tells of them.
    :param repository: a rebuild clones it into the directory.
    :raises PostgresBackupError: Docker or git does not answer.
    """
    found = _of_the_folder(directory)
    if composed:
        words = ("compose", "config", "--no-interpolate", "--format", "json")
        found += of_the_project(an_object(json.loads(docker(directory, *words))))
        found += of_the_containers(there, directory)
    kept: dict[str, Need] = {}
    for need in found:
        path = os.path.normpath(need.path)
        if _is_worth_it(path):
            grows = need.grows or (path in kept and kept[path].grows)
            kept[path] = Need(path, grows)
    wanted = [need for need in kept.values() if not _is_below(need.path, kept)]
    if repository:
        return [path for need in wanted for path in _not_brought(directory, need)]
    return [need.path for need in wanted]


def _of_the_folder(directory: str) -> list[Need]:
    """What docker compose reads whoever starts it, and what other applications call so too."""
    names = [name for name in (*_COMPOSE, *_SECRETS) if os.path.exists(f"{directory}/{name}")]
    return [Need(f"{directory}/{name}", False) for name in names]


def of_the_project(project: Mapping[str, object]) -> list[Need]:
    """From ``docker compose config --no-interpolate``. Pure.

    What has a variable in it the containers tell.
    """
    found: list[Need] = []
    for one in an_object(project.get("services")).values():
        service = an_object(one)
        files = service.get("env_file")
        for file in files if isinstance(files, list) else [files]:
            path = an_object(file).get("path") if isinstance(file, dict) else file
            found.append(Need(str(path or ""), False))
        build = service.get("build")
        context = build if isinstance(build, str) else an_object(build).get("context")
        found.append(Need(str(context or ""), False))
        mounts = service.get("volumes")
        for mount in mounts if isinstance(mounts, list) else ():
            if an_object(mount).get("type") == "bind":
                found.append(Need(str(an_object(mount).get("source")), True))
    for kind in ("secrets", "configs"):
        for one in an_object(project.get(kind)).values():
            found.append(Need(str(an_object(one).get("file") or ""), False))
    return [need for need in found if os.path.isabs(need.path) and "$" not in need.path]


def of_the_containers(there: Sequence[Mapping[str, object]], directory: str) -> list[Need]:
    """From what Docker tells of the containers: the files they were made from, and what they keep
    on this disk. Pure.
    """
    found: list[Need] = []
    for one in there:
        files = f"{one.get('files') or ''},{one.get('env_files') or ''}".split(",")
        found += [Need(os.path.join(directory, file), False) for file in files if file]
        mounts = one.get("mounts")
        for told in mounts if isinstance(mounts, list) else ():
            mount = an_object(told)
            # a volume without a name goes with its container
            named = not re.fullmatch("[0-9a-f]{64}", str(mount.get("Name") or ""))
            if mount.get("Type") in ("bind", "volume") and named:
                found.append(Need(str(mount.get("Source") or ""), True))
    return [need for need in found if os.path.isabs(need.path)]


def _is_worth_it(path: str) -> bool:
    """Whether a rebuilt server would miss what lies there."""
    volume = path.startswith(f"{_DOCKER}/volumes/")
    system = path in ("/", "/tmp", "/var/tmp") or any(
        f"{path}/".startswith(f"{one}/") for one in _OF_THE_MACHINE
    )
    if system or (f"{path}/".startswith(f"{_DOCKER}/") and not volume):
        return False
    if f"{_DOCKER}/".startswith(f"{path}/"):  # the whole of /var
        return False
    try:
        kind = os.stat(path).st_mode
    except OSError:  # it is not there, and nobody misses it
        return False
    return stat.S_ISREG(kind) or (stat.S_ISDIR(kind) and _holds_files(path))


def _holds_files(folder: str) -> bool:
    """Whether it holds any, and they are not a PostgreSQL's: those are in the backup."""
    name = glob.escape(folder)
    if any(glob.glob(f"{name}/{deep}PG_VERSION") for deep in ("", "*/", "*/*/")):
        return False
    looked = 0
    for above, _folders, files in os.walk(folder):
        for file in files:
            looked += 1
            if looked > _MOST_LOOKED or os.path.isfile(os.path.join(above, file)):
                return True
    return False


def _is_below(path: str, known: Iterable[str]) -> bool:
    return any(path != above and f"{path}/".startswith(f"{above}/") for above in known)


def _not_brought(directory: str, need: Need) -> list[str]:
    """What of a path a clone of the repository would not have."""
    if not _is_below(need.path, [directory]) and need.path != directory:
        return [need.path]
    tracked = _git(directory, "ls-files", "-z", "--", need.path)
    if not tracked:
        return [need.path]
    # what git ignores in the sources of an image is made anew with it
    hidden = ["--ignored"] if need.grows else []
    words = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", *hidden)
    told = _git(directory, *words, "--", need.path).split("\0")
    top = _git(directory, "rev-parse", "--show-toplevel").rstrip("\n")
    return [os.path.normpath(os.path.join(top, line[3:])) for line in told if line]


def _git(directory: str, *words: str) -> str:
    """Asked as the owner of the folder: what its config names runs as nobody else."""
    owner, root = os.stat(directory), os.geteuid() == 0
    try:
        done = subprocess.run(
            ["git", "-C", directory, *words],
            env={"PATH": os.environ.get("PATH", os.defpath), "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=60,
            check=False,
            user=owner.st_uid if root else None,
            group=owner.st_gid if root else None,
            extra_groups=[] if root else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostgresBackupError(
            f"Failed to ask git what app_repo brings: {error}",
            "`ansible-playbook setup.yml` installs git",
        ) from None
    if done.returncode:
        why = " ".join(done.stderr.decode(errors="replace").split())
        raise PostgresBackupError(
            f"Failed to ask git what app_repo brings: {why}",
            f"Is {directory} its checkout? git -C {directory} status",
        )
    return done.stdout.decode("utf-8", "surrogateescape")
