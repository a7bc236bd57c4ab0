"""The hostile store of the tests does what it says, and is a good store where nothing is played."""

from __future__ import annotations

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from tests.services.hostile_store import ANSWERS

PLAIN = Config(
    s3={"addressing_style": "path"},
    retries={"total_max_attempts": 1},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


@pytest.fixture
def asking(hostile):
    """boto3 as somebody else would use it, through the hostile store."""
    keys = {"aws_access_key_id": hostile.access_key, "aws_secret_access_key": hostile.secret_key}
    return boto3.client(
        "s3", endpoint_url=hostile.endpoint_url, region_name="us-east-1", config=PLAIN, **keys
    )


def refused(code: str, request, **asked) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        request(**asked)
    assert caught.value.response["Error"]["Code"] == code


def test_without_a_play_it_is_the_store(hostile, asking, s3_client, bucket):
    one = {"Bucket": bucket, "Key": "folder/a b+é.json"}
    asking.put_object(**one, Body=b"12345", ContentMD5="gnzLDuqKcGxMNKFokfhOew==")
    refused("InvalidDigest", asking.put_object, **one, Body=b"", ContentMD5="x")
    assert asking.get_object(**one, Range="bytes=2-")["Body"].read() == b"345"
    assert asking.head_object(**one)["ContentLength"] == 5
    began = asking.create_multipart_upload(Bucket=bucket, Key="two")["UploadId"]
    upload = {"Bucket": bucket, "Key": "two", "UploadId": began}
    part = asking.upload_part(**upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    asking.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert s3_client.get_object(Bucket=bucket, Key="two")["Body"].read() == b"part"
    listed = asking.list_objects_v2(Bucket=bucket)["Contents"]
    assert [found["Key"] for found in listed] == ["folder/a b+é.json", "two"]
    asking.delete_object(**one)
    assert hostile.requests[-1].startswith("DELETE ")


def test_what_is_accepted_is_ignored(hostile, asking, s3_client, new_bucket, s3):
    """Each first as the store does it, so that the play is what makes the difference."""
    bucket = new_bucket(s3)
    one = {"Bucket": bucket, "Key": "one"}
    asking.put_object(**one, Body=b"first")
    again = {**one, "Body": b"second", "IfNoneMatch": "*"}
    refused("PreconditionFailed", asking.put_object, **again)
    hostile.play("conditions ignored")
    asking.put_object(**again)
    wrong = {**one, "Body": b"third", "ContentMD5": "gnzLDuqKcGxMNKFokfhOew=="}
    refused("BadDigest", asking.put_object, **wrong)
    hostile.play("MD5 ignored")
    asking.put_object(**wrong)
    assert s3_client.get_object(**one)["Body"].read() == b"third"
    hostile.play("versioning ignored")
    asking.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert "Status" not in s3_client.get_bucket_versioning(Bucket=bucket)
    sent = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
    hostile.play("lock ignored")
    asking.put_object(**one, Body=b"locked", **sent, ContentMD5="vyfzWuSTdXxZJ4rnqwI3Sg==")
    assert "ObjectLockMode" not in s3_client.head_object(**one)
    s3_client.delete_object(**one)


def test_each_has_a_name_and_words():
    assert len(ANSWERS) > 50
    assert all(one.what and one.name == name for name, one in ANSWERS.items())


def test_a_play_ends_and_begins_when_it_is_told(hostile, asking, bucket):
    one = {"Bucket": bucket, "Key": "one"}
    played = hostile.play("swallowed", contains="/one", times=1, skip=1)
    seen = []
    for body in (b"kept", b"thrown away", b"kept too"):
        asking.put_object(**one, Body=body)
        seen.append(asking.get_object(**one)["Body"].read())
    assert seen == [b"kept", b"kept", b"kept too"]
    assert played.done == 1
    hostile.be_honest()
    assert hostile.requests == []
