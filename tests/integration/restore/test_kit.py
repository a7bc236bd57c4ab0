"""Putting the files of a kit back. How kits are saved is tested in the folder ``backup``."""

from __future__ import annotations

import json

import pytest

from postgres_backup.backup.kit import create_kit
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore.kit import lines, restore_kit


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
    s3_client.put_object(
        Bucket=bucket, Key=manifest, Body=json.dumps(told | {"sha256": "0" * 64}).encode()
    )
    with pytest.raises(BadBackupError, match="is not the object that was uploaded") as caught:
        restore_kit(Job(settings), "latest", back)
    assert [finding["code"] for finding in caught.value.findings] == ["OBJECT_ALTERED"]
    assert not (tmp_path / "back").exists()
