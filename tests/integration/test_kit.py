"""The server kit: files in, the same files out, and nothing in the bucket that anybody could read."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess

import pyrage
import pytest

from postgres_backup import backup, kit, nightly, owners, settings, status
from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.progress import Progress
from postgres_backup.store import Store
from tests.integration import engine

SECRET = "DB_PASSWORD=correct-horse-battery"


@pytest.fixture
def app(tmp_path):
    """What an application has beside its database."""
    folder = tmp_path / "srv" / "my app"
    (folder / "uploads" / "empty").mkdir(parents=True)
    (folder / ".env").write_text(SECRET)
    (folder / ".env").chmod(0o600)
    (folder / "compose.yml").write_text("services: {}\n")
    (folder / "uploads" / "photo").write_bytes(os.urandom(3_000_000))
    (folder / "uploads" / "наме\nline").write_text("x")
    (folder / "link").symlink_to("uploads/photo")
    return folder


@pytest.fixture
def key():
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def keyed(config, app, key):
    return config.change(BACKUP_PATHS=f"'{app}'", AGE_RECIPIENTS=key.to_public())


def same(one, other) -> bool:
    return subprocess.run(["diff", "-r", "--no-dereference", one, other], capture_output=True, check=False).returncode == 0


def test_every_file_comes_back_as_it_was(keyed, app, key, tmp_path, s3_client, bucket):
    made = kit.create(keyed)
    body = s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    assert SECRET.encode() not in body
    assert body.startswith(b"age-encryption.org/v1")
    done = kit.restore(keyed, "latest", str(tmp_path / "back"), (str(key),))
    back = tmp_path / "back" / str(app).lstrip("/")
    assert same(app, back)
    assert (back / ".env").stat().st_mode & 0o777 == 0o600
    assert os.readlink(back / "link") == "uploads/photo"
    assert (done["kit"], done["files"]) == (made["kit"], made["files"])


def test_stock_tools_unpack_it(keyed, app, key, tmp_path, s3_client, bucket):
    if not shutil.which("age"):
        pytest.skip("age is not installed")
    made = kit.create(keyed)
    (tmp_path / "key").write_text(f"{key}\n")
    (tmp_path / "kit").write_bytes(s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read())
    (tmp_path / "out").mkdir()
    subprocess.run(["sh", "-ec", "age -d -i key kit > kit.tar.gz; tar -xzf kit.tar.gz -C out"], cwd=tmp_path, check=True, capture_output=True)
    assert same(app, tmp_path / "out" / str(app).lstrip("/"))


def test_in_the_clear_only_where_somebody_said_so(config, app, bucket, s3_client):
    plain = config.change(BACKUP_PATHS=f"'{app}'")
    with pytest.raises(UsageError) as refused:
        kit.create(plain)
    assert "backup_age_recipients" in refused.value.hint
    assert "Contents" not in s3_client.list_objects_v2(Bucket=bucket)
    assert kit.create(dataclasses.replace(plain, kit_plain=True))["kit"].endswith(".tar.gz")


def test_a_path_that_is_not_there_is_named(keyed, tmp_path):
    with pytest.raises(UsageError) as refused:
        kit.create(dataclasses.replace(keyed, paths=(str(tmp_path / "gone"),)))
    assert str(tmp_path / "gone") in refused.value.message


def test_half_a_kit_is_never_put_back(keyed, key, tmp_path, s3_client, bucket):
    made = kit.create(keyed)
    body = s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    for damaged in (body[:-1000], body[:2_000_000] + b"?" + body[2_000_001:]):
        s3_client.put_object(Bucket=bucket, Key=made["key"], Body=damaged)
        with pytest.raises(PostgresBackupError):
            kit.restore(keyed, "latest", str(tmp_path / "back"), (str(key),))
        assert not (tmp_path / "back").exists()
    s3_client.put_object(Bucket=bucket, Key=made["key"], Body=body)
    for keys, kind in (((), UsageError), ((str(pyrage.x25519.Identity.generate()),), PostgresBackupError)):
        with pytest.raises(kind):
            kit.restore(keyed, "latest", str(tmp_path / "back"), keys)
    assert not (tmp_path / "back").exists()


def test_a_night_saves_it_and_its_failure_fails_the_night_but_not_the_backup(keyed, database, app, s3_client, bucket):
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE t (i int)')
    night = nightly.run(keyed, Progress())
    assert night["exit_status"] == 0
    assert night["kit"]["kit"].endswith(".age")
    shutil.rmtree(app)
    night = nightly.run(keyed, Progress())
    assert night["exit_status"] != 0
    assert night["kit"] is None
    assert str(app) in night["kit_error"]
    assert night["databases"][database.name]["error"] == ""
    assert night["databases"][database.name]["backup"]["backup"]


def test_another_servers_kit_is_not_taken_for_ours(keyed, key, tmp_path):
    kit.create(keyed)
    with pytest.raises(UsageError) as refused:
        kit.restore(dataclasses.replace(keyed, server_name="other"), "latest", str(tmp_path / "back"), (str(key),))
    assert refused.value.hint == "There are kits of test-server: set backup_server_name"


def test_the_bucket_is_what_is_left(config, database, new_config, s3, bucket, tmp_path):
    """Endpoint, bucket and key: whose backups there are, and what to set to restore them."""
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE t (i int)')
    made = backup.create(config.settings)
    bare = tmp_path / "bare.env"
    wanted = ("S3_ENDPOINT_URL", "S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    bare.write_text("".join(f"{name}={config.values[name]}\n" for name in wanted))
    bare.chmod(0o600)
    listed = engine.run(bare, "list")
    assert listed.returncode == 0, listed.stderr
    assert f"server test-server, database {database.name}: 1 backup, the newest {made['backup']}" in listed.stdout
    assert "backup_server_name and backup_db_name" in listed.stdout
    found = engine.answer(engine.run(bare, "list", "--json"))
    assert [one["backup"] for one in found["backups"]] == [made["backup"]]
    assert found["owners"] == [{"server": "test-server", "database": database.name, "backups": 1, "newest": made["backup"]}]
    refused = engine.run(bare, "restore", "latest")
    assert refused.returncode == 2
    assert "SERVER_NAME" in refused.stderr

    other = new_config(database, s3, bucket, SERVER_NAME="new-machine")
    lost = engine.run(other.path, "restore", "latest")
    engine.failed_well(lost, 2, "backup_server_name: test-server", f"backup_db_name: {database.name}")
    with pytest.raises(UsageError) as refused:
        status.info(other.settings, backup="latest")
    assert "set backup_server_name: test-server" in refused.value.hint
    assert status.info(config.settings, backup="latest")["chosen"]["backup"] == made["backup"]
    assert owners.advice(owners.owners(settings.load(str(bare), bucket_only=True), Store(config.settings)))
