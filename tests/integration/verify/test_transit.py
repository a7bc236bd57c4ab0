"""What is damaged on its way here is asked for once more; only what lies there damaged is bad."""

from __future__ import annotations

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from tests.integration import engine


@pytest.fixture
def taken(config, database):
    rows = "SELECT i, md5(i::text) FROM generate_series(1, 3000) i"
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t AS {rows}")
    return create_backup(Job(config.settings))


@pytest.fixture
def hostile(hostile, config):
    config.change(S3_ENDPOINT_URL=hostile.endpoint_url)
    return hostile


@pytest.mark.parametrize("typed", [("verify",), ("restore", "--check"), ("drill", "--fast")])
def test_it_is_read_again_and_that_is_said(taken, config, hostile, typed):
    play = hostile.play("damaged", "GET", contains=f"/{taken['backup']}", times=1)
    command, *options = typed
    done = engine.run(config.path, command, "latest", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert play.done == (0 if "--check" in options else 1)
    told = "piece 1 of 1 came damaged; it was read again, and is whole"
    assert (told in done.stderr) == bool(play.done)


def test_what_comes_otherwise_each_time_is_not_the_backups_fault(taken, config, hostile):
    hostile.play("damaged", "GET", contains=f"/{taken['backup']}", times=1)
    hostile.play("garbage", "GET", contains=f"/{taken['backup']}", times=2, skip=1)
    done = engine.run(config.path, "verify", "latest")
    engine.failed_well(done, 4, "it was replaced while it was being read", "Start again")


def test_what_lies_there_damaged_is_bad(taken, config, hostile, s3_client, bucket):
    body = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    spoiled = body[:50] + bytes([body[50] ^ 1]) + body[51:]
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=spoiled)
    hostile.be_honest()
    done = engine.run(config.path, "verify", "latest")
    engine.failed_well(done, 4, "piece 1 of 1", "OBJECT_ALTERED")
    asked = [request for request in hostile.requests if taken["backup"] in request]
    assert len([one for one in asked if one.startswith("GET")]) == 2
