"""How tests get databases that a restore has replaced, without a bucket: the side database is made
by hand, and swapped in as a restore does it.
"""

from __future__ import annotations

from datetime import timedelta

import psycopg

from postgres_backup.job import Job
from postgres_backup.postgresql import replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.postgresql.databases import create_database
from postgres_backup.postgresql.facts import DatabaseFacts
from postgres_backup.restore.side_database import swap_in

#: a newest good backup that is newer than anything a test replaces
LATER = timedelta(days=3650)


class Clock:
    """The PostgreSQL server's clock, which a test may set; the time in between goes on."""

    def __init__(self, monkeypatch) -> None:
        self.offset = timedelta()
        real = replaced.server_now
        monkeypatch.setattr(
            replaced, "server_now", lambda connection: real(connection) + self.offset
        )


def side_database(job: Job, owner: str, said: str, comment: str | None = None) -> str:
    """A side database with a table ``day``, in which that text is; its name."""
    with connect_maintenance(job.settings, job.database) as connection:
        side = replaced.side_name(connection, job.database, replaced.server_now(connection))
        create_database(
            connection,
            side,
            DatabaseFacts(owner),
            lambda: replaced.side_comment(connection, side, job.database, "X", comment),
        )
    fill(job, side, said)
    return side


def fill(job: Job, name: str, said: str) -> None:
    """The table ``day`` with one row, made by the settings' user."""
    settings = job.settings
    with psycopg.connect(
        host=settings.db_host,
        port=settings.db_port,
        user=settings.db_user,
        password=settings.db_password,
        dbname=name,
        autocommit=True,
    ) as connection:
        connection.execute("CREATE TABLE day (said text)")
        connection.execute("INSERT INTO day VALUES (%s)", (said,))


def restore(job: Job, owner: str, said: str, comment: str | None = None) -> str:
    """Make what is live one that a restore has replaced; the name under which it is kept."""
    kept = swap_in(job, side_database(job, owner, said, comment)).kept_database
    assert kept
    return kept
