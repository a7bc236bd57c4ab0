"""What a killed run has left on the server: ended by the next one, and nobody else's."""

from __future__ import annotations

import contextlib
import re
import threading

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from tests.integration import engine
from tests.waiting import wait_for


@pytest.fixture
def busy(database):
    """A table that somebody has locked, until the test lets it go."""
    database.execute("CREATE TABLE busy AS SELECT 1 AS x")
    with psycopg.connect(database.server.dsn(database.name)) as holder:
        holder.execute("LOCK TABLE busy")
        yield holder


def waiting(database) -> dict[int, str]:
    """pg_dump's sessions that wait for a lock: process -> the name that it gave itself.

    Not a question about sizes, which waits for half a second and ends by itself.
    """
    return dict(
        database.execute(
            "SELECT pid, application_name FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE 'LOCK TABLE %'"
        )
    )


def test_a_pg_dump_that_waits_for_a_lock_ends_with_the_next_backup(config, database, busy):
    config.change(**database.as_superuser)
    with engine.started(config.path, "backup") as process:
        wait_for("pg_dump to queue", lambda: waiting(database))
        process.kill()
        process.communicate()
    [(left, name)] = waiting(database).items()
    assert re.fullmatch(rf"postgres-backup test-server/{database.name[:9]} \w{{16}}\.\w{{8}}", name)
    with contextlib.ExitStack() as stack:
        # another server's, one whose mark only looks alike, and an application's
        mark = name.split()[-1].partition(".")[0]
        others = [
            f"postgres-backup other/{database.name[:9]} {'0' * 16}.00000000",
            f"postgres-backup {mark}.00000000",
            "app",
        ]
        ours = {"user": database.server.superuser, "password": database.server.password}
        kept = [
            stack.enter_context(
                psycopg.connect(database.dsn(), application_name=other, autocommit=True, **ours)
            )
            for other in others
        ]
        # and another user who calls himself so
        kept.append(
            stack.enter_context(
                psycopg.connect(
                    database.dsn(), application_name=name[:-8] + "11111111", autocommit=True
                )
            )
        )
        taken = []
        second = threading.Thread(
            target=lambda: taken.append(create_backup(Job(config.settings))), daemon=True
        )
        second.start()
        wait_for("the dead run's pg_dump to go", lambda: left not in waiting(database))
        wait_for("the new one to queue", lambda: waiting(database))
        busy.rollback()
        second.join(60)
        told = [f["message"] for f in taken[0]["findings"] if f["code"] == "SESSION_LEFT"]
        stranger = kept[-1].info.backend_pid
        ended = "a run that was killed had left sessions on the server; they were ended"
        kept_on = (
            f"the session {stranger} of the user {database.owner} bears the name of a run of ours "
            "that is dead, and is not ended, for it is another user's. As a superuser: "
            f"SELECT pg_terminate_backend({stranger});"
        )
        assert told == [f"{ended} (process {left})", kept_on]
        for connection in kept:
            connection.execute("SELECT 1")
    wait_for("its pg_dump to end", lambda: not engine.programs_at_work(database.server))
    again = create_backup(Job(config.settings))
    assert "SESSION_LEFT" not in [found["code"] for found in again["findings"]]
