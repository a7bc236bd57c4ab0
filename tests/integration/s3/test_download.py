"""Downloads from a real S3 server over a network that breaks."""

import hashlib

import pytest

from postgres_backup.errors import BadBackupError, StoreError
from postgres_backup.s3 import download as download_room
from tests.integration.s3.places import MIB, bytes_of


@pytest.fixture
def stored(place):
    """An object of 5 MiB and a bit."""
    data = bytes_of(5 * MIB + 17)
    place.client().put_object(Bucket=place.bucket, Key="one", Body=data)
    return data


def test_a_broken_download_goes_on_where_it_broke(behind, proxy, stored):
    cuts = [
        proxy.plan("cut_response", "GET", "/one", after=after) for after in (MIB + 5, 0, 2 * MIB)
    ]
    download = behind.store().download("one", len(stored))
    assert b"".join(download) == stored
    assert [cut.done for cut in cuts] == [1, 1, 1]
    assert download.sha256 == hashlib.sha256(stored).hexdigest()


def test_a_download_that_goes_nowhere_ends(behind, proxy, stored, monkeypatch):
    monkeypatch.setattr(download_room, "ATTEMPTS", 2)
    proxy.plan("cut_response", "GET", "/one", times=99)
    with pytest.raises(StoreError, match="broke 3 times at byte 0 of"):
        b"".join(behind.store().download("one"))


def test_an_object_replaced_during_a_download_is_noticed(behind, proxy, place, stored):
    proxy.plan("cut_response", "GET", "/one", after=2 * MIB)
    with pytest.raises(BadBackupError, match="replaced while it was being read") as caught:  # noqa: PT012 - which of them raises is the store's affair
        for number, _ in enumerate(behind.store().download("one")):
            if number == 0:
                place.client().put_object(Bucket=place.bucket, Key="one", Body=stored[::-1])
    assert caught.value.findings[0]["code"] == "OBJECT_CHANGED"


def test_an_object_of_another_size_than_expected_is_refused(place, stored):
    with pytest.raises(BadBackupError, match="not the 5 of its manifest") as caught:
        b"".join(place.store().download("one", 5))
    assert caught.value.findings[0]["code"] == "OBJECT_SIZE"
    assert caught.value.exit_status == 4


def test_a_download_of_nothing_says_so(place):
    with pytest.raises(StoreError, match="there is no such object"):
        b"".join(place.store().download("nothing"))


def test_a_download_may_be_left(place, stored):
    with place.store().download("one") as download:
        for _ in download:
            break
    assert 0 < download.bytes < len(stored)
