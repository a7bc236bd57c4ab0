"""The cluster that is archived: what PostgreSQL says of itself, over its own socket or, in a
container, as the user of the database.
"""

from __future__ import annotations

import dataclasses
import os
import re

import psycopg
from psycopg.rows import class_row

from ..errors import UsageError
from ..machine.patience import OFTEN, wait_until
from ..postgresql.connection import connect, rows
from ..settings import Settings
from . import boxed, places

_FACTS = """
SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
    CASE WHEN may.look THEN pg_catalog.current_setting('data_directory') ELSE '' END
        AS data_directory,
    CASE WHEN may.look THEN pg_catalog.current_setting('config_file') ELSE '' END AS config_file,
    (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
    pg_catalog.current_setting('archive_mode') AS archive_mode,
    pg_catalog.current_setting('archive_command') AS archive_command,
    coalesce(pg_catalog.current_setting('archive_library', true), '') AS archive_library,
    pg_catalog.current_setting('wal_level') AS wal_level,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_bytes,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user) AS is_superuser,
    may.look AS may_look
FROM (SELECT pg_catalog.pg_has_role('pg_monitor', 'USAGE') AS look) may
"""
_WAITING = """
SELECT (SELECT coalesce(sum(size), 0)::bigint FROM pg_catalog.pg_ls_waldir()) AS log_bytes,
    count(*) AS pieces,
    coalesce(max(extract(epoch FROM pg_catalog.clock_timestamp() - modification)), 0)::float8
        AS oldest_seconds
FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """``archive_mode`` and the like are what runs, not what a file says; ``segment_bytes`` is the
    size of a piece of the write-ahead log; ``may_look``: whether we are told of its folders.
    """

    major: int
    data_directory: str
    config_file: str
    system_identifier: str
    archive_mode: str
    archive_command: str
    archive_library: str
    wal_level: str
    segment_bytes: int
    is_standby: bool
    is_superuser: bool
    may_look: bool = True

    @property
    def conf_d(self) -> str:
        """The folder of further settings that Debian's ``postgresql.conf`` includes."""
        return os.path.join(os.path.dirname(self.config_file), "conf.d")

    @property
    def unit(self) -> str:
        """Its service, as Debian calls it; empty where it is none of Debian's."""
        found = re.fullmatch(
            r"/etc/postgresql/(\d+)/([A-Za-z0-9._-]+)/postgresql\.conf", self.config_file
        )
        return f"postgresql@{found[1]}-{found[2]}" if found else ""

    @property
    def archives(self) -> bool:
        """Whether what is written is handed to anybody at all."""
        return self.archive_mode != "off"


@dataclasses.dataclass(frozen=True)
class Waiting:
    """What of the log is not archived yet.

    :param log_bytes: of all that lies in ``pg_wal``.
    :param pieces: that are full and wait; ``oldest_seconds`` the first of them, 0.0 where none do.
    """

    log_bytes: int
    pieces: int
    oldest_seconds: float


def ask(settings: Settings) -> Cluster:
    """:raises DatabaseError: PostgreSQL does not answer.
    :raises UsageError: it is none that we can archive.
    """
    with connect(settings, "postgres") as connection:
        return facts_of(settings, connection)


def waiting(settings: Settings) -> Waiting:
    """:raises DatabaseError: PostgreSQL does not answer."""
    with connect(settings, "postgres") as connection:
        [found] = rows(connection, Waiting, _WAITING)
        return found


def free_bytes(settings: Settings, found: Cluster) -> int:
    """Of the disk that its log lies on.

    :raises PostgresBackupError: nobody says.
    """
    log = os.path.join(found.data_directory, "pg_wal")
    if settings.db_container:
        return boxed.free_bytes(settings, log)
    disk = os.statvfs(log)
    return disk.f_bavail * disk.f_frsize


def begins(settings: Settings, found: Cluster) -> str:
    """What lets PostgreSQL hand on what it writes, where it does not yet."""
    if settings.db_container:
        return f"It takes an image with the engine, and archive_command: {boxed.PAGE}"
    return f"It does from its next start on: systemctl restart {found.unit}"


def is_archived_by_us(settings: Settings, found: Cluster) -> bool:
    """Whether what it writes is handed to our engine, as far as its command says."""
    if settings.db_container:
        return not found.archive_library and boxed.is_push(found.archive_command)
    return places.CONFIG in found.archive_command


def require_archived(settings: Settings, found: Cluster) -> None:
    """:raises UsageError: PostgreSQL hands on nothing, or to somebody else."""
    if not found.archives:
        raise UsageError(
            "PostgreSQL hands on nothing of what it writes yet: archive_mode is off",
            begins(settings, found),
        )
    if not is_archived_by_us(settings, found):
        other = found.archive_library or found.archive_command
        raise UsageError(
            f"PostgreSQL hands on what it writes to something else: {other!r}",
            f"Set archive_command={boxed.PUSH} where the container is begun: {boxed.PAGE}"
            if settings.db_container
            else "Run `ansible-playbook setup.yml`, which says what is in the way",
        )


def facts_of(settings: Settings, connection: psycopg.Connection) -> Cluster:
    """:raises UsageError: it is none that we can archive."""
    with connection.cursor(row_factory=class_row(Cluster)) as cursor:
        found = cursor.execute(_FACTS).fetchone()
    if settings.db_container and (found is None or not found.may_look):
        raise UsageError(
            f"{settings.db_user} may not see what of PostgreSQL's log waits",
            f'As a superuser, in psql: GRANT pg_monitor TO "{settings.db_user}"',
        )
    if found is None or not (found.is_superuser or settings.db_container):
        raise UsageError(
            f"Failed to work as {settings.db_user}: it is no superuser of PostgreSQL",
            "Point-in-time recovery works as the user postgres, over the server's own socket",
        )
    if not found.unit and not settings.db_container:
        raise UsageError(
            f"PostgreSQL on port {settings.db_port} is none of Debian's packages: its settings are "
            f"in {found.config_file}",
            "Point-in-time recovery is for clusters that pg_lsclusters shows: backup_pitr: false",
        )
    if found.is_standby:
        raise UsageError(
            "PostgreSQL is a standby, and what it is given is archived by its primary",
            "Set backup_pitr on the primary, and backup_pitr: false here",
        )
    return found


def await_archived(connection: psycopg.Connection, piece: str, seconds: float) -> bool:
    """Wait until a piece of the log is in the archive, as PostgreSQL says.

    :param piece: its name, of 24 digits.
    :return: whether it came there in that time.
    """

    def is_there() -> bool:
        row = connection.execute(
            "SELECT last_archived_wal >= %s FROM pg_catalog.pg_stat_archiver", (piece,)
        ).fetchone()
        return bool(row and row[0])

    return wait_until(is_there, seconds, OFTEN)
