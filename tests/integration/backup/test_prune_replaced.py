"""What becomes of the databases that restores replaced."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.clock import format_timestamp, utc_now
from postgres_backup.job import Job
from postgres_backup.postgresql import replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.restore.database import restore_database
from tests.integration import engine
from tests.integration.restoring import databases_of, run_sql


@pytest.fixture
def filled(database):
    database.execute(
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n;"
        f'ALTER TABLE users OWNER TO "{database.owner}"'
    )
    return database


def age(database, settings, kept: str, days: float) -> None:
    """Make a replaced database one that was replaced so long ago."""
    with connect_maintenance(settings, database.name) as connection:
        it = replaced.choose(connection, settings, database.name, kept)
    comment = {
        "postgres-backup": "replaced",
        "database": database.name,
        "by": it.by,
        "comment": it.comment,
        "replaced_at": format_timestamp(utc_now() - timedelta(days=days)),
    }
    run_sql(
        database.server,
        "postgres",
        "COMMENT ON DATABASE {kept} IS '"
        + json.dumps(comment).replace("{", "{{").replace("}", "}}")
        + "'",
        kept=kept,
    )


def test_prune_drops_a_replaced_database_after_its_days_if_a_good_backup_is_newer(
    filled, config, s3_client, bucket
):
    settings = config.settings
    taken = create_backup(Job(settings))
    kept = restore_database(Job(settings), "latest")["kept_database"]

    stays = prune_backups(Job(settings))
    assert stays["replaced_deleted"] == []
    assert stays["replaced_kept"] == [
        {"database": kept, "reason": "replaced not more than 7 days ago"}
    ]

    age(filled, settings, kept, 8)
    would = prune_backups(Job(settings, check=True))
    assert would["changed"]
    assert would["replaced_deleted"] == [
        {"database": kept, "reason": "replaced more than 7 days ago"}
    ]
    assert kept in databases_of(filled.server)

    stem = taken["backup"].split(".")[0]
    key = f"postgres-backup/manifests/{stem}.json"
    whole = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3_client.put_object(
        Bucket=bucket, Key=key, Body=json.dumps(json.loads(whole) | {"bytes": 1}).encode()
    )  # no good backup is left
    assert prune_backups(Job(settings))["replaced_kept"] == [
        {
            "database": kept,
            "reason": "no good backup is newer than it: it may hold the only newer data",
        }
    ]
    s3_client.put_object(Bucket=bucket, Key=key, Body=whole)

    done = engine.run(config.path, "prune", "--json")
    assert engine.answer(done)["replaced_deleted"] == would["replaced_deleted"]
    assert kept not in databases_of(filled.server)
    assert not prune_backups(Job(settings))["changed"]


def test_a_server_that_is_down_is_a_finding_of_a_prune_and_no_failure(filled, config):
    create_backup(Job(config.settings))
    found = prune_backups(Job(config.change(DB_PORT=1)))
    assert [finding["code"] for finding in found["findings"]] == ["DATABASE_UNREACHABLE"]
    assert found["replaced_kept"] == found["replaced_deleted"] == []
