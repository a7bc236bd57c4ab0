"""Parts that nobody finished: swept where the store lets them be, and never a reason to fail."""

from __future__ import annotations

import time

import pytest

from postgres_backup.s3 import unfinished as room

ALWAYS = {"times": 1000}
DENIED = {**ALWAYS, "status": 403, "code": "AccessDenied"}
LISTED = ("GET", "?uploads")
OLD = "<Initiated>2020-01-01T00:00:00.000Z</Initiated>"


def uploads(begun: str = OLD, count: int = 1, more: str = "") -> dict[str, object]:
    """The answer that names unfinished uploads."""
    one = f"<Upload><Key>mine/x</Key><UploadId>gone</UploadId>{begun}</Upload>"
    text = f"<ListMultipartUploadsResult>{one * count}{more}</ListMultipartUploadsResult>"
    return {**ALWAYS, "more": f'<?xml version="1.0"?>{text}'}


def test_only_old_uploads_of_ones_own_are_swept(place):
    client = place.client()
    for key in ("mine/one", "mine/two", "others/three"):
        client.create_multipart_upload(Bucket=place.bucket, Key=key)
    store = place.store()
    assert store.sweep_uploads("mine/", older_than_hours=24) == 0
    assert len(place.unfinished()) == 3
    time.sleep(1)
    assert store.sweep_uploads("mine/", older_than_hours=0) == 2
    assert place.unfinished() == ["others/three"]
    assert store.refused == []


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_store_that_has_none_or_knows_none_is_no_news(behind, proxy, status):
    proxy.plan("status", *LISTED, **ALWAYS, status=status, code="NoSuchUpload")
    store = behind.store(patience=0)
    assert store.sweep_uploads("mine/", 24) == 0
    assert store.refused == []


@pytest.mark.parametrize(
    "faults",
    [
        [("status", *LISTED, DENIED)],
        [("status", *LISTED, ALWAYS | {"status": 400, "code": "InvalidArgument"})],
        [("status", *LISTED, ALWAYS)],
        [("html", *LISTED, ALWAYS)],
        [("answer", *LISTED, {**ALWAYS, "more": "<ListMultipart"})],
        [("answer", *LISTED, uploads(begun=""))],
        [("answer", *LISTED, uploads(begun="<Initiated>soon</Initiated>"))],
        [("answer", *LISTED, {**ALWAYS, "more": uploads()["more"].replace("UploadId", "Id")})],
        [("answer", *LISTED, uploads()), ("status", "DELETE", "uploadId", DENIED)],
        [("answer", *LISTED, uploads()), ("no_date", "GET", "list-type=2", ALWAYS)],
    ],
    ids=[
        "forbidden", "a bad request", "failing", "a web page", "cut", "since when nobody knows",
        "since no date", "without an id", "not to be aborted", "no time of day",
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_told(behind, proxy, faults):
    planned = [proxy.plan(*fault, **options) for *fault, options in faults]
    store = behind.store(patience=0)
    assert store.sweep_uploads("mine/", 24) == 0
    assert [found["code"] for found in store.refused] == ["UPLOADS_NOT_SWEPT"]
    assert all(fault.done == 1 for fault in planned)


def test_a_sweep_has_an_end(behind, proxy, monkeypatch):
    """Pages without end, more old uploads than one run removes, and each refused."""
    more = "<IsTruncated>true</IsTruncated><NextKeyMarker>x</NextKeyMarker>"
    pages = proxy.plan("answer", *LISTED, **uploads(count=10, more=more))
    aborts = proxy.plan("status", "DELETE", "uploadId", **{**DENIED, "times": 3}, skip=4)
    monkeypatch.setattr(room, "_MOST_REMOVED", 9)
    store = behind.store(patience=0)
    assert store.sweep_uploads("mine/", 24) == 4, "and then three refusals"
    assert (pages.done, aborts.done) == (room._MOST_PAGES, 3)
    assert store.sweep_uploads("mine/", 24) == 9, "and no more in one run"
