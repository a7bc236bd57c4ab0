"""A backup that is broken off leaves nothing, whoever dies in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from postgres_backup.backup import database as backup_room
from postgres_backup.backup import sweep as sweep_room
from postgres_backup.errors import StoreError
from postgres_backup.job import Job
from postgres_backup.s3 import client as s3_room
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.integration.backup.half_way import finished, half_way, slow
from tests.services.proxy import FaultProxy
from tests.waiting import wait_for


def test_pg_dump_killed_in_the_middle(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        os.kill(half_way(s3_client, bucket, postgres), signal.SIGKILL)
        done = finished(process)
    engine.failed_well(done, 1, "pg_dump failed (killed by signal 9)")
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
    assert engine.programs_at_work(postgres) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(proxy, noise_config, postgres, s3_client, bucket, number):
    slow(proxy)
    with engine.started(noise_config.path, "backup", "--json") as process:
        half_way(s3_client, bucket, postgres)
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(
            number
        )  # `timeout` sends two; the second must not disturb the cleaning up
        done = finished(process)
    engine.failed_well(done, 1, f"Stopped by {number.name}")
    assert engine.answer(done)["exit_status"] == 1
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
    assert engine.programs_at_work(postgres) == []


def test_killed_in_the_middle_and_the_next_run(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        process.kill()
        assert finished(process).returncode == -signal.SIGKILL
    wait_for("pg_dump to end by itself", lambda: not engine.programs_at_work(postgres), 20)
    assert engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-") == []
    orphans = engine.unfinished(s3_client, bucket)
    assert orphans
    taken = backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == []
    [left] = [found["message"] for found in taken["findings"] if found["code"] == "LEFTOVERS"]
    name = orphans[0].rpartition("/")[2]
    assert left == f"removed what a run that did not end had left of {name}: 1 unfinished uploads"


def test_without_its_memory_parts_that_a_killed_run_left_stay_for_a_day(
    proxy, noise_config, postgres, s3_client, bucket, monkeypatch
):
    """They may be another server's work."""
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        process.kill()
        finished(process)
    orphans = engine.unfinished(s3_client, bucket)
    shutil.rmtree(noise_config.settings.state_dir)
    backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == orphans
    monkeypatch.setattr(sweep_room, "STALE_UPLOAD_HOURS", -1)
    backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == []


def test_the_server_dies_in_the_middle(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        postgres.stop("immediate")
        postgres.start()
        done = finished(process)
    text = engine.failed_well(done, 1, "pg_dump failed", "look at its log")
    assert "closed the connection" in text or "terminating connection" in text
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)


def test_the_store_dies_in_the_middle(noise_config, postgres, s3_client, bucket, monkeypatch):
    """A store that stays away: given up after its time, and whatever it kept is swept when it is
    back.
    """
    monkeypatch.setattr(s3_room.S3.__init__, "__defaults__", (2.0,))
    monkeypatch.setattr(Store.__init__, "__defaults__", (2.0,))
    with FaultProxy(noise_config.values["S3_ENDPOINT_URL"]) as between:
        settings = noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "PUT", "partNumber=3", times=1000)
        between.plan("status", "PUT", "journal/", times=1000, skip=1)
        began = time.monotonic()
        with pytest.raises(StoreError, match="goes on failing") as caught:
            backup_room.create_backup(Job(settings))
    assert caught.value.exit_status == 1
    assert time.monotonic() - began < 60
    engine.nothing_left(s3_client, bucket, settings.state_dir)
    assert engine.programs_at_work(postgres) == []


@pytest.mark.parametrize("target", ["manifests/", "postgres-backup-", "uploadId="])
def test_a_store_that_refuses_the_last_steps(
    noise, request, sample_config, s3, s3_client, bucket, target
):
    """The object or its manifest cannot be written: neither is left, nor the roles beside them."""
    config = request.getfixturevalue("noise_config") if target == "uploadId=" else sample_config
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan(
            "status",
            "POST" if target == "uploadId=" else "PUT",
            target,
            times=1000,
            status=403,
            code="AccessDenied",
        )
        with pytest.raises(StoreError, match="does not allow"):
            backup_room.create_backup(Job(settings))
    engine.nothing_left(s3_client, bucket, settings.state_dir)
    noted, signature = (key for key in engine.keys(s3_client, bucket) if "backup-failed" in key)
    assert signature == f"{noted}.sig"
    event = s3_client.get_object(Bucket=bucket, Key=noted)["Body"].read()
    assert b"does not allow" in event


def test_stopped_while_the_store_is_silent(noise_config, postgres, s3, s3_client, bucket):
    """Nobody waits minutes for a program that was asked to end."""
    with FaultProxy(s3.endpoint_url) as between:
        noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        refused = between.plan("status", "PUT", "partNumber=", times=10_000)
        with engine.started(noise_config.path, "backup") as process:
            half_way(s3_client, bucket, postgres)
            wait_for("parts that are refused", lambda: refused.done > 1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            done = finished(process)
    assert time.monotonic() - began < 60  # the store alone would be waited for 150 s
    engine.failed_well(done, 1, "Stopped by SIGTERM")
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
