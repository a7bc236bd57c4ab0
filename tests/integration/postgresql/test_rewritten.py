"""Tables that were emptied and filled again while a dump waited for its lock on them."""

from __future__ import annotations

import threading

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.postgresql.connection import connect, value
from postgres_backup.postgresql.rewritten import rewritten_since
from postgres_backup.restore.database import restore_database
from tests.waiting import wait_for

ROWS = 2000
FILL = f"INSERT INTO imported SELECT n, 'of the night' FROM generate_series(1, {ROWS}) n"


@pytest.fixture
def imports(database, config):
    """A database whose table is filled anew by an import."""
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE imported (id int PRIMARY KEY, body text)")
        connection.execute('CREATE TABLE "Other one" AS SELECT 1 AS id')
        connection.execute(FILL)
    return database


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("TRUNCATE imported", ["public.imported"]),
        ('TRUNCATE imported, "Other one"', ['public."Other one"', "public.imported"]),
        ("ALTER TABLE imported ALTER id TYPE bigint", ["public.imported"]),
        ("ALTER TABLE imported ADD COLUMN late int DEFAULT 7", []),
        ("DELETE FROM imported", []),
        ("CREATE TABLE newer AS SELECT 1 AS x", []),
        ('DROP TABLE "Other one"', []),
    ],
)
def test_what_has_another_file_than_the_snapshot_shows(imports, config, statement, seen):
    with connect(config.settings, imports.name, "REPEATABLE_READ") as snapshot:
        assert value(snapshot, int, "SELECT count(*) FROM pg_class") > 0
        imports.execute(statement)
        assert sorted(rewritten_since(snapshot, config.settings, imports.name)) == seen


def test_a_table_is_called_as_in_the_dump_whatever_the_database_quotes(imports, config):
    imports.execute(f'ALTER DATABASE "{imports.name}" SET quote_all_identifiers TO on')
    with connect(config.settings, imports.name, "REPEATABLE_READ") as snapshot:
        assert value(snapshot, int, "SELECT count(*) FROM pg_class") > 0
        imports.execute("TRUNCATE imported")
        assert rewritten_since(snapshot, config.settings, imports.name) == {"public.imported"}


def waiting_for_a_lock(imports) -> bool:
    query = """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'postgres-backup%'
                 AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"""
    return imports.execute(query)[0][0] > 0


class Import(threading.Thread):
    """Empties the table and fills it again in one transaction, and commits when it is told to."""

    def __init__(self, imports) -> None:
        super().__init__()
        self._dsn, self.may_end, self.filled = imports.dsn(), threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute("TRUNCATE imported")
            connection.execute(FILL)
            self.filled.set()
            self.may_end.wait(60)

    def end(self) -> None:
        self.may_end.set()
        self.join()


class Backup(threading.Thread):
    def __init__(self, settings) -> None:
        super().__init__()
        self._settings = settings
        self.start()

    def run(self) -> None:
        self.result = create_backup(Job(self._settings))


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_the_dump_begins_anew(imports, config, form):
    first = Import(imports)
    assert first.filled.wait(30)
    backup = Backup(config.change(BACKUP_FORMAT=form))
    wait_for("pg_dump at the lock", lambda: waiting_for_a_lock(imports))
    first.end()
    backup.join()
    assert (backup.result["rows"], backup.result["findings"]) == (ROWS + 1, [])


def test_twice_in_one_backup_is_told_and_does_not_count_as_good(imports, config):
    settings = config.settings
    first = Import(imports)
    assert first.filled.wait(30)
    backup = Backup(settings)
    wait_for("pg_dump at the lock", lambda: waiting_for_a_lock(imports))
    second = Import(imports)  # waits behind the dump
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    wait_for("the second import behind the dump", lambda: imports.execute(query)[0][0] > 1)
    first.end()
    assert second.filled.wait(30)  # the first dump has given up
    wait_for("pg_dump at the lock", lambda: waiting_for_a_lock(imports))
    second.end()
    backup.join()
    result = backup.result
    assert [found["code"] for found in result["findings"]] == ["TABLES_REWRITTEN"]
    assert "public.imported" in result["findings"][0]["message"]
    assert result["rows"] == 1

    looked = status.status(settings)
    assert not looked["healthy"]
    assert {found["code"] for found in looked["findings"]} == {"NO_BACKUP", "BACKUP_BAD"}
    with pytest.raises(BadBackupError, match=r"public\.imported"):
        restore_database(Job(settings), "latest")
    back = restore_database(Job(settings), result["backup"])
    assert "TABLES_REWRITTEN" in [found["code"] for found in back["findings"]]

    imports.execute("INSERT INTO imported VALUES (1, 'x')")
    assert create_backup(Job(settings))["findings"] == []
    assert status.status(settings)["healthy"] is False  # the bad one is still told of
    assert status.status(settings)["databases"][imports.name]["last"]["rows"] == 2
