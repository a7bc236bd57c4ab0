"""Several databases of a server, and several servers under a prefix."""

from __future__ import annotations

import threading
from datetime import timedelta

from postgres_backup.backup import database as backup_room
from postgres_backup.catalog import journal
from postgres_backup.clock import utc_now
from postgres_backup.health import listing
from postgres_backup.job import Job
from tests.integration import engine


def test_from_one_database_to_several_and_back(new_database, new_config, s3, s3_client, bucket):
    first, second = new_database(), new_database()
    config = new_config(first, s3, bucket, **first.as_superuser)
    alone = backup_room.create_backup(Job(config.settings))
    several = config.change(DB_NAMES=f"{first.name} {second.name}")
    taken = [backup_room.create_backup(Job(several, name)) for name in (first.name, second.name)]
    assert [t["key"].split("/")[:2] for t in taken] == [
        ["postgres-backup", first.name],
        ["postgres-backup", second.name],
    ]
    assert {line["key"] for line in listing.look(several)["backups"]} == {
        alone["key"],
        *(t["key"] for t in taken),
    }
    assert {
        line["key"] for line in listing.look(several, first.name)["backups"] if line["ours"]
    } == {alone["key"], taken[0]["key"]}
    again = config.change(DB_NAMES=None)
    ours = [line["key"] for line in listing.look(again)["backups"] if line["ours"]]
    assert sorted(ours) == sorted(
        [taken[0]["key"], alone["key"]]
    )  # they may be of one second: then neither is the newer


def test_two_servers_under_one_prefix_never_take_the_same_name(
    new_database, new_config, s3, s3_client, bucket, monkeypatch
):
    """Both begin at the same second, as crons do at midnight."""
    configs = []
    for number in range(3):
        database = new_database()
        database.execute(f"CREATE TABLE t AS SELECT generate_series(1, {number + 5}) AS x")
        configs.append(
            new_config(
                database,
                s3,
                bucket,
                SERVER_NAME=f"server-{number}",
                **database.as_superuser,
            )
        )
    real = utc_now
    monkeypatch.setattr(journal, "utc_now", lambda: real() - timedelta(seconds=real().second % 5))
    taken: list[dict] = []
    threads = [
        threading.Thread(
            target=lambda config=config: taken.append(
                backup_room.create_backup(Job(config.settings))
            )
        )
        for config in configs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({t["backup"] for t in taken}) == 3
    for one in taken:
        found = engine.manifest_of(s3_client, bucket, one)
        assert (found["database"], found["rows"], found["sha256"]) == (
            one["database"],
            one["rows"],
            one["sha256"],
        )
