"""A proof is one more line of a backup's manifest, and a manifest where there was none."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from postgres_backup.catalog.backups import Catalog
from postgres_backup.clock import parse_timestamp, utc_now
from postgres_backup.errors import BadBackupError
from postgres_backup.job import Job
from postgres_backup.verify.proof import prove
from tests.integration import engine

TAKEN_AT = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def proven(config):
    job = Job(config.settings)
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    return backup, prove(job, backup)


def test_the_newest_proof_of_a_kind_takes_the_place_of_the_last(config, s3_client, bucket):
    proofs = [
        {"kind": "verify", "at": "2026-01-01T00:00:00Z", "by": "another"},
        {"kind": "restored", "at": "2026-01-02T00:00:00Z", "by": "another"},
    ]
    engine.forge(s3_client, bucket, TAKEN_AT, change={"proofs": proofs})
    backup, manifest = proven(config)
    *others, proof = manifest["proofs"]
    assert others == proofs[1:]
    assert (proof["kind"], proof["by"]) == ("verify", "test-server")
    assert (utc_now() - parse_timestamp(proof["at"])).total_seconds() < 60
    assert manifest | {"proofs": proofs} == backup.manifest


def test_one_without_a_manifest_gets_one_that_nobody_has_claimed(config, s3_client, bucket):
    engine.forge(s3_client, bucket, TAKEN_AT, with_manifest=False)
    _, manifest = proven(config)
    assert (manifest["server"], manifest["adopted"]) == ({"name": ""}, False)
    assert manifest["tables"]["public.t"]["rows"] == manifest["rows"] == 2
    assert [proof["kind"] for proof in manifest["proofs"]] == ["verify"]


def test_what_has_no_end_is_not_proven(config, s3_client, bucket):
    cut = engine.SMALL_DUMP[:-60]
    engine.forge(s3_client, bucket, TAKEN_AT, suffix=".sql", body=cut, dump=cut)
    with pytest.raises(BadBackupError, match="the end of the dump is missing"):
        proven(config)
