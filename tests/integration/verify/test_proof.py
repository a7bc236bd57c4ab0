"""A proof is an object of its own; a manifest is written only where there was none."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest

from postgres_backup.catalog.backups import Backup, Catalog
from postgres_backup.clock import parse_timestamp, utc_now
from postgres_backup.errors import BadBackupError
from postgres_backup.job import Job
from postgres_backup.verify.proof import note, prove
from tests.integration import engine

TAKEN_AT = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def latest(job: Job) -> Backup:
    return Catalog(job.settings, job.store, job.database).resolve("latest")


def test_a_proof_leaves_the_manifest_as_it_is(config, s3_client, bucket):
    """Also one of schema 1, whose own proofs count; those in a manifest of today do not."""
    within = [{"kind": "verify", "at": "2026-01-28T00:00:00Z", "by": "another"}]
    job = Job(config.settings)
    for schema, proofs in ((1, within), (2, [])):
        engine.forge(s3_client, bucket, TAKEN_AT, change={"schema": schema, "proofs": within})
        backup = latest(job)
        assert (list(backup.proofs), backup.proven) == (proofs, bool(proofs))
        before = s3_client.get_object(Bucket=bucket, Key=backup.layout.manifest(backup.name))
        described = prove(job, backup)
        assert described == backup.manifest
        note(job, backup, described)
        after = s3_client.get_object(Bucket=bucket, Key=backup.layout.manifest(backup.name))
        data = after["Body"].read()
        assert data == before["Body"].read()
        [*others, proof] = latest(job).proofs
        assert (others, proof["kind"], proof["by"]) == (proofs, "read", "test-server")
        assert (utc_now() - parse_timestamp(proof["at"])).total_seconds() < 60
        record = engine.proofs_of(s3_client, bucket, {"key": backup.key})[-1]
        assert record == {
            "backup": str(backup.name),
            "database": "crm",
            "server": "test-server",
            "kind": "read",
            "at": proof["at"],
            "by": "test-server",
            "manifest_sha256": hashlib.sha256(data).hexdigest(),
        }


def test_one_without_a_manifest_gets_one_that_nobody_has_claimed(config, s3_client, bucket):
    engine.forge(s3_client, bucket, TAKEN_AT, with_manifest=False)
    job = Job(config.settings)
    backup = latest(job)
    manifest = prove(job, backup)
    assert (manifest["server"], manifest["adopted"]) == ({"name": ""}, False)
    assert manifest["tables"]["public.t"]["rows"] == manifest["rows"] == 2
    assert (manifest["schema"], "proofs" in manifest) == (2, False)
    assert manifest["parts"] == [{"bytes": backup.bytes, "sha256": manifest["sha256"]}]
    note(job, backup, manifest)
    proven = latest(job)
    assert (proven.manifest, proven.proven, proven.ours) == (manifest, True, False)


def test_one_that_is_written_anew_is_as_those_of_today(config, s3_client, bucket):
    """An adopted one."""
    proofs = [{"kind": "verify", "at": "2026-01-28T00:00:00Z"}]
    change = {"schema": 1, "proofs": proofs, "adopted": False, "server": {}}
    engine.forge(s3_client, bucket, TAKEN_AT, change=change)
    job = Job(config.settings)
    backup = latest(job)
    manifest = prove(job, backup, anew=True)
    assert (manifest["schema"], "proofs" in manifest, len(manifest["parts"])) == (2, False, 1)
    assert backup.manifest["proofs"] == proofs


def test_what_has_no_end_is_not_proven(config, s3_client, bucket):
    cut = engine.SMALL_DUMP[:-60]
    engine.forge(s3_client, bucket, TAKEN_AT, suffix=".sql", body=cut, dump=cut)
    job = Job(config.settings)
    with pytest.raises(BadBackupError, match="the end of the dump is missing"):
        prove(job, latest(job))
