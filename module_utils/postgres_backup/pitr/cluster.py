"""The cluster that is archived: what PostgreSQL says of itself over its own socket."""

from __future__ import annotations

import dataclasses
import os
import re

import psycopg
from psycopg.rows import class_row

from ..errors import UsageError
from ..machine.patience import OFTEN, wait_until
from ..postgresql.connection import connect
from ..settings import Settings

_FACTS = """
SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
    pg_catalog.current_setting('data_directory') AS data_directory,
    pg_catalog.current_setting('config_file') AS config_file,
    (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
    pg_catalog.current_setting('archive_mode') AS archive_mode,
    pg_catalog.current_setting('archive_command') AS archive_command,
    coalesce(pg_catalog.current_setting('archive_library', true), '') AS archive_library,
    pg_catalog.current_setting('wal_level') AS wal_level,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_bytes,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user) AS is_superuser
"""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """``archive_mode`` and the like are what runs, not what a file says; ``segment_bytes`` is the
    size of a piece of the write-ahead log.
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


def ask(settings: Settings) -> Cluster:
    """:raises DatabaseError: PostgreSQL does not answer.
    :raises UsageError: it is none that we can archive.
    """
    with connect(settings, "postgres") as connection:
        return facts_of(settings, connection)


def facts_of(settings: Settings, connection: psycopg.Connection) -> Cluster:
    """:raises UsageError: it is none that we can archive."""
    with connection.cursor(row_factory=class_row(Cluster)) as cursor:
        found = cursor.execute(_FACTS).fetchone()
    if found is None or not found.is_superuser:
        raise UsageError(
            f"Failed to work as {settings.db_user}: it is no superuser of PostgreSQL",
            "Point-in-time recovery works as the user postgres, over the server's own socket",
        )
    if not found.unit:
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
