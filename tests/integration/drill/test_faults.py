"""Drills that something ends on the way: each says so, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import random
import secrets
import signal
import subprocess

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.drill.database import drill_database
from postgres_backup.health import alarms
from postgres_backup.job import Job
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.services.proxy import FaultProxy
from tests.waiting import wait_for

SCRIPT = "postgres-backup/postgres-backup-2020-01-01_00-00-00.sql.gz"


def fill(database: Database, name: str = "much", rows: int = 300) -> None:
    """Two megabytes that no packer makes small."""
    database.execute(f"""
        CREATE TABLE {name} AS SELECT (
            SELECT string_agg(md5((n * 1000 + k)::text), '') FROM generate_series(1, 200) k
        ) FROM generate_series(1, {rows}) n""")
    database.execute(f'ALTER TABLE {name} OWNER TO "{database.owner}"')


def sides(database: Database) -> set[str]:
    return {name for name in databases_of(database.server) if "_restore_" in name}


def codes(result: dict) -> set[str]:
    return {found["code"] for found in result["findings"]}


def failed_and_told(settings, result: dict) -> None:
    assert not result["passed"]
    outcomes = {one["check"]: one["outcome"] for one in result["checks"]}
    assert outcomes["rows"] == outcomes["content"] == "unchecked"
    [alarm] = alarms.open_alarms(settings)
    assert alarm["code"] == "DRILL_FAILED"


def test_a_server_that_restarts_meanwhile(tmp_path_factory, new_config, s3, bucket):
    with BriefPostgresServer(tmp_path_factory.mktemp("restarts"), 16) as server:
        password = secrets.token_urlsafe(18)
        server.execute(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'")
        server.execute("CREATE DATABASE crm OWNER crm")
        database = Database(server, "crm", "crm", password, "")
        fill(database)
        config = new_config(database, s3, bucket, DRILL_MB_PER_SECOND=0.2)
        create_backup(Job(config.settings))
        with engine.started(config.path, "drill", "--json") as process:
            wait_for("a side database", lambda: sides(database))
            server.stop()
            server.start()
            out, said = process.communicate(timeout=90)
        assert process.returncode == 4, said
        result = json.loads(out)
        assert "DRILL_BROKEN_OFF" in codes(result)
        assert sides(database) == set()
        failed_and_told(config.settings, result)
        assert drill_database(Job(config.settings), fast=True)["passed"]
        assert alarms.open_alarms(config.settings) == []


def test_a_store_that_is_away(database, config, s3):
    """From the first byte of the object on, also for what is noted at the end."""
    fill(database)
    create_backup(Job(config.settings))
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "GET", ".sql.gz", times=1000, status=404, code="NoSuchBucket")
        between.plan("status", "PUT", times=1000, status=403, code="AccessDenied")
        result = drill_database(Job(settings))
    assert sides(database) == set()
    assert "JOURNAL_NOT_WRITTEN" in codes(result)
    failed_and_told(settings, result)


def test_a_disk_that_is_full(small_disk, new_database, new_config, s3, s3_client, bucket):
    """Of a backup of which nobody noted how large it gets."""
    made = new_database(options=f'TABLESPACE "{small_disk}"')
    run_sql(
        made.server,
        made.name,
        "CREATE TABLE wide (id int, text text)",
        "ALTER TABLE wide ALTER text SET STORAGE EXTERNAL",
    )
    wide = "INSERT INTO wide SELECT i, repeat('x', 7000) FROM generate_series(1, 4200) i"
    made.execute(wide)
    settings = as_superuser(new_config(made, s3, bucket), made.server)
    taken = create_backup(Job(settings))
    short = drill_database(Job(settings), fast=True)
    assert "DISK_SHORT" in codes(short)
    s3_client.copy_object(
        Bucket=bucket, Key=SCRIPT, CopySource={"Bucket": bucket, "Key": taken["key"]}
    )
    result = drill_database(Job(settings, trust_unsigned=True), SCRIPT, fast=True)
    assert sides(made) == set()
    told = " ".join(found["message"] for found in result["findings"])
    assert "No space left on device" in told or "DISK_SHORT" in codes(result)
    failed_and_told(settings, result)


@pytest.mark.gameday
@pytest.mark.timeout(900)
def test_a_signal_at_any_moment(database, config):
    """Of forty moments of a drill: whoever may clean up does, and what a killed one has left goes
    with the next.
    """
    fill(database, rows=600)
    create_backup(Job(config.settings))
    took = drill_database(Job(config.settings), fast=True)["seconds"] + 1.0
    moments, killed_left = random.Random(1), set()
    for number in range(40):
        how = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)[number % 4]
        with engine.started(config.path, "drill", "--fast", "--json") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.2, took))
            process.send_signal(how)  # to one that has ended it is nothing
            process.communicate(timeout=60)
        if how == signal.SIGKILL:
            killed_left = sides(database)
        else:  # one that ended before it looked around has not cleared up after another
            assert sides(database) <= killed_left, (number, how)
    assert drill_database(Job(config.settings), fast=True)["passed"]
    assert sides(database) == set()
