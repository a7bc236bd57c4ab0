"""Putting the files of a kit back. How kits are saved is tested in the folder ``backup``."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pwd
import tarfile

import pytest

from postgres_backup.backup.kit import create_kit
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore import kit as restore_kit_room
from postgres_backup.restore.kit import lines, restore_kit
from tests.hostile_kits import LINK, kit_of
from tests.services.signing import put_signed


@pytest.fixture
def saved(config, tmp_path):
    """A kit of two files, in the clear; the settings, and what was told of it."""
    app = tmp_path / "app"
    (app / "uploads").mkdir(parents=True)
    (app / "compose.yml").write_text("services: {}\n")
    (app / "uploads" / "photo").write_bytes(b"\x00\x01" * 5000)
    (app / "uploads").chmod(0o2775)
    settings = config.change(BACKUP_PATHS=f"'{app}'", KIT_PLAIN="true")
    return settings, create_kit(Job(settings)), app


def test_files_come_back_with_their_modes(saved, tmp_path):
    settings, kit, app = saved
    back = tmp_path / "back"
    looked = restore_kit(Job(settings, check=True), "latest", str(back))
    assert not back.exists()
    assert lines(looked, check=True)[0].startswith(f"kit: {kit['kit']} is whole")
    done = restore_kit(Job(settings), kit["kit"], str(back))
    assert (done["kit"], done["files"], done["sha256"]) == (
        kit["kit"],
        kit["files"],
        kit["sha256"],
    )
    there = back / str(app).lstrip("/")
    assert (there / "uploads" / "photo").read_bytes() == b"\x00\x01" * 5000
    assert (there / "uploads").stat().st_mode & 0o7777 == 0o2775
    assert lines(done)[0].startswith(f"kit: {kit['kit']} is back: {kit['files']} files, ")


def test_one_that_is_not_there_or_not_what_it_was_is_said(
    saved, config, tmp_path, s3_client, bucket
):
    settings, kit, _ = saved
    back = str(tmp_path / "back")
    with pytest.raises(UsageError, match="There is no kit") as caught:
        restore_kit(Job(settings), kit["kit"] + "x", back)
    assert kit["kit"] in caught.value.hint
    manifest = kit["key"].partition(".")[0] + ".json"
    told = json.loads(s3_client.get_object(Bucket=bucket, Key=manifest)["Body"].read())
    put_signed(s3_client, bucket, manifest, json.dumps(told | {"sha256": "0" * 64}).encode())
    with pytest.raises(BadBackupError, match="is not the object that was uploaded") as caught:
        restore_kit(Job(settings), "latest", back)
    assert [finding["code"] for finding in caught.value.findings] == ["OBJECT_ALTERED"]
    assert not (tmp_path / "back").exists()


@pytest.fixture
def forge(saved, s3_client, bucket):
    """``forge(data)``: whoever may write to the bucket puts another archive, with a manifest that
    fits, in the place of the kit; and has somebody's key besides.
    """
    _, kit, app = saved
    manifest = kit["key"].partition(".")[0] + ".json"
    honest = json.loads(s3_client.get_object(Bucket=bucket, Key=manifest)["Body"].read())

    def put(tar: bytes, **more: object) -> None:
        body = gzip.compress(tar)
        facts = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), **more}
        s3_client.put_object(Bucket=bucket, Key=kit["key"], Body=body)
        put_signed(s3_client, bucket, manifest, json.dumps(honest | facts).encode())

    return put, str(app).lstrip("/")


def test_a_forged_kit_is_refused_by_the_check_as_by_a_real_one(saved, forge, tmp_path):
    settings, _, _ = saved
    put, app = forge
    back, outside = tmp_path / "back", tmp_path / "outside"
    outside.mkdir()
    bomb = tarfile.TarInfo(f"{app}/zeros").tobuf(tarfile.PAX_FORMAT)
    for data, more, said in (
        (kit_of((str(outside / "a"),)), {}, "leads out of the paths"),
        (kit_of((f"{app}/good",), ("etc/cron.d/a",)), {}, "leads out of the paths"),
        (kit_of((f"{app}/good",), (f"{app}/su", tarfile.REGTYPE, 0o4755)), {}, "set-uid"),
        (kit_of((f"{app}/good",), (f"{app}/dev", tarfile.BLKTYPE)), {}, "block device"),
        (kit_of((f"{app}/l", LINK, str(outside)), (f"{app}/l/a",)), {}, "through a link"),
        (kit_of((f"{app}/good",)), {"paths": []}, "does not say which paths"),
        (kit_of((f"{app}/good",)), {"paths": ["/srv/../.."]}, "does not say which paths"),
        (kit_of((f"{app}/good",))[:600] + bomb, {}, "is damaged"),
    ):
        put(data, **more)
        for check in (True, False):
            with pytest.raises(BadBackupError, match=said) as caught:
                restore_kit(Job(settings, check=check), "latest", str(back))
            assert caught.value.findings[0]["code"] in ("KIT_REFUSED", "KIT_DAMAGED")
            assert not back.exists()
    assert list(outside.iterdir()) == []


def test_what_leads_out_is_left_out_and_the_rest_comes_back(saved, forge, tmp_path):
    settings, _, app = saved
    put, name = forge
    put(kit_of((f"{name}/out", LINK, "/etc/passwd"), (f"{name}/in", LINK, f"{app}/.env")))
    would = restore_kit(Job(settings, check=True), "latest", str(tmp_path / "back"))
    done = restore_kit(Job(settings), "latest", str(tmp_path / "back"))
    assert [found["code"] for found in done["findings"]] == ["KIT_LINK_LEFT_OUT"]
    assert would["findings"] == done["findings"]
    assert f"ln -s /etc/passwd {app}/out" in lines(would, check=True)[-1]
    there = tmp_path / "back" / name
    assert [path.name for path in there.iterdir()] == ["in"]
    assert (there / "in").resolve() == (there / ".env").resolve()


def test_an_object_that_is_swapped_between_look_and_write_changes_nothing(
    saved, forge, tmp_path, monkeypatch
):
    settings, _, _ = saved
    put, name = forge
    real = restore_kit_room._put_back

    def swapped(*arguments) -> None:
        put(kit_of((f"{name}/other",)))
        real(*arguments)

    monkeypatch.setattr(restore_kit_room, "_put_back", swapped)
    with pytest.raises(BadBackupError):
        restore_kit(Job(settings), "latest", str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_come_back_by_name_and_by_number_else(saved, forge, tmp_path):
    settings, _, _ = saved
    put, name = forge
    here = pwd.getpwnam("daemon").pw_uid
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for user, number in (("daemon", here + 700), ("nobody-knows", 54321), ("root", 0)):
            info = tarfile.TarInfo(f"{name}/{user}")
            info.uname, info.uid, info.gname, info.gid = user, number, "root", 0
            tar.addfile(info)
    put(buffer.getvalue())
    would = restore_kit(Job(settings, check=True), "latest", str(tmp_path / "back"))
    assert would["owners"] == [
        {"kind": "user", "name": "daemon", "was": here + 700, "here": here, "known": True},
        {"kind": "user", "name": "nobody-knows", "was": 54321, "here": 54321, "known": False},
    ]
    assert f"user daemon: {here + 700} in the kit, {here} here" in lines(would, check=True)[-1]
    restore_kit(Job(settings), "latest", str(tmp_path / "back"))
    owners = {one.name: one.stat().st_uid for one in (tmp_path / "back" / name).iterdir()}
    assert owners == {"daemon": here, "nobody-knows": 54321, "root": 0}
