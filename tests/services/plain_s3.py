"""boto3 as somebody else would use it: how a test looks at a bucket, or harms it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from demo.s3_server import SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client_of(server: SeaweedFS) -> S3Client:
    """With the key of its administrator, and over TLS with its own CA."""
    return _client(server.endpoint_url, server.access_key, server.secret_key, server.ca_bundle)


@functools.cache  # making one takes as long as five of its calls
def _client(endpoint_url: str, access_key: str, secret_key: str, ca_bundle: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        verify=ca_bundle or None,
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            # else it is put together anew for each call
            user_agent="postgres-backup-tests",
        ),
    )
