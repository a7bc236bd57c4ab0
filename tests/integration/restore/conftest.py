"""Two databases as a repair of single tables has them: a side database and a live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql import programs
from postgres_backup.postgresql.connection import connect
from postgres_backup.restore import table_rows
from postgres_backup.restore.repair import Repair, repair
from postgres_backup.restore.table import Table, look
from postgres_backup.restore.table_definitions import run_definitions
from tests.integration.restoring import as_superuser, run_sql


class Pair:
    """A side database and a live one, both open as :mod:`postgres_backup.restore.tables` does.

    ``role``: of the test's own, without any right; ``dsn``: of the live one, as superuser.
    """

    def __init__(
        self, side: psycopg.Connection, live: psycopg.Connection, settings, role: str, dsn: str
    ) -> None:
        self.side, self.live, self.settings = side, live, settings
        self.role, self.dsn = role, dsn
        name = BackupName.parse("postgres-backup-2026-01-27_00-00-00.sql.gz")
        assert name is not None
        self.backup = Backup(name, Layout(""), 1)

    def look(self, name: str, number: int = 0) -> Table:
        return look(self.side, self.live, self.backup, number, name)

    def repair(self, *names: str, check: bool = False, progress: Progress | None = None):
        """Bring tables back: what changed, table by table, and the findings."""
        tools = programs.find(self.settings, self.live.info.server_version // 10_000)

        def define(made, section):
            run_definitions(tools, self.side.info.dbname, self.live, made, section)

        what = Repair(
            self.side, self.live, self.backup, define, progress or Progress(), check=check
        )
        try:
            changes, findings = repair(what, names)
        finally:
            self.live.rollback()
        told = {
            change.table.label: (change.inserted, change.updated, change.deleted)
            for change in changes
        }
        return told, findings

    def ask(self, query: str) -> list[tuple]:
        """Of the live database, in a transaction of its own."""
        try:
            return self.live.execute(query).fetchall()
        finally:
            self.live.rollback()


@pytest.fixture
def pair(request, new_database, new_config, s3, bucket) -> Iterator[Callable[..., Pair]]:
    """``pair(statements, more)``: both are made by the statements, the live one by more on top.

    A test may say by ``indirect`` with which options of CREATE DATABASE.
    """
    options = getattr(request, "param", "")
    side, live = new_database(options=options), new_database(options=options)
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
                connection.execute(table_rows.EVERY_ROW)
            return Pair(there, here, settings, live.owner, live.server.dsn(live.name))

        yield make
