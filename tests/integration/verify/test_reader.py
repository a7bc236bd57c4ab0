"""The way back of a backup: out of the store, decrypted, unpacked, held against its manifest."""

from __future__ import annotations

from datetime import datetime, timezone

import pyrage
import pytest

from postgres_backup.catalog.backups import Backup, Catalog
from postgres_backup.catalog.names import BackupName
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.stream.codec import Chain
from postgres_backup.verify.reader import BackupReader
from tests.integration import engine

TAKEN_AT = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def read(job: Job, backup: Backup) -> tuple[bytes, BackupReader]:
    chunks: list[bytes] = []
    reader = BackupReader(job, backup)
    reader.feed(chunks.append)
    return b"".join(chunks), reader


@pytest.mark.parametrize(
    ("suffix", "compression"), [(".sql.gz", "gzip"), (".sql.zst", "zstd"), (".sql", "none")]
)
def test_the_dump_comes_out_as_it_went_in(config, s3_client, bucket, suffix, compression):
    chain = Chain(compression)
    body = chain.write(engine.SMALL_DUMP) + chain.finish()
    engine.forge(s3_client, bucket, TAKEN_AT, suffix=suffix, body=body)
    progress = Progress()
    job = Job(config.settings, progress=progress)
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    dump, reader = read(job, backup)
    assert dump == engine.SMALL_DUMP
    assert reader.sha256 == backup.manifest["sha256"]
    assert progress.done == len(body)


def test_an_object_that_was_swapped_is_found_out(config, s3_client, bucket):
    body = engine.SMALL_DUMP
    name = engine.forge(s3_client, bucket, TAKEN_AT, suffix=".sql", body=body)
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body.swapcase())
    job = Job(config.settings)
    with pytest.raises(BadBackupError, match="is not the object that was uploaded") as caught:
        read(job, Catalog(job.settings, job.store, job.database).resolve("latest"))
    assert [f["code"] for f in caught.value.findings] == ["OBJECT_ALTERED"]


def test_an_encrypted_one_takes_its_key(config, s3_client, bucket):
    pair = pyrage.x25519.Identity.generate()
    chain = Chain("gzip", (str(pair.to_public()),))
    body = chain.write(engine.SMALL_DUMP) + chain.finish()
    name = BackupName(TAKEN_AT, encrypted=True)
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body)
    job = Job(config.settings)
    backup = Catalog(job.settings, job.store, job.database).resolve(str(name))
    with pytest.raises(UsageError, match="is encrypted and no private key was given"):
        read(job, backup)
    dump, _ = read(Job(config.settings, identities=(str(pair),)), backup)
    assert dump == engine.SMALL_DUMP
