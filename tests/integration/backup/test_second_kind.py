"""What a prune says where every second is kept."""

from __future__ import annotations

import pytest

from postgres_backup.backup import second_kind
from postgres_backup.health import archiving
from postgres_backup.job import Job
from tests.integration import engine
from tests.unit.health.test_archiving import seen

KEY = "postgres-backup-recovered/postgres-backup-2026-01-27_14-03-00.sql.gz"


@pytest.fixture
def config(new_config, s3, bucket, monkeypatch):
    look = seen(first_at="2026-11-20T12:00:00Z", backups=9, stored_bytes=3_000_000)
    monkeypatch.setattr(archiving, "read", lambda *_: (look, ""))
    return new_config(engine.NO_SERVER, s3, bucket, PITR="true")


def test_it_says_what_is_kept_and_what_no_retention_deletes(config, s3_client, bucket):
    [kept] = second_kind.told(Job(config.settings))
    assert kept.startswith("every second: kept from 2026-11-20T12:00:00Z on, by 9 backups")
    s3_client.put_object(Bucket=bucket, Key=KEY, Body=b"x" * 2_000_000)
    told = second_kind.told(Job(config.settings))
    assert told[0] == kept
    assert told[1].startswith("postgres-backup-recovered/: 2.0 MB of databases that were recovered")
    assert second_kind.told(Job(config.change(PITR="false"))) == []


def test_a_store_that_does_not_say_is_said(config):
    told = second_kind.told(Job(config.change(S3_BUCKET_NAME="not-there-at-all")))
    assert told[1].startswith("postgres-backup-recovered/ was not looked at: Failed to list")
