"""Uploads to real S3 servers, friendly and awkward, over a network that fails.

What was stored is looked at with another client (plain boto3).
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import client as s3_room
from postgres_backup.s3 import errors
from postgres_backup.s3.errors import Refused
from postgres_backup.s3.upload import NameTaken, Part
from tests.integration.s3.places import MIB, PART, bytes_of, place_at, written
from tests.services.brief import BriefSeaweedFS
from tests.waiting import wait_for


def pieces_of(data: bytes, sizes: list[int]) -> list[Part]:
    """The pieces of these sizes, their hashes reckoned anew."""
    ends = list(itertools.accumulate(sizes))
    assert not ends or ends[-1] == len(data)
    cut = zip([0, *ends], ends, strict=False)
    return [Part(to - at, hashlib.sha256(data[at:to]).hexdigest()) for at, to in cut]


def require_parts(upload, place) -> None:
    """What an upload says of its parts is true of what the store has."""
    data = place.content("one")
    assert upload.parts == pieces_of(data, [part.bytes for part in upload.parts])


@pytest.mark.parametrize("size", [0, PART, 2 * PART + 3])
def test_what_is_uploaded_is_what_others_read(anywhere, size):
    store = anywhere.store()
    with store.upload("backups/one.sql.gz", size) as upload:
        digest = written(upload, size)
        stored = upload.complete()
    assert (stored.key, stored.bytes, upload.bytes, upload.sha256) == (
        "backups/one.sql.gz",
        size,
        size,
        digest,
    )
    assert hashlib.sha256(anywhere.content("backups/one.sql.gz")).hexdigest() == digest
    assert ("-" in stored.etag) == (size > PART), "in parts where it has several, else in one"
    assert [part.bytes for part in upload.parts] == {0: [], PART: [PART]}.get(size, [PART, PART, 3])
    assert upload.parts == pieces_of(bytes_of(size), [part.bytes for part in upload.parts])
    download = store.download("backups/one.sql.gz", size)
    assert b"".join(download) == bytes_of(size)
    assert (download.bytes, download.total, download.sha256) == (size, size, digest)
    assert anywhere.unfinished() == []


def test_an_object_is_invisible_until_it_is_complete(anywhere):
    store = anywhere.store()
    with store.upload("backups/one.sql.gz", 100) as upload:
        written(upload, 3 * PART)
        assert store.head("backups/one.sql.gz") is None
        assert list(store.list("backups/")) == []
        upload.complete()
    assert store.head("backups/one.sql.gz").bytes == 3 * PART


def test_an_upload_left_leaves_nothing(anywhere):
    store = anywhere.store()
    for size in (10, 2 * PART + 1):
        for leave in (StoreError("Failed to dump crm: killed"), KeyboardInterrupt(), None):
            with (
                contextlib.suppress(StoreError, KeyboardInterrupt),
                store.upload("backups/one.sql.gz", 100) as upload,
            ):
                written(upload, size)
                if leave:
                    raise leave
            assert anywhere.keys() == []
            assert anywhere.unfinished() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("upload")]


def test_half_a_gigabyte_takes_little_memory(place, tmp_path):
    program = """
    import json, os, sys
    from pathlib import Path
    from postgres_backup.settings import Settings
    from postgres_backup.s3.store import Store

    def peak():  # not ru_maxrss, which begins with the parent's
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024

    store = Store(Settings(**json.loads(sys.stdin.read())))
    store.check()
    before = peak()
    block = os.urandom(1 << 20)
    with store.upload("big", 1 << 29) as upload:
        for _ in range(1 << 9):
            upload.write(block)
        upload.complete()
    after = peak()
    total = sum(len(chunk) for chunk in store.download("big", 1 << 29))
    print(json.dumps([before, after, peak(), total]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        input=json.dumps(dataclasses.asdict(place.settings())),
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, end, total = json.loads(done.stdout)
    assert total == 1 << 29
    assert after - before < 50, "MB for the upload: four parts of 8 MiB, and a little"
    assert end - after < 10, "MB more for the download"
    assert end < 130


def test_parts_are_equal_and_as_planned(place, monkeypatch):
    store = place.store(s3_max_parts=4)
    with store.upload("one", 24 * MIB) as upload:
        sent = []
        store.s3.client.meta.events.register(
            "before-call.s3.UploadPart", lambda params, **_: sent.append(len(params["body"]))
        )
        written(upload, 24 * MIB + 5)
        upload.complete()
    assert upload.plan.part_bytes == 9 * MIB
    assert sorted(sent) == [6 * MIB + 5, 9 * MIB, 9 * MIB]
    require_parts(upload, place)


def test_a_stream_that_outgrows_its_plan_gets_larger_parts_at_the_end(place):
    store = place.store(s3_max_parts=8)
    size = 90 * MIB  # eight parts of 8 MiB hold 64
    with store.upload("one", 100) as upload:
        digest = written(upload, size)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest
    require_parts(upload, place)
    assert len({part.bytes for part in upload.parts}) == 3, "of 8, of 16, and the last"


def test_a_stream_that_no_growing_helps_is_refused_and_leaves_nothing(place):
    with (
        pytest.raises(StoreError, match="grew beyond 2 parts") as caught,
        place.store(s3_max_parts=2).upload("one", 100) as upload,
    ):
        written(upload, 40 * MIB)
    assert "backup_s3_max_parts" in caught.value.hint
    assert place.keys() == place.unfinished() == []


def test_a_part_damaged_on_the_way_is_refused_and_sent_again(behind, proxy, place):
    damaged = proxy.plan("flip", "PUT", "partNumber=2", after=1_000_000)
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 3 * PART)
        upload.complete()
    assert damaged.done == 1
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


@pytest.mark.parametrize("kind", ["cut_request", "lose_answer"])
def test_a_link_that_breaks_during_an_upload(behind, proxy, place, kind):
    faults = [proxy.plan(kind, "PUT", f"partNumber={number}", after=3 * MIB) for number in (1, 2)]
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 3 * PART)
        upload.complete()
    assert [fault.done for fault in faults] == [1, 1]
    assert hashlib.sha256(place.content("one")).hexdigest() == digest
    require_parts(upload, place)
    assert place.unfinished() == []


def test_the_answer_to_the_completion_is_lost(behind, proxy, place):
    lost = proxy.plan("lose_answer", "POST", "uploadId")
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        stored = upload.complete()
    assert lost.done == 1
    assert stored.bytes == 2 * PART
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_the_completion_is_lost_and_the_store_has_forgotten_the_upload(behind, proxy, place):
    proxy.plan("lose_answer", "POST", "uploadId")
    proxy.plan("status", "POST", "uploadId", times=9, status=404, code="NoSuchUpload")
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_a_completion_that_never_happened_is_a_failure(behind, proxy, place):
    proxy.plan("status", "POST", "uploadId", times=9, status=404, code="NoSuchUpload")
    with pytest.raises(Refused, match="NoSuchUpload"), behind.store().upload("one", 100) as upload:  # noqa: PT012 - which of them raises is the store's affair
        written(upload, 2 * PART)
        upload.complete()
    assert place.keys() == place.unfinished() == []


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_an_interrupted_completion_leaves_no_object(place, size):
    """The store finished it, the answer was on its way, and the run was stopped just then."""
    store = place.store()

    def interrupt(**_):
        raise KeyboardInterrupt

    for operation in ("CompleteMultipartUpload", "PutObject"):
        store.s3.client.meta.events.register(f"after-call.s3.{operation}", interrupt)
    with contextlib.suppress(KeyboardInterrupt), store.upload("one", 100) as upload:
        written(upload, size)
        upload.complete()
    assert place.keys() == place.unfinished() == []


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_an_object_that_is_there_is_never_replaced(place, size):
    old = bytes(size)
    place.client().put_object(Bucket=place.bucket, Key="one", Body=old)
    with pytest.raises(NameTaken), place.store().upload("one", 100) as upload:  # noqa: PT012 - the end of it must raise nothing else
        written(upload, size)
        upload.complete()
    assert place.content("one") == old
    assert place.unfinished() == []


def test_a_slow_link_is_not_a_broken_one(behind, proxy, place, monkeypatch):
    """A part may take longer than any timeout, as long as it moves."""
    monkeypatch.setattr(s3_room, "CONNECT_TIMEOUT", 2)
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    proxy.plan("slow", "PUT", times=99, seconds=6)
    with behind.store(patience=0).upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_the_answer_to_the_beginning_is_lost_and_the_run_ends(behind, proxy, place):
    proxy.plan("lose_answer", "POST", "uploads")
    proxy.plan("status", "POST", "uploads", times=99)
    with (
        pytest.raises(StoreError, match="goes on failing"),
        behind.store(patience=1).upload("one", 100) as upload,
    ):
        written(upload, 2 * PART)
    assert place.unfinished() == []


def test_giving_up_does_not_wait_for_a_slow_link(behind, proxy, place):
    slow = proxy.plan("slow", "PUT", times=99, seconds=120)
    with contextlib.suppress(KeyboardInterrupt), behind.store().upload("one", 100) as upload:
        written(upload, 2 * PART + 1)
        wait_for("a part on its way", lambda: slow.done)
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 20
    assert place.keys() == place.unfinished() == []


def test_a_store_that_is_silent_is_asked_again(behind, proxy, place, monkeypatch):
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    silent = proxy.plan("hang", "PUT", "partNumber=1", seconds=20, times=2)
    with behind.store().upload("one", 100) as upload:
        digest = written(upload, 2 * PART)
        upload.complete()
    assert silent.done == 2
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


def test_a_store_that_stays_silent_ends_the_run(behind, proxy, place, monkeypatch):
    monkeypatch.setattr(s3_room, "READ_TIMEOUT", 3)
    monkeypatch.setattr(errors, "READ_TIMEOUT", 3)
    proxy.plan("hang", "PUT", times=99, seconds=20)
    with (  # noqa: PT012 - whether the writer or the end of it hears of it first is chance
        pytest.raises(StoreError, match="silent for 3 seconds"),
        behind.store(patience=2).upload("one", 100) as upload,
    ):
        written(upload, 3 * PART)
        upload.complete()
    assert place.keys() == place.unfinished() == []


def test_a_failed_part_stops_the_writer_soon(behind, proxy, place):
    proxy.plan("status", "PUT", "partNumber=1", times=99, status=400, code="InvalidRequest")
    with (
        pytest.raises(Refused, match="upload part 1 of one"),
        behind.store().upload("one", 100) as upload,
    ):
        written(upload, 100 * PART)
    assert upload.bytes < 8 * PART
    assert place.unfinished() == []


def test_a_store_that_dies_during_an_upload_is_the_error_shown(place, tmp_path_factory):
    with BriefSeaweedFS(
        tmp_path_factory.mktemp("dying"), "key", secrets.token_urlsafe(24)
    ) as server:
        dying = place_at(server, "one-bucket")
        dying.client().create_bucket(Bucket="one-bucket")
        with (  # noqa: PT012 - the store must die in the middle
            pytest.raises(StoreError, match="upload part") as caught,
            dying.store(patience=1).upload("one", 100) as upload,
        ):
            written(upload, 2 * PART)
            server.stop()
            written(upload, 10 * PART)
        assert [finding["code"] for finding in caught.value.findings] == ["UPLOAD_NOT_ABORTED"]
        server.start()
        again = place_at(server, "one-bucket")
        assert again.unfinished() == ["one"]
        assert again.store().sweep_uploads("", older_than_hours=0) == 1
        assert again.unfinished() == []


def test_a_terminated_run_leaves_nothing(place):
    program = """
    import json, sys
    from postgres_backup.machine import signals as interrupt
    from postgres_backup.settings import Settings
    from postgres_backup.s3.store import Store
    interrupt.listen()
    settings = Settings(**json.loads(sys.stdin.readline()))
    try:
        with Store(settings).upload("one", 100) as upload:
            while True:
                upload.write(bytes(1 << 20))
                if upload.bytes == 20 << 20:
                    print("under way", flush=True)
    except interrupt.Interrupted as stop:
        sys.exit(f"ended by {stop}")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    ) as process:
        process.stdin.write(json.dumps(dataclasses.asdict(place.settings())) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "under way\n"
        assert place.unfinished() == ["one"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 1
    assert place.keys() == place.unfinished() == []
