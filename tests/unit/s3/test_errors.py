"""Which failures of a store may pass, so that a night is tried again: not those that somebody must
mend.
"""

from __future__ import annotations

import botocore.exceptions
import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import calls
from postgres_backup.s3.errors import explain
from postgres_backup.settings import Settings

SETTINGS = Settings("db1", ("crm",), "crm", "http://127.0.0.1:1", "bucket", "key", "secret")
URL = {"endpoint_url": SETTINGS.s3_endpoint_url}


def answer(status: int, code: str = "") -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
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
