"""The server kits in the bucket, whoever put them there, and whose they are."""

from __future__ import annotations

import json

import pytest

from postgres_backup.catalog.kits import findings_of, list_kits, newest_kit
from postgres_backup.catalog.manifest import dump_kit
from postgres_backup.s3.store import Store
from tests.integration import engine


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


@pytest.fixture
def put(s3_client, bucket):
    """``put(day, server)``: a kit of that day of January, of five bytes; its name."""

    def make(day: int, server: str, suffix: str = ".tar.gz", says: int = 5) -> str:
        stem = f"postgres-backup-kit-2026-01-{day:02}_00-00-00"
        about = {"server": {"name": server}, "bytes": says, "sha256": "0" * 64, "paths": ["/srv"]}
        keys = {f"{stem}{suffix}": b"12345", f"{stem}.json": dump_kit(about)}
        for name, body in keys.items():
            s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/kit/{name}", Body=body)
        return stem + suffix

    return make


def test_every_kit_is_listed_and_the_newest_of_ours_found(config, put, s3_client, bucket):
    old, newest = put(1, "test-server"), put(3, "test-server", ".tar.gz.age")
    cut, other = put(2, "test-server", says=6), put(4, "another")
    for name, body in {
        "postgres-backup-kit-2026-01-05_00-00-00.tar.gz": b"x",  # without a manifest
        "postgres-backup-kit-2026-01-06_00-00-00.tar.gz": b"x",
        "postgres-backup-kit-2026-01-06_00-00-00.json": json.dumps({"bytes": 1}).encode(),
        "postgres-backup-kit-2026-01-07.tar.gz": b"x",
        "postgres-backup-kit-2026-02-31_00-00-00.tar.gz": b"x",  # a day that does not exist
        "notes.txt": b"x",
    }.items():
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/kit/{name}", Body=body)
    kits = list_kits(config.settings, Store(config.settings))
    assert [kit.taken_at.day for kit in kits] == [6, 5, 4, 3, 2, 1]
    assert {kit.name: (kit.ours, kit.good) for kit in kits if kit.manifest} == {
        other: (False, True),
        newest: (True, True),
        cut: (True, False),
        old: (True, True),
    }
    assert [kit.ours for kit in kits[:2]] == [False, False]
    assert [kit.name for kit in kits if kit.problem] == [kits[0].name]
    [found] = findings_of(kits)
    assert (found["code"], kits[0].name in found["message"]) == ("KIT_UNREADABLE", True)
    assert all(kit.key == f"postgres-backup/kit/{kit.name}" for kit in kits)
    assert newest_kit(config.settings) == {
        "kit": newest,
        "paths": ["/srv"],
        "files": None,
        "encrypted": True,
    }


def test_none_was_ever_saved(config):
    assert newest_kit(config.settings) is None
