"""Backups of older scripts are taken over, those that are whole, and only those."""

from __future__ import annotations

import gzip
import re
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.backup.prune import prune_backups
from postgres_backup.errors import StoreError
from postgres_backup.job import Job
from postgres_backup.nightly.adopt import adopt_backups
from tests.integration import engine
from tests.services.proxy import FaultProxy


def days_ago(days: float) -> datetime:
    """A little more than so many days ago."""
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days, minutes=5)


@pytest.fixture
def config(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there: to read a plain dump needs none."""
    return new_config(engine.NO_SERVER, s3, bucket)


def names_of(lines: list[dict]) -> list[str]:
    return [line["backup"] for line in lines]


def without_journal(client, bucket: str) -> set[str]:
    return {key for key in engine.keys(client, bucket) if "/journal/" not in key}


def test_adoption_reads_to_the_end_and_refuses_what_is_cut(config, s3_client, bucket):
    whole = [
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False) for day in (1, 9, 10)
    ]
    packed = gzip.compress(engine.SMALL_DUMP)
    cut_dump = engine.SMALL_DUMP[: engine.SMALL_DUMP.index(b"2\n")]
    bodies = (
        (packed[:-20], "COMPRESSION_TRUNCATED"),
        (gzip.compress(cut_dump), "COPY_UNFINISHED"),
        (b"", "COMPRESSION_TRUNCATED"),
        (b"<html>" * 100, "COMPRESSION_CORRUPT"),
        (gzip.compress(b""), "TRAILER_MISSING"),
    )
    refused = {
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False, body=body): code
        for day, (body, code) in enumerate(bodies, 11)
    }
    empty = engine.forge(
        s3_client, bucket, days_ago(16), with_manifest=False, suffix=".sql", body=b""
    )
    refused[empty] = "TRAILER_MISSING"
    foreign = engine.forge(s3_client, bucket, days_ago(17), server="other-server")
    before = without_journal(s3_client, bucket)
    assert names_of(prune_backups(Job(config.settings), allow_many=True)["deleted"]) == []

    planned = adopt_backups(Job(config.settings, check=True))
    assert without_journal(s3_client, bucket) == before
    result = adopt_backups(Job(config.settings))
    assert (
        (result["adopted"], names_of(result["refused"]))
        == (planned["adopted"], names_of(planned["refused"]))
        == (whole, list(refused))
    )
    assert {f["code"] for f in result["findings"]} >= set(refused.values())
    assert foreign not in str(result)
    again = adopt_backups(Job(config.settings))
    assert (again["changed"], again["adopted"]) == (False, [])

    pruned = prune_backups(Job(config.settings), allow_many=True)
    assert names_of(pruned["deleted"]) == whole[1:]
    assert {f"postgres-backup/{name}" for name in refused} <= set(engine.keys(s3_client, bucket))


def test_adoption_says_what_it_did(config, s3_client, bucket):
    good = engine.forge(s3_client, bucket, days_ago(1), with_manifest=False)
    bad = engine.forge(s3_client, bucket, days_ago(2), with_manifest=False, body=b"")
    done = engine.run(config.path, "adopt")
    assert done.returncode == 0, done.stderr
    assert f"adopted  {good}" in done.stdout
    assert f"refused  {bad}: " in done.stdout
    listed = engine.run(config.path, "list").stdout
    assert re.search(rf"{good} .* proven ", listed)
    assert re.search(rf"{bad} .* unproven .*postgres-backup adopt", listed)


def test_a_store_that_goes_away_is_no_reason_to_refuse_a_backup(config, s3, s3_client, bucket):
    engine.forge(s3_client, bucket, days_ago(1), with_manifest=False)
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan(
            "status", "GET", "postgres-backup-", times=1000, status=403, code="AccessDenied"
        )
        with pytest.raises(StoreError):
            adopt_backups(Job(settings))
