"""Tables that go while a backup begins (queues, the partitions of yesterday), and more tables than
the server has locks for.
"""

from __future__ import annotations

import threading

import psycopg
import pytest

from postgres_backup.backup.database import MOST_DROPPED, create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql import rewritten
from postgres_backup.postgresql.connection import connect, value
from tests.integration import engine
from tests.waiting import wait_for


class Told(Progress):
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


class Cleaner(threading.Thread):
    """Drops tables one after the other, each when pg_dump waits for its lock on it."""

    def __init__(self, database, tables) -> None:
        super().__init__(daemon=True)
        self._database, self._tables = database, tables
        self._sessions = [psycopg.connect(database.dsn()) for _ in tables]
        for session, table in zip(self._sessions, tables, strict=True):
            session.execute(f"DROP TABLE {table}")
        self.start()

    def run(self) -> None:
        for session in self._sessions:
            wait_for("pg_dump at the lock", lambda: self._waiting(), 60, interval=0.01)
            pid = self._waiting()
            with session:  # commits and closes
                pass
            wait_for("pg_dump to give up", lambda before=pid: self._waiting() != before, 60)

    def end(self) -> None:
        self.join(60)
        for session in self._sessions:
            session.close()

    def _waiting(self) -> int:
        query = """SELECT coalesce(max(pid), 0) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name LIKE 'postgres-backup%'
                     AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"""
        return self._database.execute(query)[0][0]


@pytest.fixture
def queues(database, config):
    """A database with tables that come and go."""
    names = [f"queue_{number}" for number in range(MOST_DROPPED + 1)]
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
        for name in names:
            connection.execute(f"CREATE TABLE {name} (id int)")
    return names


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_the_dump_begins_anew_without_what_was_dropped(
    queues, database, config, form, s3_client, bucket
):
    told = Told()
    cleaner = Cleaner(database, queues[:MOST_DROPPED])
    taken = create_backup(Job(config.change(BACKUP_FORMAT=form), progress=told))
    cleaner.end()
    assert (taken["rows"], taken["tables"], taken["findings"]) == (1, 2, [])
    again = [line for line in told.steps if "begins anew" in line]
    assert len(again) == MOST_DROPPED
    assert queues[0] in again[0]
    known = engine.manifest_of(s3_client, bucket, taken)["tables"]
    assert sorted(known) == ["public.kept", f"public.{queues[-1]}"]
    backups = [key for key in engine.keys(s3_client, bucket) if key.count("/") == 1]
    assert backups == [taken["key"]]


def test_it_does_not_begin_anew_for_ever(queues, database, config, s3_client, bucket):
    cleaner = Cleaner(database, queues)
    with pytest.raises(DatabaseError, match=queues[-1]) as caught:
        create_backup(Job(config.settings))
    cleaner.end()
    assert "drops tables while the backup begins" in caught.value.hint
    engine.nothing_left(s3_client, bucket, config.settings.state_dir)


def test_what_was_dropped_is_seen_whatever_language_the_server_speaks(queues, database, config):
    with connect(config.settings, database.name, "REPEATABLE_READ") as snapshot:
        assert value(snapshot, int, "SELECT count(*) FROM pg_class") > 0
        assert rewritten.dropped_since(snapshot, config.settings, database.name) == []
        database.execute(f"DROP TABLE {queues[0]}")
        gone = rewritten.dropped_since(snapshot, config.settings, database.name)
        assert gone == [f"public.{queues[0]}"]


def test_too_few_locks_are_explained(database, config, s3_client, bucket):
    """Somebody holds all that the server has room for."""
    tables = " ".join(f"CREATE TABLE t{number} (i int);" for number in range(150))
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute(tables)
        with pytest.raises(psycopg.errors.OutOfMemory):
            connection.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 10000000) n")
        # a little room: for looking around, not for a lock on every table
        connection.execute("SELECT pg_advisory_unlock(n) FROM generate_series(1, 60) n")
        with pytest.raises(DatabaseError, match="out of shared memory") as caught:
            create_backup(Job(config.settings))
    assert "max_locks_per_transaction" in caught.value.hint
    engine.nothing_left(s3_client, bucket, config.settings.state_dir)
