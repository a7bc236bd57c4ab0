"""What a run that did not end has left: the next one removes it, where it is surely its own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_backup.backup import kit
from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import begun
from postgres_backup.errors import StoreError
from postgres_backup.job import Job
from postgres_backup.machine import state
from tests.integration import engine
from tests.services.proxy import FaultProxy
from tests.waiting import wait_for


@pytest.fixture
def server(config, database):
    """A database with a table, as superuser, whose roles are saved too."""
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    config.change(**database.as_superuser)
    return config


@contextlib.contextmanager
def killed_at(config, s3, method: str, contains: str, *command: str) -> Iterator[None]:
    """A run that is killed when it asks the store for this."""
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        hang = between.plan("hang", method, contains, seconds=60)
        with engine.started(config.path, *command) as process:
            wait_for("the request", lambda: hang.done or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            process.kill()
            process.communicate()
    config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    yield


def told(result) -> list[str]:
    return [found["message"] for found in result["findings"] if found["code"] == "LEFTOVERS"]


def objects(client, bucket) -> list[str]:
    return [key for key in engine.keys(client, bucket) if "/journal/" not in key]


def remembered(config) -> dict:
    return json.loads((Path(config.settings.state_dir) / "begun.json").read_text())


def test_an_object_without_its_manifest(server, s3, s3_client, bucket):
    """Killed between the two: object and roles go, and what an old script has left stays."""
    script = "postgres-backup/postgres-backup-2026-01-27_00-00-00.sql.gz"
    s3_client.put_object(Bucket=bucket, Key=script, Body=b"an old script's")
    with killed_at(server, s3, "PUT", "/manifests/", "backup"):
        left = objects(s3_client, bucket)
    assert len(left) == 3, left
    taken = create_backup(Job(server.settings))
    [name] = [
        key.rpartition("/")[2] for key in left if key not in (script,) and "/globals/" not in key
    ]
    assert told(taken) == [f"removed what a run that did not end had left of {name}: the object"]
    assert set(objects(s3_client, bucket)) & set(left) == {script}
    assert remembered(server) == {}
    assert told(create_backup(Job(server.settings))) == []


def test_who_was_killed_after_the_manifest_has_a_backup(server, database, s3_client, bucket):
    """All that it did not come to is to forget what it had begun."""
    taken = create_backup(Job(server.settings))
    made = objects(s3_client, bucket)
    [described] = [key for key in made if key.endswith(".json")]
    one = begun.Begun(key=taken["key"], manifest=described, beside=[f"{described}.sig"], alone=True)
    assert begun.note(server.settings, database.name, one) == []
    assert told(create_backup(Job(server.settings))) == []
    assert set(made) <= set(objects(s3_client, bucket))
    assert remembered(server) == {}


def test_where_the_name_was_not_claimed_it_is_only_named(server, s3, s3_client, bucket):
    """Another server may be writing it."""
    with FaultProxy(s3.endpoint_url) as between:
        between.plan("status", "PUT", "/journal/", times=99, status=403, code="AccessDenied")
        server.change(S3_ENDPOINT_URL=between.endpoint_url)
        hang = between.plan("hang", "PUT", "/manifests/", seconds=60)
        with engine.started(server.path, "backup") as process:
            wait_for("the manifest", lambda: hang.done)
            process.kill()
            process.communicate()
    server.change(S3_ENDPOINT_URL=s3.endpoint_url)
    left = objects(s3_client, bucket)
    [message] = told(create_backup(Job(server.settings)))
    name = next(key for key in left if "/globals/" not in key).rpartition("/")[2]
    assert message.startswith(f"{name} has no manifest, and another server may be writing it")
    assert set(left) <= set(objects(s3_client, bucket))


def test_what_the_store_keeps_of_a_failed_backup(server, s3, s3_client, bucket):
    """It is told with the error, and goes with the next."""
    with FaultProxy(s3.endpoint_url) as between:
        settings = server.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "PUT", "/manifests/", times=99, status=403, code="AccessDenied")
        between.plan("status", "DELETE", times=99, status=403, code="AccessDenied")
        with pytest.raises(StoreError) as caught:
            create_backup(Job(settings))
    assert "LEFT_BEHIND" in [found["code"] for found in caught.value.findings]
    left = objects(s3_client, bucket)
    assert len(left) == 2
    taken = create_backup(Job(server.change(S3_ENDPOINT_URL=s3.endpoint_url)))
    assert len(told(taken)) == 1
    assert not set(objects(s3_client, bucket)) & set(left)
    assert remembered(server) == {}


@pytest.fixture
def several(server, tmp_path):
    """A server with several databases, and a kit that is sent in parts."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/upload").write_bytes(os.urandom(20_000_000))
    server.change(
        DB_NAMES=f"{server.values['DB_NAME']} shop",
        BACKUP_PATHS=str(tmp_path / "app"),
        KIT_PLAIN="true",
    )
    return server


@pytest.mark.parametrize(
    ("contains", "what"),
    [("partNumber=2", "1 unfinished uploads"), (".json.sig", "the object")],
    ids=["in the middle", "before its manifest"],
)
def test_a_kit_that_was_killed(several, s3, s3_client, bucket, contains, what):
    with killed_at(several, s3, "PUT", contains, "kit"):
        left = [*objects(s3_client, bucket), *engine.unfinished(s3_client, bucket)]
    assert left
    made = kit.create_kit(Job(several.settings))
    name = left[0].rpartition("/")[2]
    assert told(made) == [f"removed what a run that did not end had left of {name}: {what}"]
    assert engine.unfinished(s3_client, bucket) == []
    assert not set(objects(s3_client, bucket)) & set(left)


def test_a_kit_whose_manifest_is_refused_is_taken_back(several, s3, s3_client, bucket):
    with FaultProxy(s3.endpoint_url) as between:
        settings = several.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "PUT", ".json", times=99, status=403, code="AccessDenied")
        with pytest.raises(StoreError):
            kit.create_kit(Job(settings))
    engine.nothing_left(s3_client, bucket, settings.state_dir)
    assert remembered(several) == {}


def test_halves_of_files_that_killed_processes_were_writing(server):
    folder = Path(server.settings.state_dir)
    folder.mkdir()
    dead = 2**22 + 1  # above what Linux gives
    for name in (f"last-run.json.{dead}", f"alarms.json.{dead}"):
        (folder / name).touch()
    kept = [f"last-run.json.{os.getpid()}", f"mine.{dead}", "last-run.json.damaged"]
    for name in kept:
        (folder / name).touch()
    state.sweep(server.settings)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
