"""Backups read again, in turn, at the end of a night; what becomes of a bad one, and of a bound."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pyrage
import pytest

from postgres_backup.backup import database as backup_room
from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import journal
from postgres_backup.catalog.backups import Catalog
from postgres_backup.health import alarms
from postgres_backup.job import Job
from postgres_backup.nightly import rotation
from postgres_backup.verify import proof
from tests.integration import engine


@pytest.fixture
def kept(config, database, monkeypatch):
    """A job, with three backups of three days, and the clock two weeks later: ``kept.rotate()``
    plays a night's end, and says what was found.
    """
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 500) AS x")
    rights = {"DB_USER": database.server.superuser, "DB_PASSWORD": database.server.password}
    config.change(VERIFY_PER_NIGHT=1, **rights)
    return Kept(config, database.name, monkeypatch)


class Kept:
    def __init__(self, config, database: str, monkeypatch) -> None:
        self.config, self.database, self.days = config, database, 0
        self.names: list[str] = []
        real = datetime.now(timezone.utc).replace(microsecond=0)
        # of one second only one backup can be named: the next would wait for another
        for module in (journal, backup_room):
            monkeypatch.setattr(module, "utc_now", lambda: real - timedelta(3 - len(self.names)))
        for _ in range(3):
            self.names.append(create_backup(Job(config.settings))["backup"])
        monkeypatch.setattr(rotation, "utc_now", lambda: real + timedelta(days=self.days))
        monkeypatch.setattr(proof, "utc_now", lambda: real + timedelta(days=self.days))

    def there(self):
        settings = self.config.settings
        return Catalog(settings, Job(settings).store, self.database).backups()

    def rotate(self, **settings) -> list[str]:
        self.days += 1
        job = Job(dataclasses.replace(self.config.settings, **settings))
        return [found["code"] for found in rotation.rotate(job, {self.database: self.there()})]

    @property
    def proven(self) -> list[str]:
        return [str(one.name) for one in self.there() if one.proven]

    @property
    def open(self) -> list[str]:
        return [one["code"] for one in alarms.open_alarms(self.config.settings)]


def test_each_is_read_in_turn_and_then_the_first_again(kept):
    for night in range(1, 4):
        assert kept.rotate() == []
        assert sorted(kept.proven) == sorted(kept.names[:night]), "the oldest first"
    assert kept.rotate() == []
    proofs = {str(one.name): len(one.noted.keys) for one in kept.there()}
    assert [proofs[name] for name in kept.names] == [2, 1, 1]
    assert kept.rotate(verify_per_night=0) == []
    assert sum(len(one.noted.keys) for one in kept.there()) == 4


def test_one_that_is_no_longer_what_it_was_is_an_alarm_until_it_is_gone(kept, s3_client, bucket):
    bad = f"postgres-backup/{kept.names[0]}"
    whole = s3_client.get_object(Bucket=bucket, Key=bad)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=bad, Body=bytes([whole[0] ^ 1]) + whole[1:])
    assert kept.rotate()[:1] == ["VERIFY_FAILED"]
    assert kept.open == ["VERIFY_FAILED"]
    assert kept.rotate() == [], "the others have their turn"
    assert kept.proven == [kept.names[1]]
    assert kept.open == ["VERIFY_FAILED"]
    s3_client.put_object(Bucket=bucket, Key=bad, Body=whole)
    kept.rotate()
    kept.rotate()
    assert kept.open == []


def test_what_a_month_may_read_is_bounded(kept, monkeypatch):
    monkeypatch.setattr(rotation, "GB", 100_000)
    size = max(one.bytes for one in kept.there()) / rotation.GB
    for _ in range(3):
        assert kept.rotate(verify_gb_per_month=2.5 * size) == []
    assert len(kept.proven) == 2
    kept.days += 31
    assert kept.rotate(verify_gb_per_month=2.5 * size) == []
    assert len(kept.proven) == 3
    assert kept.rotate(verify_gb_per_month=0.5 * size) == ["VERIFY_TOO_LARGE"]


def test_of_an_encrypted_one_the_object_is_read_and_no_more_is_said(kept, s3_client, bucket):
    key = pyrage.x25519.Identity.generate()
    settings = kept.config.change(AGE_RECIPIENTS=str(key.to_public()))
    name = create_backup(Job(settings))["backup"]
    for other in kept.names:
        s3_client.delete_object(Bucket=bucket, Key=f"postgres-backup/{other}")
    assert kept.rotate() == []
    [one] = [backup for backup in kept.there() if str(backup.name) == name]
    assert (one.proven, one.proof, bool(one.checked_at)) == (False, None, True)
    listed = engine.run(kept.config.path, "list").stdout
    assert "good (object checked on " in listed
    data = s3_client.get_object(Bucket=bucket, Key=one.key)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=one.key, Body=data[:-1] + bytes([data[-1] ^ 1]))
    assert kept.rotate()[:2] == ["VERIFY_FAILED", "OBJECT_ALTERED"]


def test_a_store_that_is_away_then_is_no_alarm(kept, at_once):
    there = kept.there()
    kept.days += 1
    settings = dataclasses.replace(kept.config.settings, s3_endpoint_url="http://127.0.0.1:1")
    found = rotation.rotate(Job(settings), {kept.database: there})
    assert [one["code"] for one in found] == ["VERIFY_NOT_DONE"]
    assert kept.open == []
