"""A backup while others are at work, and with fewer rights or less room than it would like."""

from __future__ import annotations

import os
import re
import subprocess
import threading

import psycopg
import pytest
from psycopg import sql

from postgres_backup.backup import database as backup_room
from postgres_backup.clock import utc_now
from postgres_backup.errors import DatabaseError, LockedError
from postgres_backup.job import Job
from postgres_backup.postgresql import pg_dump
from tests.integration import engine
from tests.integration.backup.half_way import as_superuser, finished, half_way, slow
from tests.waiting import wait_for


def test_a_table_that_is_locked_is_waited_for(config, database, s3_client, bucket):
    database.execute("CREATE TABLE busy AS SELECT generate_series(1, 10) AS x")
    as_superuser(config, database)
    with psycopg.connect(database.server.dsn(database.name)) as other:
        other.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        taken: list[dict] = []
        thread = threading.Thread(
            target=lambda: taken.append(backup_room.create_backup(Job(config.settings)))
        )
        thread.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        wait_for("pg_dump to wait for the lock", lambda: database.execute(waiting))
        other.rollback()
        thread.join()
    assert taken[0]["rows"] == 10


def test_a_table_that_stays_locked_is_given_up(config, database, s3_client, bucket, monkeypatch):
    monkeypatch.setattr(pg_dump, "LOCK_WAIT", "300ms")
    database.execute("CREATE TABLE busy (x int)")
    as_superuser(config, database)
    with psycopg.connect(database.server.dsn(database.name)) as other:
        other.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="timeout") as caught:
            backup_room.create_backup(Job(config.settings))
    assert "pg_locks" in caught.value.hint
    engine.nothing_left(s3_client, bucket, config.settings.state_dir)


def test_a_backup_shows_one_moment(noise_config, proxy, postgres, s3_client, bucket, config):
    """What others write or drop meanwhile is not in it, and what they drop is."""
    postgres.execute("CREATE TABLE zz_last AS SELECT generate_series(1, 7) AS x", "noise")
    slow(proxy)
    with engine.started(noise_config.path, "backup", "--json") as process:
        half_way(s3_client, bucket, postgres)
        postgres.execute(
            "INSERT INTO zz_last SELECT generate_series(1, 1000); CREATE TABLE newcomer (x int)",
            "noise",
        )
        done = finished(process)
    postgres.execute("DROP TABLE zz_last, newcomer", "noise")
    assert done.returncode == 0, done.stderr
    found = engine.manifest_of(s3_client, bucket, engine.answer(done))
    assert found["tables"]["public.zz_last"]["rows"] == 7
    assert "public.newcomer" not in found["tables"]


def test_timeouts_of_the_server_do_not_end_a_backup(proxy, noise_config, postgres):
    slow(proxy)
    for setting in (
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "statement_timeout",
        "lock_timeout",
    ):
        postgres.execute(f"ALTER DATABASE noise SET {setting} = '400ms'")
    try:
        assert backup_room.create_backup(Job(noise_config.settings))["bytes"] > 50_000_000
    finally:
        postgres.execute("ALTER DATABASE noise RESET ALL")


def test_a_second_run_is_told_who_is_at_work(
    proxy, noise_config, postgres, s3_client, bucket, config, new_database, new_config, s3
):
    slowly = slow(proxy)
    other = new_config(new_database(), s3, bucket, STATE_DIR=noise_config.settings.state_dir)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        done = engine.run(noise_config.path, "backup", "--json")
        engine.failed_well(
            done, 3, f"backup since {utc_now():%Y-%m-%d}", f"process {process.pid}", "Wait until"
        )
        assert engine.answer(done)["exit_status"] == 3
        with pytest.raises(LockedError):
            backup_room.create_backup(Job(noise_config.settings))
        assert backup_room.create_backup(Job(other.settings))[
            "changed"
        ]  # another database has a lock of its own
        slowly.seconds = 0
        assert finished(process).returncode == 0


def test_without_room_on_the_disk_a_backup_is_taken_all_the_same(sample_config):
    """STATE_DIR on a full disk: no byte can be written, and none is needed."""
    os.makedirs(sample_config.settings.state_dir)
    done = subprocess.run(
        ["prlimit", "--fsize=0", *engine.command(sample_config.path, "backup", "--json")],
        capture_output=True, text=True, check=False,
        env=engine.environment(PYTHONDONTWRITEBYTECODE="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert engine.answer(done)["rows"] > 0


def test_row_level_security_and_missing_rights_are_explained(config, database):
    database.execute(
        "CREATE TABLE private (x int); CREATE TABLE filtered (x int);"
        "ALTER TABLE filtered ENABLE ROW LEVEL SECURITY"
    )
    with pytest.raises(DatabaseError, match="permission denied for table") as caught:
        backup_room.create_backup(Job(config.settings))
    assert "pg_read_all_data" in caught.value.hint
    database.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(database.owner)))
    with pytest.raises(DatabaseError, match="row-level security") as caught:
        backup_room.create_backup(Job(config.settings))
    assert f'ALTER ROLE "{database.owner}" BYPASSRLS' in caught.value.hint
    assert "as the owner" in caught.value.hint


def test_an_owner_under_forced_row_security_is_not_told_to_be_the_owner(config, database):
    database.execute(
        sql.SQL(
            "CREATE TABLE t (i int); ALTER TABLE t OWNER TO {}; ALTER TABLE t ENABLE ROW LEVEL"
            " SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY"
        ).format(sql.Identifier(database.owner))
    )
    with pytest.raises(DatabaseError, match="row-level security") as caught:
        backup_room.create_backup(Job(config.settings))
    assert "FORCE" in caught.value.hint
    assert "as the owner" not in caught.value.hint
    bypass = caught.value.hint.partition("As a superuser: ")[2]
    database.execute(bypass)
    assert backup_room.create_backup(Job(config.settings))["findings"] == []


def test_check_mode_says_the_same_and_writes_nothing(sample_config, s3_client, bucket):
    planned = backup_room.create_backup(Job(sample_config.settings, check=True))
    assert engine.keys(s3_client, bucket) == []
    assert not os.path.exists(sample_config.settings.state_dir)
    taken = backup_room.create_backup(Job(sample_config.settings))
    moment = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    assert re.sub(moment, "", planned["key"]) == re.sub(moment, "", taken["key"])
