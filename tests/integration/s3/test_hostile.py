"""A store that answers as it should not: what is written is there, what is read is what lies there,
and everything else is one sentence with its cause.
"""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import calls, upload
from postgres_backup.s3 import store as store_room
from postgres_backup.s3.download import Packed
from postgres_backup.s3.errors import CallFailed, NotAsS3, NotS3
from tests.integration.s3.places import MIB, bytes_of, one_sentence, written


@pytest.fixture
def asked(place, hostile):
    """``place``, seen through ``hostile``."""
    return dataclasses.replace(place, endpoint_url=hostile.endpoint_url)


@pytest.fixture
def three(place):
    """Three small objects; their keys."""
    for key in ("a", "b", "c"):
        place.client().put_object(Bucket=place.bucket, Key=f"some/{key}.json", Body=key.encode())
    return [f"some/{key}.json" for key in "abc"]


@pytest.mark.parametrize(
    "played",
    ["many deletes ignored", "many deletes failed", "many deletes unsaid", "many deletes refused"],
)
def test_what_a_deletion_of_many_leaves_is_deleted_one_by_one(asked, place, hostile, three, played):
    play = hostile.play(played)
    asked.store().delete_many(three[:2])
    assert place.keys() == three[2:]
    assert play.done == 1


def test_what_is_said_to_be_deleted_and_is_still_there(asked, place, hostile, three):
    hostile.play("many deletes ignored")
    hostile.play("delete ignored")
    with pytest.raises(CallFailed, match="the store says that it did, and still has it"):
        asked.store().delete_many(three)
    assert place.keys() == three


def test_a_thousand_are_deleted_by_one_request(asked, place, hostile, three):
    """And one that looks for them."""
    asked.store().delete_many([*three, *(f"some/none-{number}" for number in range(1500))])
    assert [one.partition("?")[2][:9] for one in hostile.requests] == [
        "delete",
        "delete",
        "list-type",
    ]
    assert place.keys() == []


@pytest.mark.parametrize(
    "played", ["listed twice", "unsorted", "listed of others", "no time in a listing",
               "no etag in a listing", "no counts in a listing", "token forgotten"],
)  # fmt: skip
def test_a_listing_that_is_odd_is_heard(asked, place, hostile, three, played):
    place.client().put_object(Bucket=place.bucket, Key="another", Body=b"")
    play = hostile.play(played)
    store = asked.store()
    assert [item.key for item in store.list("some/")] == three
    assert list(store.list("some/a/", delimiter="/")) == []
    assert play.done >= 2


@pytest.mark.parametrize(
    ("played", "words"),
    [
        ("same token", "says that there is more, and not where"),
        ("same page", "says that there is more, and not where"),
        ("empty pages", "says that there is more, and not where"),
        ("more without a token", "says that there is more, and not where"),
        ("no key in a listing", "there is no Key in it"),
        ("no size in a listing", "there is no Size in it"),
        ("nothing", "with nothing where a listing should be"),
        ("web page", "is not S3, but a web page"),
        ("nameless page", "is not S3, but a web page"),
        ("page not found", "is not S3, but a web page"),
        ("text", r"is not S3, but a text \(\"Please sign in\"\)"),
        ("sent to a sign-in", "sends elsewhere: http://portal.invalid/login"),
        ("half an answer", "fail|not as S3 does"),
        ("redirected in a circle", "sends from one place to the next, and back"),
        ("regions in a circle", "the region .* is not the bucket's"),
        ("token expired", "the time of the access key is over"),
    ],
)
def test_a_listing_that_cannot_be_heard_ends(asked, hostile, three, played, words):
    hostile.play(played)
    with pytest.raises(CallFailed, match=words) as caught:
        list(asked.store(patience=0).list("some/"))
    assert one_sentence(caught.value, asked.secret_key)
    assert len(hostile.requests) < 30


@pytest.mark.parametrize("played", ["full", "quota"])
def test_what_is_full_is_told_as_that(asked, hostile, played):
    hostile.play(played)
    for write in (
        lambda: asked.store().put(calls.PROOF, "one", b"x"),
        lambda: upload_of(asked, 10),
        lambda: upload_of(asked, 20 * MIB),
    ):
        with pytest.raises(StoreError, match="the store is full, or a quota is used up") as caught:
            write()
        assert "quota" in one_sentence(caught.value)
        assert not caught.value.passes
    assert len(hostile.requests) < 20


def upload_of(place, size: int) -> None:
    with place.store(s3_max_parts=10).upload("one", size) as made:
        written(made, size)
        made.complete()


def test_cold_storage_is_told_as_that(asked, place, hostile):
    place.client().put_object(Bucket=place.bucket, Key="dump", Body=b"dump")
    hostile.play("in cold storage")
    with pytest.raises(StoreError, match="cold storage") as caught:
        b"".join(asked.store().download("dump"))
    assert "restore-object" in one_sentence(caught.value)


@pytest.mark.parametrize(
    ("played", "words"),
    [
        ("swallowed", "the store took it, and does not show it"),
        ("spoiled", "the store took it, and gives back something else"),
        ("web page", "is not S3, but a web page"),
        ("nothing", "gives back something else"),
    ],
)
def test_what_was_written_is_read_again(asked, hostile, played, words, monkeypatch):
    monkeypatch.setattr(store_room.time, "sleep", lambda seconds: None)
    hostile.play(played)
    store = asked.store(patience=0)
    with pytest.raises(CallFailed, match=words) as caught:
        store.put(calls.DESCRIBE, "manifests/one.json", b"{}")
    assert caught.value.call is calls.DESCRIBE
    assert one_sentence(caught.value)


def test_an_upload_that_was_swallowed_is_none(asked, hostile, place, monkeypatch):
    monkeypatch.setattr(upload.time, "sleep", lambda seconds: None)
    hostile.play("swallowed")
    with pytest.raises(StoreError, match="does not show it"):
        upload_of(asked, 10)
    assert place.keys() == []


def test_a_store_of_few_parts_says_how_many(asked, hostile, place):
    hostile.play("few parts")
    with pytest.raises(CallFailed, match="takes no more than 2 parts") as caught:
        upload_of(asked, 30 * MIB)
    assert "S3_MAX_PARTS) to 2" in one_sentence(caught.value)
    assert (place.keys(), place.unfinished()) == ([], [])
    with asked.store(s3_max_parts=2).upload("one", 20 * MIB) as made:
        digest = written(made, 20 * MIB)
        made.complete()
    assert hashlib.sha256(place.content("one")).hexdigest() == digest


@pytest.mark.parametrize("played", ["no upload id", "no etag of a part"])
def test_an_upload_without_what_it_needs_leaves_nothing(asked, hostile, place, played):
    hostile.play(played)
    with pytest.raises(NotAsS3, match=r"there is no (UploadId|ETag) in it") as caught:
        upload_of(asked, 20 * MIB)
    assert one_sentence(caught.value)
    assert (place.keys(), place.unfinished()) == ([], [])


@pytest.mark.parametrize(
    "played", ["no length in HEAD", "no etag", "no last-modified", "error in 200", "chunked",
               "no etag written", "no date"],
)  # fmt: skip
def test_an_upload_does_without_what_it_does_not_need(asked, hostile, place, played):
    play = hostile.play(played, times=1 if played == "error in 200" else 1000)
    upload_of(asked, 20 * MIB)
    assert play.done or played in ("chunked", "no etag written")
    assert len(place.content("one")) == 20 * MIB


@pytest.fixture
def stored(place):
    data = bytes_of(3 * MIB + 17)
    place.client().put_object(Bucket=place.bucket, Key="one", Body=data)
    return data


@pytest.mark.parametrize(
    "plays",
    [
        [("chunked", 1000)],
        [("chunked", 1000), ("broken", 1)],
        [("range ignored", 1000), ("broken", 1), ("broken early", 1)],
        [("broken", 3)],
        [("no etag", 1000), ("broken", 2)],
        [("no etag", 1000), ("range ignored", 1000), ("broken", 1)],
        [("no last-modified", 1000)],
    ],
    ids=lambda plays: " and ".join(name for name, _ in plays),
)
def test_a_download_survives(asked, hostile, stored, plays):
    for name, times in plays:
        hostile.play(name, times=times)
    for expected in (len(stored), None):
        download = asked.store().download("one", expected)
        assert b"".join(download) == stored
        assert download.total == len(stored)


def test_a_part_of_an_object_may_be_asked_for_again(asked, hostile, stored):
    for played in ("", "range ignored", "chunked"):
        hostile.be_honest()
        if played:
            hostile.play(played)
        download = asked.store().download("one", len(stored))
        for start, count in ((0, 5), (MIB, 2 * MIB), (len(stored) - 3, 3)):
            assert download.again(start, count) == stored[start : start + count]


def test_what_is_packed_on_the_way_is_told_as_that(asked, hostile, place, stored, three):
    hostile.play("packed on the way", contains="/one")
    with pytest.raises(Packed, match="something on the way packs") as caught:
        b"".join(asked.store().download("one", len(stored)))
    assert "compression off" in one_sentence(caught.value)
    hostile.play("packed on the way", contains=three[0])
    with pytest.raises(Packed):
        asked.store().get(three[0])
    place.client().put_object(Bucket=place.bucket, Key="x.gz", Body=b"12", ContentEncoding="gzip")
    assert asked.store().get("x.gz") == b"12", "as somebody has put it there"


#: what is asked of a store, by what it is
ASKED = {
    "look": lambda store: store.head("some/a.json"),
    "look at a dump": lambda store: store.head("some/dump.sql.gz"),
    "read": lambda store: store.get("some/a.json"),
    "read a dump": lambda store: b"".join(store.download("some/dump.sql.gz")),
    "read a dump of a size": lambda store: b"".join(store.download("some/dump.sql.gz", 5)),
    "write": lambda store: store.put(calls.PROOF, "some/new.json", b"{}"),
    "list": lambda store: list(store.list("some/")),
    "delete": lambda store: store.delete(["some/a.json"]),
    "delete many": lambda store: store.delete_many(["some/a.json", "some/b.json"]),
    "look for uploads": lambda store: store.abort_uploads("some/new"),
    "compare clocks": lambda store: store.clock_difference(),
}


@pytest.mark.parametrize("played", ["web page", "page not found", "sent to a sign-in"])
@pytest.mark.parametrize("asking", ASKED)
def test_whatever_is_asked_somebody_elses_answer_is_told_as_that(
    asked, place, hostile, three, asking, played
):
    """And is neither an object, nor none, nor one of another size."""
    place.client().put_object(Bucket=place.bucket, Key="some/dump.sql.gz", Body=b"bytes")
    before = place.keys()
    hostile.play(played)
    words = "sends elsewhere: " if played == "sent to a sign-in" else "is not S3, but a web page"
    with pytest.raises(NotS3, match=words) as caught:
        ASKED[asking](asked.store(patience=0))
    assert "backup_s3_endpoint_url" in one_sentence(caught.value, asked.secret_key)
    assert place.keys() == before
    assert len(hostile.requests) <= 2


def test_a_name_is_not_taken_by_a_web_page(asked, hostile, place):
    hostile.play("web page", method="HEAD")
    upload_of(asked, 10)
    assert place.keys() == ["one"]


def test_the_page_that_we_publish_is_read_as_what_it_is(asked, place):
    page = b"<!doctype html><title>Backups</title>"
    asked.store().put(calls.PAGE, "report.html", page, "text/html; charset=utf-8")
    assert asked.store().get("report.html") == page
    assert asked.store().head("report.html").bytes == len(page)


def test_a_small_object_that_was_damaged_on_the_way_is_read_again(asked, hostile, three):
    store = asked.store()
    play = hostile.play("damaged", times=1)
    assert store.get(three[0]) == b"a"
    assert play.done == 1
    always = hostile.play("damaged")
    assert store.get(three[0]) == b"`", "a store that has other ETags"
    assert store.get(three[0]) == b"`"
    assert always.done == 3, "and it is known then"
