"""A copy of a backup beside the live database, under a name of its own."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune_replaced import prune_replaced
from postgres_backup.clock import utc_now
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.restore import copy as copying
from postgres_backup.restore import steps
from tests.integration import engine
from tests.integration.replacing import Clock
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql


@pytest.fixture
def filled(database):
    database.execute(
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n;"
        f'ALTER TABLE users OWNER TO "{database.owner}"'
    )
    run_sql(database.server, "postgres", "COMMENT ON DATABASE {name} IS 'ours'", name=database.name)
    return database


@pytest.fixture
def look(filled) -> str:
    """A name that no other test has given."""
    return f"{filled.name} to look"


def prune(job: Job) -> list[str]:
    """What a prune drops."""
    return [line["database"] for line in prune_replaced(job, utc_now()).deleted]


def test_a_copy_stands_beside_the_live_database_and_goes_after_its_days(
    filled, config, look, monkeypatch, s3_client, bucket
):
    job = Job(config.settings)
    taken = create_backup(job)
    then = rows_of(filled.server, filled.name)
    filled.execute("DELETE FROM users WHERE id > 10")
    there, now = databases_of(filled.server), rows_of(filled.server, filled.name)

    ask = ("restore", "latest", "--as", look, "--keep-days", "2")
    would = engine.run(config.path, *ask, "--check")
    assert f"{look} would be made beside {filled.name}" in would.stdout
    assert databases_of(filled.server) == there

    done = engine.answer(engine.run(config.path, *ask, "--json"))
    assert (done["copy_database"], done["keep_days"], done["rows"]) == (look, 2, 100)
    assert (done["backup"], done["replaces"]) == (taken["backup"], False)
    assert databases_of(filled.server) == there | {look}
    assert rows_of(filled.server, look) == then
    assert rows_of(filled.server, filled.name) == now

    seen = status.status(config.settings)
    [listed] = seen["databases"][filled.name]["copies"]
    assert (listed["name"], listed["backup"]) == (look, taken["backup"])
    assert seen["databases"][filled.name]["replaced"] == []
    assert any(f"copy {look} of {taken['backup']}" in line for line in status.lines(seen))
    told = engine.run(config.path, "history").stdout
    assert f"restore-copy  {taken['backup']}, as {look}" in told

    with pytest.raises(UsageError, match="Nothing to undo"):
        steps_undo(job)
    clock = Clock(monkeypatch)
    assert prune(job) == []
    clock.offset += timedelta(days=1, seconds=1)
    assert prune(job) == []
    clock.offset += timedelta(days=1, seconds=1)
    assert look in databases_of(filled.server)
    assert prune(job) == [look]
    assert databases_of(filled.server) == there


def steps_undo(job: Job) -> None:
    from postgres_backup.restore.database import undo_restore

    undo_restore(dataclasses.replace(job, check=True))


def test_a_clock_that_jumps_drops_no_copy(filled, config, look, monkeypatch):
    job = Job(config.settings)
    create_backup(job)
    copying.restore_copy(job, "latest", look, 5)
    clock = Clock(monkeypatch)
    assert prune(job) == []
    clock.offset += timedelta(days=400)
    pruned = prune_replaced(job, utc_now())
    assert [line["reason"] for line in pruned.kept] == [
        "a copy, old by the clock, but seen by prunes for 1 of 5 days"
    ]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("INSERT INTO users VALUES (7)", "REPLACED_IN_USE", "was written to since it was made"),
        ("DELETE FROM users", "REPLACED_IN_USE", "rows were deleted in it since it was made"),
    ],
)
def test_a_copy_that_somebody_has_written_to_is_not_dropped(
    filled, config, look, change, code, said, monkeypatch
):
    job = Job(config.settings)
    create_backup(job)
    copying.restore_copy(job, "latest", look, 0)
    Clock(monkeypatch).offset += timedelta(minutes=1)
    assert prune(dataclasses.replace(job, check=True)) == [look]
    run_sql(filled.server, look, change, "SELECT pg_stat_force_next_flush()")
    pruned = prune_replaced(job, utc_now())
    assert [one["code"] for one in pruned.findings] == [code]
    assert said in pruned.findings[0]["message"]
    assert look in databases_of(filled.server)


def test_a_copy_that_somebody_has_renamed_is_his(filled, config, look):
    job = Job(config.settings)
    create_backup(job)
    copying.restore_copy(job, "latest", look, 0)
    theirs = f"{filled.name} archive"
    run_sql(filled.server, "postgres", "ALTER DATABASE {a} RENAME TO {b}", a=look, b=theirs)
    pruned = prune_replaced(job, utc_now())
    assert (pruned.deleted, [one["code"] for one in pruned.findings]) == ([], ["REPLACED_ADOPTED"])
    assert "IS 'ours';" in pruned.findings[0]["message"]
    assert theirs in databases_of(filled.server)


def test_a_name_that_is_taken_is_refused_and_nothing_is_touched(filled, config, look):
    job = Job(config.settings)
    create_backup(job)
    run_sql(filled.server, "postgres", "CREATE DATABASE {name}", name=look)
    before = databases_of(filled.server)
    for check in (True, False):
        with pytest.raises(UsageError, match="takes nobody's place"):
            copying.restore_copy(dataclasses.replace(job, check=check), "latest", look)
    done = engine.run(config.path, "restore", "latest", "--as", filled.name)
    engine.failed_well(done, 2, "is taken for good")
    assert databases_of(filled.server) == before


def test_what_cannot_be_proved_leaves_nothing_behind(filled, config, look, s3_client, bucket):
    job = Job(config.settings)
    taken = create_backup(job)
    whole = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    other = bytes([whole[0]]) + whole[1:-1] + bytes([whole[-1] ^ 1])
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=other)
    before = databases_of(filled.server)
    with pytest.raises(BadBackupError):
        copying.restore_copy(job, "latest", look)
    assert databases_of(filled.server) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"copy_as": "a", "tables": ["users"]}, "holds all of the backup"),
        ({"copy_as": "a", "stage": "load"}, "holds all of the backup"),
        ({"copy_as": "a", "in_place": True}, "holds all of the backup"),
        ({"keep_days": 3}, "has days of its own"),
        ({"copy_as": "a", "keep_days": -1}, "is no number of days"),
        ({"copy_as": "a", "keep_days": 36_501}, "is no number of days"),
    ],
)
def test_what_does_not_go_together_is_refused(config, options, said):
    with pytest.raises(UsageError, match=said):
        steps.perform_step(Job(config.settings), backup="latest", **options)


def test_a_copy_has_no_subscription_that_could_take_the_slot_of_the_live_one(
    filled, config, look, monkeypatch
):
    settings = as_superuser(config, filled.server)
    run_sql(
        filled.server,
        filled.name,
        "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 dbname=nowhere' PUBLICATION all_of_it"
        " WITH (connect = false, slot_name = 'news')",
    )
    try:
        job = Job(settings)
        create_backup(job)
        done = copying.restore_copy(job, "latest", look, 0)
        assert [one["code"] for one in done["findings"]] == ["COPY_UNSUBSCRIBED"]
        Clock(monkeypatch).offset += timedelta(minutes=1)
        asked = "SELECT datname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        assert (look,) not in filled.server.execute(asked)
        assert prune(job) == [look]
    finally:
        run_sql(
            filled.server,
            filled.name,
            "ALTER SUBSCRIPTION news SET (slot_name = NONE)",
            "DROP SUBSCRIPTION news",
        )
