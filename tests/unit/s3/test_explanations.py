"""Which failures of a store may pass, so that a night is tried again: not those that somebody must
mend.
"""

from __future__ import annotations

import dataclasses

import botocore.exceptions
import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import calls
from postgres_backup.s3.explanations import explain
from postgres_backup.settings import Settings

SETTINGS = Settings("db1", ("crm",), "crm", "http://127.0.0.1:1", "bucket", "key", "secret")
URL = {"endpoint_url": SETTINGS.s3_endpoint_url}


def answer(
    status: int, code: str = "", operation: str = "PutObject"
) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


def explained(error: Exception) -> StoreError:
    return explain(error, calls.SEE, "look", SETTINGS)


@pytest.mark.parametrize(
    "error",
    [
        answer(500, "InternalError"),
        answer(503, "SlowDown"),
        answer(429),
        answer(502),
        answer(522),  # a gateway of somebody else's
        answer(409, "OperationAborted"),
        answer(403, "RequestTimeTooSkewed"),  # clocks are set right
        botocore.exceptions.EndpointConnectionError(error="refused", **URL),
        botocore.exceptions.ConnectTimeoutError(**URL),
        botocore.exceptions.ReadTimeoutError(**URL),
        botocore.exceptions.ConnectionClosedError(**URL),
        botocore.exceptions.SSLError(error="EOF occurred in violation of protocol", **URL),
    ],
    ids=str,
)
def test_what_may_pass(error):
    assert explained(error).passes


@pytest.mark.parametrize(
    "error",
    [
        answer(403, "InvalidAccessKeyId"),
        answer(403, "SignatureDoesNotMatch"),
        answer(403, "AccessDenied"),
        answer(403, "QuotaExceeded"),
        answer(404, "NoSuchBucket"),
        answer(400, "AuthorizationHeaderMalformed"),
        answer(501, "NotImplemented"),
        answer(507, "XMinioStorageFull"),
        botocore.exceptions.SSLError(error="CERTIFICATE_VERIFY_FAILED", **URL),
        KeyError("UploadId"),  # a web page, say
    ],
    ids=str,
)
def test_what_somebody_must_mend(error):
    assert not explained(error).passes


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://s3.example.org/crm-backups", "https://s3.example.org"),
        ("https://s3.example.org/crm-backups/", "https://s3.example.org"),
        ("https://gate.example.org/s3/crm-backups", "https://gate.example.org/s3"),
        ("https://crm-backups.s3.example.org", "https://s3.example.org"),
        ("http://crm-backups.s3.example.org:9000", "http://s3.example.org:9000"),
        ("https://s3.example.org", ""),
        ("https://s3.example.org/other", ""),
        ("https://my-crm-backups.example.org", ""),
        ("https://crm-backups.local", ""),  # a host of that name
    ],
)
def test_an_address_with_the_bucket_in_it_is_told_with_the_one_that_is_meant(url, meant):
    settings = dataclasses.replace(SETTINGS, s3_endpoint_url=url, s3_bucket="crm-backups")
    said = explain(answer(404, "NoSuchKey", "ListObjectsV2"), calls.REACH, "look", settings)
    assert (f"{url}, has the bucket in it" in said.message) is bool(meant)
    assert said.hint.endswith(f" to {meant}") or not meant
    # an object that is not there is no such thing, nor a bucket that is still to be made
    for code, operation in (("NoSuchKey", "GetObject"), ("NoSuchBucket", "ListObjectsV2")):
        there = explain(answer(404, code, operation), calls.REACH, "look", settings)
        assert "has the bucket in it" not in there.message


def test_a_bucket_with_capitals_is_said_how_it_may_be_meant():
    settings = dataclasses.replace(SETTINGS, s3_bucket="CRM-Backups")
    for code in ("NoSuchBucket", "InvalidBucketName"):
        said = explain(answer(404, code), calls.REACH, "look", settings)
        assert "new ones have small letters" in said.message
        assert "S3_BUCKET_NAME) to crm-backups, if" in said.hint
