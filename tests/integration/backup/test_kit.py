"""The server kit: files in, the same files out; nothing in the bucket that anybody could read."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from datetime import datetime, timedelta, timezone

import pyrage
import pytest

from postgres_backup.backup import kit
from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import journal, owners
from postgres_backup.catalog.kits import newest_kit
from postgres_backup.clock import utc_now
from postgres_backup.errors import BadBackupError, PostgresBackupError, UsageError
from postgres_backup.health import alarms, listing
from postgres_backup.job import Job
from postgres_backup.machine import config_file
from postgres_backup.machine.progress import Progress, Recorder
from postgres_backup.nightly.attempt import attempt
from postgres_backup.nightly.run import run_night
from postgres_backup.restore.kit import restore_kit
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy, ShiftedClock
from tests.services.signing import put_signed

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
    (folder / "uploads").chmod(0o2775)
    (folder / "uploads" / "photo").chmod(0o666)
    return folder


@pytest.fixture
def key():
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def keyed(config, app, key):
    return config.change(BACKUP_PATHS=f"'{app}'", AGE_RECIPIENTS=key.to_public())


def same(one, other) -> bool:
    return (
        subprocess.run(
            ["diff", "-r", "--no-dereference", one, other], capture_output=True, check=False
        ).returncode
        == 0
    )


def test_every_file_comes_back_as_it_was(keyed, app, key, tmp_path, s3_client, bucket):
    made = kit.create_kit(Job(keyed))
    body = s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    assert SECRET.encode() not in body
    assert body.startswith(b"age-encryption.org/v1")
    done = restore_kit(Job(keyed, identities=(str(key),)), "latest", str(tmp_path / "back"))
    back = tmp_path / "back" / str(app).lstrip("/")
    assert same(app, back)
    for name, mode in {".env": 0o600, "uploads": 0o2775, "uploads/photo": 0o666}.items():
        assert (back / name).stat().st_mode & 0o7777 == mode, name
    assert os.readlink(back / "link") == "uploads/photo"
    assert (done["kit"], done["files"]) == (made["kit"], made["files"])


def test_stock_tools_unpack_it(keyed, app, key, tmp_path, s3_client, bucket):
    if not shutil.which("age"):
        pytest.skip("age is not installed")
    made = kit.create_kit(Job(keyed))
    (tmp_path / "key").write_text(f"{key}\n")
    (tmp_path / "kit").write_bytes(
        s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    )
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["sh", "-ec", "age -d -i key kit > kit.tar.gz; tar -xzf kit.tar.gz -C out"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert same(app, tmp_path / "out" / str(app).lstrip("/"))


def test_in_the_clear_only_where_somebody_said_so(config, app, bucket, s3_client):
    plain = config.change(BACKUP_PATHS=f"'{app}'")
    with pytest.raises(UsageError) as refused:
        kit.create_kit(Job(plain))
    assert "backup_age_recipients" in refused.value.hint
    assert "Contents" not in s3_client.list_objects_v2(Bucket=bucket)
    assert kit.create_kit(Job(dataclasses.replace(plain, kit_plain=True)))["kit"].endswith(
        ".tar.gz"
    )


def test_a_path_that_is_not_there_is_named(keyed, tmp_path):
    with pytest.raises(UsageError) as refused:
        kit.create_kit(Job(dataclasses.replace(keyed, paths=(str(tmp_path / "gone"),))))
    assert str(tmp_path / "gone") in refused.value.message


def test_half_a_kit_is_never_put_back(keyed, key, tmp_path, s3_client, bucket):
    made = kit.create_kit(Job(keyed))
    body = s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    for damaged in (body[:-1000], body[:2_000_000] + b"?" + body[2_000_001:]):
        s3_client.put_object(Bucket=bucket, Key=made["key"], Body=damaged)
        with pytest.raises(PostgresBackupError):
            restore_kit(Job(keyed, identities=(str(key),)), "latest", str(tmp_path / "back"))
        assert not (tmp_path / "back").exists()
    s3_client.put_object(Bucket=bucket, Key=made["key"], Body=body)
    for keys, kind in (
        ((), UsageError),
        ((str(pyrage.x25519.Identity.generate()),), PostgresBackupError),
    ):
        with pytest.raises(kind):
            restore_kit(Job(keyed, identities=keys), "latest", str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()


def test_a_night_saves_it_and_its_failure_fails_the_night_but_not_the_backup(
    keyed, database, app, s3_client, bucket
):
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE t (i int)')
    night = run_night(keyed, Progress())
    assert night["exit_status"] == 0
    assert night["kit"]["kit"].endswith(".age")
    shutil.rmtree(app)
    night = run_night(keyed, Progress())
    assert night["exit_status"] != 0
    assert night["kit"] is None
    assert str(app) in night["kit_error"]
    assert night["databases"][database.name]["error"] == ""
    assert night["databases"][database.name]["backup"]["backup"]


def test_what_the_alarm_advises_ends_it(config, keyed, app, tmp_path):
    """``postgres-backup kit`` by hand: a failure that is somebody's to hear raises it, too."""
    elsewhere = tmp_path / "elsewhere"
    app.rename(elsewhere)
    assert str(app) in attempt(Job(keyed), {"": "kit"}).kit_error
    assert [one["code"] for one in alarms.open_alarms(keyed)] == ["KIT_FAILED"]
    assert engine.run(config.path, "kit").returncode == 2
    assert len(alarms.open_alarms(keyed)) == 1
    elsewhere.rename(app)
    assert engine.run(config.path, "kit", "--check").returncode == 0
    assert len(alarms.open_alarms(keyed)) == 1, "nothing was done"
    done = engine.run(config.path, "kit")
    assert done.returncode == 0, done.stderr
    assert alarms.open_alarms(keyed) == []


def test_a_path_that_is_a_link_comes_back_with_what_it_leads_to(config, tmp_path):
    """A volume, a file elsewhere, a release below a link of another path: each named path works."""
    volume, app, back = tmp_path / "mnt/volume", tmp_path / "srv/app", tmp_path / "back"
    (volume / "uploads").mkdir(parents=True)
    (volume / "uploads/photo").write_text("photo")
    (tmp_path / "srv/releases/5/files").mkdir(parents=True)
    (tmp_path / "srv/releases/5/files/f").write_text("file")
    app.mkdir()
    (tmp_path / "env").write_text(SECRET)
    (app / "uploads").symlink_to(volume / "uploads")
    (app / ".env").symlink_to("../../env")
    (app / "now").symlink_to("../releases/5")
    (app / "python").symlink_to("/usr/bin/python3")
    named = [app, app / "uploads", app / ".env", app / "now/files"]
    settings = config.change(BACKUP_PATHS=" ".join(map(str, named)), KIT_PLAIN="true")
    made = kit.create_kit(Job(settings))
    assert [found["code"] for found in made["findings"]] == ["KIT_LINK_LEADS_OUT"]
    assert made["findings"][0]["message"].endswith(f": {app}/python")
    assert newest_kit(settings)["paths"][:4] == [str(path) for path in named]
    done = restore_kit(Job(settings), "latest", str(back))
    assert [found["code"] for found in done["findings"]] == ["KIT_LINK_LEFT_OUT"]
    there = back / str(app).lstrip("/")
    assert (there / "uploads").is_symlink()
    assert (there / "uploads/photo").read_text() == "photo"
    assert (there / ".env").read_text() == SECRET
    assert (there / "now/files/f").read_text() == "file"
    assert (there / "uploads").resolve() == back / str(volume / "uploads").lstrip("/")


def test_a_volume_that_is_not_mounted_is_an_alarm_until_it_is_back(config, database, app, tmp_path):
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE t (i int)')
    uploads, elsewhere = app / "uploads", tmp_path / "elsewhere"
    for number in range(50):
        (uploads / f"{number}").write_bytes(bytes(1000))
    settings = config.change(BACKUP_PATHS=f"'{app}'", KIT_PLAIN="true")
    full = run_night(settings, Progress())["kit"]
    assert full["findings"] == []
    uploads.rename(elsewhere)
    uploads.mkdir()
    planned = kit.create_kit(Job(settings, check=True))
    for _ in range(2):  # the night after that is no better, although the kit before it is as small
        told = Recorder(Progress())
        night = run_night(settings, told)
        assert night["exit_status"] == 0
        assert [f["code"] for f in night["kit"]["findings"]] == ["KIT_EMPTIED", "KIT_SHRUNK"]
        assert {one["code"] for one in alarms.open_alarms(settings)} == {
            "KIT_EMPTIED",
            "KIT_SHRUNK",
        }
        assert any("KIT_EMPTIED" in line and full["kit"] in line for line in told.lines)
    assert f"{uploads} (52 files, 3.1 MB)" in planned["findings"][0]["message"]
    uploads.rmdir()
    elsewhere.rename(uploads)
    assert run_night(settings, Progress())["kit"]["findings"] == []
    assert alarms.open_alarms(settings) == []


def test_another_servers_kit_is_not_taken_for_ours(keyed, key, tmp_path):
    kit.create_kit(Job(keyed))
    with pytest.raises(UsageError) as refused:
        restore_kit(
            Job(dataclasses.replace(keyed, server_name="other"), identities=(str(key),)),
            "latest",
            str(tmp_path / "back"),
        )
    assert refused.value.hint == "There are kits of test-server: set backup_server_name"


def test_the_bucket_is_what_is_left(config, database, new_config, s3, bucket, tmp_path):
    """Endpoint, bucket and key: whose backups there are, and what to set to restore them."""
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE t (i int)')
    made = create_backup(Job(config.settings))
    bare = tmp_path / "bare.env"
    wanted = ("S3_ENDPOINT_URL", "S3_BUCKET_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    bare.write_text("".join(f"{name}={config.values[name]}\n" for name in wanted))
    bare.chmod(0o600)
    listed = engine.run(bare, "list")
    assert listed.returncode == 0, listed.stderr
    assert (
        f"server test-server, database {database.name}: 1 backup, the newest {made['backup']}"
        in listed.stdout
    )
    assert "backup_server_name and backup_db_name" in listed.stdout
    found = engine.answer(engine.run(bare, "list", "--json"))
    assert [one["backup"] for one in found["backups"]] == [made["backup"]]
    assert found["owners"] == [
        {"server": "test-server", "database": database.name, "backups": 1, "newest": made["backup"]}
    ]
    refused = engine.run(bare, "restore", "latest")
    assert refused.returncode == 2
    assert "SERVER_NAME" in refused.stderr

    other = new_config(database, s3, bucket, SERVER_NAME="new-machine")
    lost = engine.run(other.path, "restore", "latest")
    engine.failed_well(
        lost, 2, "backup_server_name: test-server", f"backup_db_name: {database.name}"
    )
    with pytest.raises(UsageError) as refused:
        listing.look(other.settings, backup="latest")
    assert "set backup_server_name: test-server" in refused.value.hint
    assert listing.look(config.settings, backup="latest")["chosen"]["backup"] == made["backup"]
    assert owners.advice(
        owners.owners(config_file.load(str(bare), bucket_only=True), Store(config.settings))
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"bytes": 1}',
        b'{"server": {"name": 5}, "bytes": 1, "sha256": ""}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_manifest_hides_no_other_kit(keyed, key, tmp_path, s3_client, bucket, body):
    made = kit.create_kit(Job(keyed))
    spoiled = "postgres-backup/kit/postgres-backup-kit-2030-01-01_00-00-00"
    s3_client.put_object(Bucket=bucket, Key=f"{spoiled}.tar.gz.age", Body=b"x")
    s3_client.put_object(Bucket=bucket, Key=f"{spoiled}.json", Body=body)
    assert newest_kit(keyed)["kit"] == made["kit"]
    job, back = Job(keyed, identities=(str(key),)), str(tmp_path / "back")
    restored = restore_kit(job, "latest", back)
    assert restored["kit"] == made["kit"]
    again = kit.create_kit(Job(keyed))
    assert again["deleted"] == []
    for result in (restored, again):
        [found] = result["findings"]
        assert found["code"] == "KIT_UNREADABLE"
        assert "postgres-backup-kit-2030-01-01_00-00-00.tar.gz.age" in found["message"]
    with pytest.raises(BadBackupError, match="is damaged"):
        restore_kit(job, "postgres-backup-kit-2030-01-01_00-00-00.tar.gz.age", back)


def old_kit(s3_client, bucket: str, made: dict, days: int) -> str:
    """A copy of a kit that is so many days older."""
    moment = datetime.now(timezone.utc) - timedelta(days=days, minutes=5)
    name = f"postgres-backup-kit-{moment:%Y-%m-%d_%H-%M-%S}"
    facts = json.loads(
        s3_client.get_object(Bucket=bucket, Key=made["key"].replace(".tar.gz.age", ".json"))[
            "Body"
        ].read()
    )
    s3_client.copy_object(
        Bucket=bucket,
        Key=f"postgres-backup/kit/{name}.tar.gz.age",
        CopySource={"Bucket": bucket, "Key": made["key"]},
    )
    body = json.dumps(facts | {"name": f"{name}.tar.gz.age"}).encode()
    put_signed(s3_client, bucket, f"postgres-backup/kit/{name}.json", body)
    return f"{name}.tar.gz.age"


def test_kits_go_as_backups_do(keyed, s3, s3_client, bucket):
    """The same retention: the newest stay, others' stay, no more than half at once, and none on a
    clock that the store does not share.
    """
    made = kit.create_kit(Job(keyed))
    old = [old_kit(s3_client, bucket, made, days) for days in (1, 2, 3, 8, 9, 10)]
    before = engine.keys(s3_client, bucket, "postgres-backup/kit/")
    with ShiftedClock(s3.endpoint_url, 60 * 60 * 24 * 30) as between:
        elsewhen = dataclasses.replace(keyed, s3_endpoint_url=between.endpoint_url)
        saved = kit.create_kit(Job(elsewhen))
        assert saved["deleted"] == []
        told = {finding["code"] for finding in saved["findings"]}
        assert told == {"KITS_NOT_PRUNED", "CLOCK_DIFFERS"}
    assert set(before) <= set(engine.keys(s3_client, bucket, "postgres-backup/kit/"))
    done = kit.create_kit(Job(keyed))
    assert {one["kit"] for one in done["deleted"]} == set(old[3:])
    left = engine.keys(s3_client, bucket, "postgres-backup/kit/")
    assert not [key for key in left if any(name.split(".")[0] in key for name in old[3:])]
    assert f"postgres-backup/kit/{old[0]}" in left


def test_what_the_store_does_not_do_beside_a_kit_ends_none(keyed, s3, s3_client, bucket):
    with FaultProxy(s3.endpoint_url) as between:
        for method, contains in (("PUT", "/journal/"), ("GET", "kit%2F"), ("DELETE", "")):
            between.plan("status", method, contains, times=99, status=403, code="AccessDenied")
        settings = dataclasses.replace(keyed, s3_endpoint_url=between.endpoint_url)
        made = kit.create_kit(Job(settings))
    stored = s3_client.head_object(Bucket=bucket, Key=made["key"])
    assert stored["ContentLength"] == made["bytes"]
    told = {finding["code"] for finding in made["findings"]}
    # what lists unfinished uploads is such a GET too
    assert told == {"NAME_NOT_CLAIMED", "KITS_NOT_SEEN", "UPLOADS_NOT_SWEPT"}


def test_two_servers_under_one_prefix_never_take_the_same_name(
    keyed, key, tmp_path, s3_client, bucket, monkeypatch
):
    """Both begin at the same second, as crons do at midnight; neither loses its kit to another."""
    real, made = utc_now, []
    monkeypatch.setattr(journal, "utc_now", lambda: real() - timedelta(seconds=real().second % 5))
    servers = [
        dataclasses.replace(
            keyed, server_name=f"server-{number}", state_dir=str(tmp_path / f"state-{number}")
        )
        for number in range(3)
    ]
    threads = [
        threading.Thread(target=lambda one=one: made.append(kit.create_kit(Job(one))))
        for one in servers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one["kit"] for one in made}) == 3
    for one in servers:
        assert restore_kit(
            Job(one, identities=(str(key),)), "latest", str(tmp_path / one.server_name)
        )["kit"] in {done["kit"] for done in made}


@pytest.mark.parametrize("name", ["../outside", "inside/../../outside", "link/outside"])
def test_a_kit_that_leads_out_of_its_folder_is_refused(
    keyed, key, tmp_path, s3_client, bucket, name
):
    made = kit.create_kit(Job(dataclasses.replace(keyed, age_recipients=(), kit_plain=True)))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    body, manifest_key = packed.getvalue(), made["key"].replace(".tar.gz", ".json")
    facts = json.loads(s3_client.get_object(Bucket=bucket, Key=manifest_key)["Body"].read())
    facts |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    put_signed(s3_client, bucket, manifest_key, json.dumps(facts).encode())
    s3_client.put_object(Bucket=bucket, Key=made["key"], Body=body)
    (tmp_path / "back").mkdir()
    with pytest.raises(BadBackupError, match="leads out of"):
        restore_kit(Job(keyed), "latest", str(tmp_path / "back"))
    assert not (tmp_path / "outside").exists()
