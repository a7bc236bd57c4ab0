"""What `status` counts beside the backups."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.health import status
from tests.integration import engine
from tests.services.proxy import FaultProxy


@pytest.fixture
def littered(config, database, s3_client, bucket):
    """A good backup, and one of each kind of leftovers."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    engine.forge(s3_client, bucket, now - timedelta(hours=1), database=database.name)
    engine.forge(s3_client, bucket, now - timedelta(hours=2), with_manifest=False, body=b"x" * 1000)
    kit = "postgres-backup/kit/postgres-backup-kit-2026-01-27_00-00-00"
    s3_client.put_object(Bucket=bucket, Key=f"{kit}.tar.gz", Body=b"x" * 200)
    key = "postgres-backup/postgres-backup-2026-01-28_00-00-00.sql.gz"
    begun = s3_client.create_multipart_upload(Bucket=bucket, Key=key)
    for number, size in enumerate((5 * 1024 * 1024, 30), 1):
        s3_client.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=begun["UploadId"],
            PartNumber=number,
            Body=bytes(size),
        )
    return config


COUNTED = {
    "objects": 1,
    "object_bytes": 1000,
    "kits": 1,
    "kit_bytes": 200,
    "uploads": 1,
    "upload_bytes": 5 * 1024 * 1024 + 30,
}


def test_each_kind_is_counted(littered):
    seen = engine.answer(engine.run(littered.path, "status", "--json"))
    assert seen["leftovers"] == COUNTED
    assert seen["healthy"], "it costs room and nothing else"
    assert (
        "  in the bucket and no backup of this program: 1 without a manifest (1.0 kB), "
        "1 kits without one (200 B), 1 unfinished uploads (5.2 MB)"
    ) in engine.run(littered.path, "status").stdout.splitlines()


def test_the_watch_does_not_pay_for_it(littered):
    assert status.status(littered.settings)["leftovers"] is None


def test_a_store_that_does_not_say(littered, s3):
    with FaultProxy(s3.endpoint_url) as between:
        settings = littered.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "GET", "uploads", times=1000, status=403, code="AccessDenied")
        seen = status.status(settings, counting=True)
    assert seen["leftovers"] == COUNTED | {"uploads": 0, "upload_bytes": 0}
    assert [found["code"] for found in seen["findings"]] == ["LEFTOVERS"]


def test_a_clean_bucket_is_not_told_of(config, database, s3_client, bucket):
    now = datetime.now(timezone.utc).replace(microsecond=0)
    engine.forge(s3_client, bucket, now - timedelta(hours=1), database=database.name)
    seen = status.status(config.settings, counting=True)
    assert set(seen["leftovers"].values()) == {0}
    assert not [line for line in status.lines(seen) if "no backup of this program" in line]
