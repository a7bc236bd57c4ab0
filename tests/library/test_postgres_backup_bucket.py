"""Make a bucket ready through the module."""

from __future__ import annotations

import secrets

import pytest

NAME = "postgres_backup_bucket"


@pytest.fixture
def missing(config, s3_client):
    """The name in ``config`` of a bucket that does not exist yet."""
    name = f"missing-{secrets.token_hex(6)}"
    config.change(S3_BUCKET_NAME=name)
    yield name
    if name in {bucket["Name"] for bucket in s3_client.list_buckets()["Buckets"]}:
        s3_client.delete_bucket(Bucket=name)


def test_check_mode_then_created_then_unchanged(
    run_module, says_what_it_returns, config, missing, s3_client
):
    plan = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, plan, check=True)
    assert plan["changed"]
    assert plan["created"]
    assert missing not in {bucket["Name"] for bucket in s3_client.list_buckets()["Buckets"]}

    done = run_module(NAME, config=config.path, unfinished_uploads_days=5)
    says_what_it_returns(NAME, done)
    assert done["changed"]
    assert done["created"]
    (rule,) = s3_client.get_bucket_lifecycle_configuration(Bucket=missing)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 5}

    assert not run_module(NAME, config=config.path, unfinished_uploads_days=5)["changed"]
    assert not run_module(NAME, check=True, config=config.path, unfinished_uploads_days=5)[
        "changed"
    ]
    assert run_module(NAME, check=True, config=config.path, unfinished_uploads_days=6)["changed"]
