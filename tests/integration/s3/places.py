"""An S3 server with a fresh bucket, as the tests of the store see it, and what they write there."""

import dataclasses
import hashlib
import os

import boto3
from botocore.config import Config

from demo.s3_server import SeaweedFS
from postgres_backup.errors import PostgresBackupError
from postgres_backup.s3.store import Store
from postgres_backup.settings import Settings

MIB = 1024 * 1024
PART = 8 * MIB
BLOCK = os.urandom(MIB)


@dataclasses.dataclass(frozen=True)
class Place:
    """An S3 server with a fresh bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str
    ca_bundle: str
    bucket: str

    def settings(self, **changes) -> Settings:
        known = {
            "server_name": "test",
            "databases": ("crm",),
            "db_user": "crm",
            "s3_endpoint_url": self.endpoint_url,
            "s3_bucket": self.bucket,
            "s3_access_key": self.access_key,
            "s3_secret_key": self.secret_key,
            "s3_ca_bundle": self.ca_bundle,
        }
        return Settings(**(known | changes))

    def store(self, patience: float = 30, **changes) -> Store:
        return Store(self.settings(**changes), patience)

    def client(self, **options):
        """boto3 as somebody else would use it; ``careless=True`` with its defaults."""
        config = {"s3": {"addressing_style": "path"}}
        if not options.pop("careless", False):
            config |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=self.ca_bundle or None,
            config=Config(**config),
        )

    def content(self, key: str) -> bytes:
        return self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self) -> list[str]:
        return [
            entry["Key"]
            for entry in self.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        ]

    def unfinished(self) -> list[str]:
        return [
            entry["Key"]
            for entry in self.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        ]


def place_at(server: SeaweedFS, bucket: str) -> Place:
    return Place(
        server.endpoint_url, server.access_key, server.secret_key, server.ca_bundle, bucket
    )


def written(upload, size: int) -> str:
    """Write ``size`` bytes that repeat nowhere near a part's length; their SHA-256."""
    digest, done = hashlib.sha256(), 0
    while done < size:
        data = memoryview(BLOCK)[done // MIB % 7 :][: min(size - done, MIB - 7)]
        upload.write(data)
        digest.update(data)
        done += len(data)
    return digest.hexdigest()


def bytes_of(size: int) -> bytes:
    pieces = []

    class Collector:
        def write(self, data):
            pieces.append(bytes(data))

    written(Collector(), size)
    return b"".join(pieces)


def one_sentence(error: PostgresBackupError, *secret: str) -> str:
    assert "\n" not in error.message
    assert error.message.startswith("Failed to ")
    assert len(error.message) < 300
    for text in secret:
        assert text not in str(error)
    return error.hint
