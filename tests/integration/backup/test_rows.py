"""Rows to nothing, on a real server: told by the backup itself, and held, until they are back or
somebody says that it is meant.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.health import alarms, status
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.run import run_night
from postgres_backup.restore.steps import perform_step
from tests.integration import engine


@pytest.fixture
def shop(database, new_config, s3, bucket):
    """``shipment`` with 20,000 rows, and a table that stays; and the config."""
    database.execute("CREATE TABLE shipment AS SELECT generate_series(1, 20000) AS id")
    database.execute("CREATE TABLE country AS SELECT generate_series(1, 3) AS id")
    return database, new_config(database, s3, bucket, **database.as_superuser)


def told(result: dict) -> list[str]:
    return [f["message"] for f in result["findings"] if f["code"] == "ROWS_GONE"]


def open_now(config) -> list[str]:
    return [alarm["code"] for alarm in alarms.open_alarms(config.settings)]


def test_none_of_twenty_thousand_rows(shop, s3_client, bucket):
    database, config = shop
    first = create_backup(Job(config.settings))
    assert (first["rows"], told(first), open_now(config)) == (20_003, [], [])
    database.execute("TRUNCATE shipment")
    done = engine.run(config.path, "backup", "--json")
    assert done.returncode == 0, done.stderr
    empty = engine.answer(done)
    [message] = told(empty)
    assert f"public.shipment 20,000 -> 0, last in {first['backup']}" in message
    assert "ROWS_GONE" in done.stderr
    assert open_now(config) == ["ROWS_GONE"]
    seen = status.status(config.settings)
    assert (seen["healthy"], told(seen)) == (False, [message])
    assert seen["databases"][database.name]["last"]["backup"] == empty["backup"], "it is good"

    # at night it is told again, and once: it is no trend besides
    night = run_night(config.settings, Progress())
    assert [f["code"] for f in night["findings"]] == ["ROWS_GONE"]
    assert open_now(config) == ["ROWS_GONE"]

    # what the message says brings them back, and the next backup ends the alarm
    typed = f"restore {first['backup']} --database {database.name} --tables public.shipment"
    assert typed in message
    perform_step(Job(config.settings), backup=first["backup"], tables=["public.shipment"])
    back = create_backup(Job(config.settings))
    assert (back["rows"], told(back), open_now(config)) == (20_003, [], [])


def test_the_last_backup_with_the_rows_stays_until_somebody_says_that_it_is_meant(
    shop, s3_client, bucket
):
    database, config = shop
    old = [
        engine.forge(
            s3_client,
            bucket,
            datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=day),
            database=database.name,
            change={
                "rows": 203,
                "tables": {
                    "public.country": {"rows": 3, "bytes": 6, "sha256": "0" * 64},
                    "public.dropped": {"rows": rows, "bytes": 400, "sha256": "1" * 64},
                },
            },
        )
        for day, rows in ((20, 200), (15, 200), (14, 0))
    ]
    taken = create_backup(Job(config.settings))
    [message] = told(taken)
    assert f"public.dropped 200 -> 0 (the table is gone), last in {old[1]}" in message
    pruned = prune_backups(Job(config.settings), allow_many=True)
    assert [line["backup"] for line in pruned["deleted"]] == [old[2], old[0]]
    reasons = {line["backup"]: line["reason"] for line in pruned["kept"]}
    assert reasons[old[1]] == "the last backup that has the rows of public.dropped"

    said = create_backup(Job(config.settings), emptied=["dropped", "country"])
    assert [f["code"] for f in said["findings"]] == ["NOT_EMPTIED"]
    assert open_now(config) == []
    assert status.status(config.settings)["healthy"]
    pruned = prune_backups(Job(config.settings), allow_many=True)
    assert [line["backup"] for line in pruned["deleted"]] == [old[1]]


def test_a_database_without_any_row(shop):
    database, config = shop
    first = create_backup(Job(config.settings))
    database.execute("DROP TABLE shipment; TRUNCATE country")
    night = run_night(config.settings, Progress())
    [message] = told(night)
    assert "the whole database 20,003 -> 0" in message
    assert f"restore {first['backup']} --database {database.name}. If" in message
    assert "public.shipment 20,000 -> 0 (the table is gone)" in message
    assert open_now(config) == ["ROWS_GONE"]
    done = engine.run(config.path, "backup", "--emptied", "all", "--json")
    assert (engine.answer(done)["findings"], open_now(config)) == ([], [])
