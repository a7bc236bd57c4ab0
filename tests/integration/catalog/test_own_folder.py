"""A folder per server under one prefix: each sees its own alone, and whoever names the prefix of
all of them sees all.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.catalog import kits, manifest
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.history import history
from postgres_backup.catalog.names import Layout, own_folder
from postgres_backup.health import listing
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy
from tests.services.signing import put_signed

NOW = datetime.now(timezone.utc).replace(microsecond=0)
OWN = own_folder("postgres-backup", "test-server")


def forge(client, bucket: str, days: float, **more: object) -> str:
    return engine.forge(client, bucket, NOW - timedelta(days=days), **more)


@pytest.fixture
def counted(new_config, s3, bucket):
    """A config, and the proxy between it and the store, which notes each request."""
    with FaultProxy(s3.endpoint_url) as between:
        config = new_config(engine.NO_SERVER, s3, bucket)
        Path(config.change(S3_ENDPOINT_URL=between.endpoint_url).state_dir).mkdir(exist_ok=True)
        yield config, between


def test_a_look_at_a_folder_of_its_own_costs_what_it_costs_alone(counted, s3_client, bucket):
    config, between = counted
    for server in range(12):
        name = f"db{server}"
        forge(s3_client, bucket, 1, server=name, prefix=own_folder("postgres-backup", name))
    forge(s3_client, bucket, 2, server="old")  # one that stands, under the prefix itself
    mine = [forge(s3_client, bucket, days, prefix=OWN) for days in (1, 2)]
    settings = config.change(S3_PREFIX=OWN)
    listing.look(settings)  # what is there is read once
    between.requests.clear()
    assert [line["backup"] for line in listing.look(settings)["backups"]] == mine
    assert len(between.requests) <= 4, between.requests
    assert not [asked for asked in between.requests if "%2Ftest-server" not in asked]


def test_whoever_names_the_prefix_of_all_finds_a_servers_own_folder(counted, s3_client, bucket):
    config, _ = counted
    forge(s3_client, bucket, 1, server="old")
    newest = forge(s3_client, bucket, 2, prefix=OWN)
    catalog = Catalog(config.settings, Store(config.settings), "crm")
    assert str(catalog.resolve("latest").name) == newest
    assert catalog.resolve(newest).key == f"{OWN}/{newest}"
    event = b'{"at": "%s", "event": "backup", "server": "test-server", "database": "crm"}'
    at = NOW - timedelta(hours=1)
    body = event % at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    key = Layout(OWN).journal(at, "backup-test-server")
    put_signed(s3_client, bucket, key, body)
    told = history(config.settings)["events"]
    assert [one["event"] for one in told] == ["backup"]


def test_a_kit_in_a_folder_of_its_own_is_found(counted, s3_client, bucket):
    config, _ = counted
    store, name = Store(config.settings), "postgres-backup-kit-2026-01-27_00-00-00.tar.gz"
    s3_client.put_object(Bucket=bucket, Key=f"{OWN}/kit/{name}", Body=b"x")
    described = {"name": name, "server": {"name": "test-server"}, "bytes": 1, "sha256": "0" * 64}
    key = f"{OWN}/kit/{name.removesuffix('.tar.gz')}.json"
    put_signed(s3_client, bucket, key, manifest.dump_kit(described))
    assert [kit.key for kit in kits.find_kits(config.settings, store)] == [f"{OWN}/kit/{name}"]
    assert kits.list_kits(config.settings, store) == []


def test_from_the_bucket_alone_both_ways_to_lie_are_listed_by_one_listing(
    counted, s3_client, bucket
):
    config, between = counted
    lie = [
        forge(s3_client, bucket, 5, server="old"),
        forge(s3_client, bucket, 4, server="old-too", database="shop", folder="shop"),
        forge(s3_client, bucket, 3, server="new", prefix="postgres-backup/new"),
        forge(s3_client, bucket, 2, prefix=OWN, database="shop", folder="shop"),
    ]
    bare = dataclasses.replace(config.settings, server_name="", databases=())
    between.requests.clear()
    found = listing.look(bare)
    assert sorted(line["backup"] for line in found["backups"]) == sorted(lie)
    assert {owner["server"] for owner in found["owners"]} == {
        *("old", "old-too", "new", "test-server")
    }
    listed = [asked for asked in between.requests if "list-type=2" in asked]
    assert len(listed) == 2, "is the store there, and all of it"
    assert len(between.requests) == 2 + 2 * len(lie), "each manifest and its signature"


def test_a_backup_that_lies_at_both_places_is_one(config_of_one, s3_client, bucket):
    """As while a server moves; what is damaged at one place is taken from the other."""
    taken_at = NOW - timedelta(days=1)
    name = engine.forge(s3_client, bucket, taken_at)
    for folder in ("", "manifests/", "globals/"):
        for key in engine.keys(s3_client, bucket, f"postgres-backup/{folder}postgres-backup-"):
            target = f"{OWN}/{key.removeprefix('postgres-backup/')}"
            source = {"Bucket": bucket, "Key": key}
            s3_client.copy_object(Bucket=bucket, Key=target, CopySource=source)
    settings = config_of_one.settings
    catalog = Catalog(settings, Store(settings), "crm")
    assert [backup.key for backup in catalog.backups()] == [f"postgres-backup/{name}"]
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=b"cut")
    assert [backup.key for backup in catalog.backups()] == [f"{OWN}/{name}"]


@pytest.fixture
def config_of_one(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def test_in_an_empty_folder_of_its_own_a_server_hears_whose_backups_there_are(
    counted, s3_client, bucket
):
    """Rebuilt under a wrong name it has got a new place, and finds nothing there."""
    config, _ = counted
    forge(s3_client, bucket, 1, server="shop1", prefix=own_folder("postgres-backup", "shop1"))
    config.change(SERVER_NAME="shop-b", S3_PREFIX=own_folder("postgres-backup", "shop-b"))
    done = engine.run(config.path, "verify", "latest")
    engine.failed_well(done, 2, "set backup_server_name: shop1 and backup_db_name: crm")
