"""From a dump into an upload: all of it, in order; and an error on either side ends both."""

from __future__ import annotations

import gzip
import threading
from types import SimpleNamespace

import pytest

from postgres_backup.backup.pump import pump
from postgres_backup.errors import DatabaseError, StoreError
from postgres_backup.job import Job
from postgres_backup.settings import Settings

JOB = Job(Settings("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret"))
CHUNKS = [bytes([number]) * 100_000 for number in range(100)]


class FakeUpload:
    def __init__(self, fails_at: int = 0) -> None:
        self.data, self.writes, self.fails_at, self.given_up = b"", 0, fails_at, False

    def write(self, data: bytes) -> None:
        self.writes += 1
        if self.writes == self.fails_at:
            raise StoreError("the store is gone")
        self.data += data

    def give_up(self) -> None:
        self.given_up = True


class FakeDump:
    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at, self.ended = fails_at, False
        self.inspector = SimpleNamespace(current_table="public.users", cuts=[])

    def chunks(self):
        try:
            for number, chunk in enumerate(CHUNKS):
                if number == self.fails_at:
                    raise DatabaseError("the server is gone")
                yield chunk
        finally:
            self.ended = True


def test_all_of_it_in_order_and_the_snapshot_is_let_go_once_it_comes():
    upload, begun = FakeUpload(), []
    pump(JOB, FakeDump(), upload, lambda: begun.append(True))
    assert gzip.decompress(upload.data) == b"".join(CHUNKS)
    assert begun == [True]
    assert not upload.given_up


def test_a_store_that_fails_ends_the_dump():
    dump, upload = FakeDump(), FakeUpload(fails_at=2)
    with pytest.raises(StoreError, match="gone"):
        pump(JOB, dump, upload, lambda: None)
    assert dump.ended
    assert upload.given_up


def test_a_dump_that_fails_gives_the_upload_up_and_leaves_no_thread():
    upload = FakeUpload()
    with pytest.raises(DatabaseError, match="gone"):
        pump(JOB, FakeDump(fails_at=3), upload, lambda: None)
    assert upload.given_up
    assert "compress-and-upload" not in [thread.name for thread in threading.enumerate()]
