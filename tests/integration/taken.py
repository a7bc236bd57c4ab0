"""A backup in a real bucket, for tests that change what lies there."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Taken:
    """A backup that was taken, and its objects as whoever may write to the bucket can change them.

    :ivar taken: what the backup has answered.
    """

    database: object
    settings: object
    client: object
    bucket: str
    taken: dict

    @property
    def manifest(self) -> str:
        folder, _, name = self.taken["key"].rpartition("/")
        return f"{folder}/manifests/{name.split('.')[0]}.json"

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)
