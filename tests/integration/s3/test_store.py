"""Small objects and listings on real S3 servers, looked at with another client (plain boto3)."""

import datetime
import urllib.error
import urllib.request

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import calls


def test_small_objects(anywhere):
    store = anywhere.store()
    store.put(calls.PROOF, "backups/manifests/one.json", b'{"schema": 1}', "application/json")
    assert anywhere.content("backups/manifests/one.json") == b'{"schema": 1}'
    assert store.get("backups/manifests/one.json") == b'{"schema": 1}'
    assert store.get("backups/manifests/none.json") is None
    assert store.head("backups/manifests/none.json") is None
    found = store.head("backups/manifests/one.json")
    assert (found.key, found.bytes) == ("backups/manifests/one.json", 13)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - found.modified).total_seconds()) < 60
    store.delete(["backups/manifests/one.json", "backups/manifests/none.json"])
    assert anywhere.keys() == []


def test_a_prefix_lists_what_lies_under_it(anywhere):
    store = anywhere.store()
    for key in ("app/one", "app/two words+plus%", "app/sub/three", "app_test/four", "other"):
        store.put(calls.PROOF, key, b"x")
    assert sorted(entry.key for entry in store.list("app/")) == [
        "app/one",
        "app/sub/three",
        "app/two words+plus%",
    ]
    assert sorted(entry.key for entry in store.list("app/", delimiter="/")) == [
        "app/one",
        "app/two words+plus%",
    ]
    assert len(list(store.list(""))) == 5
    assert list(store.list("nothing/")) == []


def test_many_are_deleted_together(anywhere):
    """Also where a store wants Content-MD5, or has no such request."""
    store = anywhere.store()
    keys = [f"app/{number} & ünïcode <{number}>" for number in range(5)]
    for key in [*keys, "app/stays"]:
        store.put(calls.PROOF, key, b"x")
    store.delete_many([*keys, "app/none"])
    assert anywhere.keys() == ["app/stays"]
    store.delete_many([])


def test_the_clocks_agree(anywhere):
    assert abs(anywhere.store().clock_difference()) < 3


def test_a_listing_of_more_than_a_page(place):
    wanted = sorted(f"many/{number:05d}" for number in range(1100))
    client = place.client()
    for key in wanted:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    store = place.store()
    assert [entry.key for entry in store.list("many/")] == wanted
    store.delete(wanted[:20])
    assert [entry.key for entry in store.list("many/")] == wanted[20:]
    for some in (wanted[20:600], wanted[600:]):  # in few calls, for the test's own time
        client.delete_objects(
            Bucket=place.bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
        )


def test_get_refuses_what_is_not_small(place):
    store = place.store()
    store.put(calls.PROOF, "one", bytes(1000))
    with pytest.raises(StoreError, match="it holds 1000 bytes"):
        store.get("one", limit=999)
    assert store.get("one", limit=1000) == bytes(1000)


def test_a_link_opens_one_object_to_those_without_a_key(place):
    store = place.store()
    store.put(calls.PROOF, "one", b"for a friend")
    with urllib.request.urlopen(store.link("one", 60), timeout=10) as answer:
        assert answer.read() == b"for a friend"
    unsigned = f"{place.endpoint_url}/{place.bucket}/one"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(unsigned, timeout=10)
