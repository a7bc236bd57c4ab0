"""A restore in steps."""

from __future__ import annotations

import json

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import UsageError
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.row_counts import compare_step
from postgres_backup.restore.steps import load_step, perform_step, swap_step
from tests.integration import engine
from tests.integration.restoring import databases_of


@pytest.fixture
def filled(database):
    database.execute(
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n; "
        f'ALTER TABLE users OWNER TO "{database.owner}"'
    )
    return database


def rows(database, name: str = "") -> int:
    return database.execute("SELECT count(*) FROM users", name)[0][0]


def test_nothing_is_held_between_the_steps_and_a_side_database_that_is_gone_is_said(filled, config):
    settings = config.settings
    create_backup(Job(settings))
    filled.execute("DELETE FROM users WHERE id > 10")
    loaded = load_step(Job(settings), "latest")
    assert rows(filled) == 10
    again = restore_database(Job(settings), "latest")  # somebody else, meanwhile
    with pytest.raises(UsageError) as refused:
        swap_step(Job(settings), loaded["backup"], loaded["side_database"])
    assert "There is no side database" in refused.value.message
    assert rows(filled) == 100
    assert databases_of(filled.server) >= {again["kept_database"]}
    assert compare_step(Job(settings), again["kept_database"])["row_differences"] == [
        {"table": "public.users", "kept_rows": 10, "live_rows": 100}
    ]


def test_in_place_there_is_no_side_database(filled, config):
    settings = config.change(RESTORE_IN_PLACE="true")
    create_backup(Job(settings))
    filled.execute("DELETE FROM users WHERE id > 10")
    loaded = perform_step(Job(settings), stage="load", backup="latest")
    assert (loaded["side_database"], loaded["in_place"], loaded["changed"]) == (None, True, False)
    assert rows(filled) == 10
    done = perform_step(Job(settings), stage="swap", backup=loaded["backup"])
    assert done["kept_database"] is None
    assert rows(filled) == 100


def test_a_swap_without_a_side_database_is_in_place_only_where_that_was_asked_for(filled, config):
    create_backup(Job(config.settings))
    filled.execute("DELETE FROM users WHERE id > 10")
    for check in (True, False):
        with pytest.raises(UsageError) as refused:
            perform_step(Job(config.settings, check=check), stage="swap", backup="latest")
        assert refused.value.message == "Which side database is to be swapped in?"
        assert "in_place: true" in refused.value.hint
        assert refused.value.exit_status == 2
    assert rows(filled) == 10
    done = perform_step(Job(config.settings), stage="swap", backup="latest", in_place=True)
    assert (done["kept_database"], rows(filled)) == (None, 100)


def test_status_lists_what_restores_have_replaced(filled, config):
    create_backup(Job(config.settings))
    kept = restore_database(Job(config.settings), "latest")["kept_database"]
    (row,) = status.status(config.settings)["databases"][filled.name]["replaced"]
    assert (row["name"], row["bytes"] > 0) == (kept, True)
    assert row["by"].startswith("restore of postgres-backup-")
    assert f"replaced database {kept}, " in engine.run(config.path, "status").stdout


def test_the_swap_does_not_wait_for_the_store(filled, config, s3, s3_client, bucket):
    """An application is down meanwhile; the journal hears of it afterwards, or not at all."""
    settings = config.settings
    create_backup(Job(settings))
    filled.execute("DELETE FROM users WHERE id > 10")
    loaded = load_step(Job(settings), "latest")
    dead = config.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    done = swap_step(Job(dead), loaded["backup"], loaded["side_database"])
    assert rows(filled) == 100
    facts = {
        "stage": "note",
        "backup": done["backup"],
        "kept_database": done["kept_database"],
        "downtime_seconds": done["downtime_seconds"],
    }
    settings = config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    assert perform_step(Job(settings, check=True), **facts)["findings"] == []
    assert [key for key in engine.keys(s3_client, bucket) if "-restore." in key] == []
    noted = perform_step(Job(settings), **facts)
    assert (noted["changed"], noted["findings"]) == (False, [])
    key, signature = (key for key in engine.keys(s3_client, bucket) if "-restore." in key)
    assert signature == f"{key}.sig"
    told = json.loads(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert (told["event"], told["kept_database"], told["downtime_seconds"]) == (
        "restore",
        done["kept_database"],
        done["downtime_seconds"],
    )
