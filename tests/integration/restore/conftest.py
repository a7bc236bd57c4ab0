"""Two databases as a repair of single tables has them: a side database and a live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.postgresql.connection import connect
from postgres_backup.restore import table_rows
from postgres_backup.restore.table import Table, look
from tests.integration.restoring import as_superuser, run_sql


class Pair:
    """A side database and a live one, both open as :mod:`postgres_backup.restore.tables` does."""

    def __init__(self, side: psycopg.Connection, live: psycopg.Connection) -> None:
        self.side, self.live = side, live
        name = BackupName.parse("postgres-backup-2026-01-27_00-00-00.sql.gz")
        assert name is not None
        self.backup = Backup(name, Layout(""), 1)

    def look(self, name: str, number: int = 0) -> Table:
        return look(self.side, self.live, self.backup, number, name)


@pytest.fixture
def pair(new_database, new_config, s3, bucket) -> Iterator[Callable[..., Pair]]:
    """``pair(statements, more)``: both are made by the statements, the live one by more on top."""
    side, live = new_database(), new_database()
    settings = as_superuser(new_config(live, s3, bucket), live.server)
    with (
        connect(settings, side.name) as there,
        connect(settings, live.name, "READ_COMMITTED") as here,
    ):

        def make(statements: tuple[str, ...], *more: str) -> Pair:
            for made in (side, live):
                run_sql(made.server, made.name, *statements)
            run_sql(live.server, live.name, *more)
            for connection in (there, here):
                connection.execute(table_rows.WRITTEN_ALIKE)
            return Pair(there, here)

        yield make
