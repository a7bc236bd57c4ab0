"""The cluster, whether it runs or not: what does not run is known by what Debian says of it, and by
its own files.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess

from ..errors import DatabaseError, UsageError
from ..settings import Settings
from . import cluster as clusters
from . import engine
from .cluster import Cluster

#: PostgreSQL's own size of a piece of the log, where nobody can be asked
_SEGMENT = 16 << 20
_PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A line of ``pg_lsclusters -h``."""

    major: int
    name: str
    port: int
    status: str
    directory: str


def ask(settings: Settings) -> tuple[Cluster, bool]:
    """The cluster, and whether it runs; one in a container that does not is asked for nothing.

    :raises DatabaseError: it runs and does not answer.
    :raises UsageError: there is none at that port.
    """
    try:
        return clusters.ask(settings), True
    except DatabaseError:
        if settings.db_container:
            raise
        found = next((one for one in _listed() if one.port == settings.db_port), None)
        if found is None or not found.status.startswith("down"):
            raise
    said = _control_data(found.major, found.directory)
    return (
        Cluster(
            major=found.major,
            data_directory=found.directory,
            config_file=f"/etc/postgresql/{found.major}/{found.name}/postgresql.conf",
            system_identifier=said.get("Database system identifier", ""),
            archive_mode="off",
            archive_command="",
            archive_library="",
            wal_level="",
            segment_bytes=_segment_bytes(said),
            is_standby=False,
            is_superuser=True,
        ),
        False,
    )


def timeline(cluster: Cluster) -> int:
    """Of a cluster that does not run; 0: nobody knows."""
    said = _control_data(cluster.major, cluster.data_directory)
    return _number(said.get("Latest checkpoint's TimeLineID", ""))


def segment_bytes(major: int, directory: str) -> int:
    """How large a piece of the log of a cluster is that does not run."""
    return _segment_bytes(_control_data(major, directory))


def read_segment_bytes(told: str) -> int:
    """The same of what ``pg_controldata`` has printed."""
    return _segment_bytes(_read(told))


def _segment_bytes(said: dict[str, str]) -> int:
    return _number(said.get("Bytes per WAL segment", "")) or _SEGMENT


def other_major(port: int, major: int) -> int:
    """The major of a cluster at that port that is of another; 0: there is none.

    :raises UsageError: nobody knows.
    """
    found = (one.major for one in _listed() if one.port == port and one.major != major)
    return next(found, 0)


def _listed() -> list[_Listed]:
    words = [line.split(maxsplit=6) for line in _output("/usr/bin/pg_lsclusters", "-h").split("\n")]
    return [
        _Listed(int(one[0]), one[1], int(one[2]), one[3], one[5])
        for one in words
        if len(one) >= 6 and one[0].isdigit() and one[2].isdigit()
    ]


def _control_data(major: int, directory: str) -> dict[str, str]:
    """Empty where its files are gone, or damaged."""
    return _read(_output(f"/usr/lib/postgresql/{major}/bin/pg_controldata", "-D", directory))


def _read(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([^:\n]+):\s+(.*)$", text, re.MULTILINE))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _output(*argv: str) -> str:
    """What a program prints that only looks; empty where it cannot.

    :raises UsageError: there is no such program.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env=engine.environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"Failed to run {argv[0]}: {error}",
            "Point-in-time recovery is for PostgreSQL of Debian's packages: is it installed whole?",
        ) from None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
