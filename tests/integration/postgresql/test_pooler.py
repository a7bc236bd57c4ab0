"""A pooler between us and the server: refused before anything is said that the application's
sessions would keep.
"""

from __future__ import annotations

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import PoolerError
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.postgresql import server
from postgres_backup.postgresql.connection import connect
from tests.conftest import missing
from tests.integration import engine
from tests.integration.restoring import run_sql
from tests.services.pooler import PROGRAM, pooler


@pytest.fixture(params=["", "ignore_startup_parameters = options,extra_float_digits"])
def pooled(request, database):
    """The port of a pooler that takes no startup options, or leaves them out."""
    if PROGRAM is None:
        missing("pgbouncer is not installed (sudo apt-get install pgbouncer)")
    made = database.server
    run_sql(
        made,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE t (i int)",
        owner=database.owner,
    )
    where = (made.host, made.port, database.owner, database.password)
    with pooler(*where, request.param) as port:
        yield port


def application_works(database, port: int) -> bool:
    dsn = database.dsn().replace(f"port={database.server.port}", f"port={port}")
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_pooler_is_refused_and_the_application_never_notices(
    pooled, database, config, s3_client, bucket
):
    config.change(DB_PORT=pooled)
    assert application_works(database, pooled)
    done = engine.run(config.path, "backup")
    engine.failed_well(done, 2, "pooler", "backup_db_port", "5432")
    for ask in (server.ask_server, lambda settings: create_backup(Job(settings))):
        with pytest.raises(PoolerError, match="a pooler"):
            ask(config.settings)
    looked = status.status(config.settings)  # judges the bucket all the same
    assert "NO_BACKUP" in [found["code"] for found in looked["findings"]]
    assert "a pooler" in "\n".join(status.lines(looked))
    assert all(application_works(database, pooled) for _ in range(3))
    engine.nothing_left(s3_client, bucket, config.settings.state_dir)
    with connect(config.change(DB_PORT=database.server.port), database.name) as connection:
        assert connection.info.backend_pid > 0
