"""Whose backups a bucket holds, for whoever has nothing left but the bucket and its key."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.owners import advice, owners
from postgres_backup.s3.store import Store
from tests.integration import engine

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def test_each_server_and_database_once_the_newest_first(config, s3_client, bucket):
    def forge(days: float, server: str, database: str, **more: object) -> str:
        taken_at = NOW - timedelta(days=days)
        return engine.forge(s3_client, bucket, taken_at, server=server, database=database, **more)

    forge(9, "db1", "crm")
    newest = forge(3, "db1", "crm", folder="crm")  # before there were fewer databases; listed first
    shop = forge(1, "db1", "shop", folder="shop")
    other = forge(2, "db2", "crm", folder="crm")
    forge(0.5, "", "crm")  # proven by verify, claimed by nobody
    forge(0.4, "db3", "crm", change={"rows": "many"})
    forge(0.3, "db4", "crm", with_manifest=False)
    forge(0.2, "db5", "crm", prefix="elsewhere")
    own = forge(0.1, "db6", "crm", prefix="postgres-backup/db6")  # a folder of its own
    deeper = forge(0.05, "db7", "crm", prefix="postgres-backup/db7", folder="crm")
    found = owners(config.settings, Store(config.settings))
    assert found == [
        {"server": "db7", "database": "crm", "backups": 1, "newest": deeper},
        {"server": "db6", "database": "crm", "backups": 1, "newest": own},
        {"server": "db1", "database": "shop", "backups": 1, "newest": shop},
        {"server": "db2", "database": "crm", "backups": 1, "newest": other},
        {"server": "db1", "database": "crm", "backups": 2, "newest": newest},
    ]
    hint = advice(found)
    assert "set backup_server_name: db7 and backup_db_name: crm" in hint
    assert f"server db2, database crm: 1, the newest {other}" in hint


def test_an_empty_bucket_gives_no_advice(config):
    assert advice(owners(config.settings, Store(config.settings))) == ""
