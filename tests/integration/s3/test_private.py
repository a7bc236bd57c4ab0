"""What is set on a bucket is followed by a canary, and taken back where the store then refuses to
write: as Ceph RGW 16 does with BlockPublicAcls.
"""

import dataclasses
import re

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import calls, canary
from tests.services.hostile_store import Answer, HostileStore, Reply, Request

CANARY = "postgres-backup/store-check/test/canary"


def refusal(status: int, code: str) -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return Reply(status, {"content-type": "application/xml"}, body.encode())


class BlockOfCeph:
    """The public access block as Ceph RGW 16 has it: with ``BlockPublicAcls`` nobody may write.

    :param refuses_with: the blocks of which each makes every PutObject 403.
    :ivar block: what is set, as its XML; empty: nothing.
    :ivar removable: whether the key may change it once it is set.
    """

    def __init__(self, hostile: HostileStore, *refuses_with: str) -> None:
        self.refuses_with = refuses_with or ("BlockPublicAcls",)
        self.block, self.removable = b"", True
        hostile.play(Answer("block", "a block of public access", self._asks, self._setting))
        hostile.play(Answer("blocked", "a write", self._is_blocked, lambda *_: NO))

    def _asks(self, request: Request) -> bool:
        return "publicAccessBlock" in request.query

    def _is_blocked(self, request: Request) -> bool:
        set_ones = [re.search(f"<{name}>true<".encode(), self.block) for name in self.refuses_with]
        return any(set_ones) and request.method == "PUT" and bool(request.key)

    def _setting(self, request: Request, _: object) -> Reply:
        if request.method == "GET":
            if not self.block:
                return refusal(404, "NoSuchPublicAccessBlockConfiguration")
            return Reply(200, {"content-type": "application/xml"}, self.block)
        if self.block and not self.removable:
            return refusal(409, "Conflict")
        self.block = request.body if request.method == "PUT" else b""
        return Reply(200 if request.method == "PUT" else 204, {})


NO = refusal(403, "AccessDenied")


@pytest.fixture
def store(place, hostile):
    return dataclasses.replace(place, endpoint_url=hostile.endpoint_url).store()


def refuse(hostile, method: str, when=lambda: True) -> None:
    """To change or delete objects so, while that is the case."""
    takes = lambda request: request.method == method and bool(request.key) and when()  # noqa: E731
    hostile.play(Answer("refused", "a request", takes, lambda *_: NO))


def may_write(store) -> None:
    store.put(calls.PROOF, "postgres-backup/one", b"x")
    assert store.get("postgres-backup/one") == b"x"


def codes(ready) -> list[str]:
    return [one["code"] for one in ready["findings"]]


def test_a_store_that_can_is_closed_wholly(place, hostile, store):
    block = BlockOfCeph(hostile, "none of them")
    assert bucket_room.make_private(store.s3, check=True) == "set"
    assert block.block == b""
    assert bucket_room.make_private(store.s3) == "set"
    assert block.block.count(b"true") == 4
    for check in (True, False):
        assert bucket_room.make_private(store.s3, check) == "unchanged"
    assert place.keys() == []


def test_what_nobody_can_write_with_is_left_out(place, hostile, store):
    block = BlockOfCeph(hostile)
    ready = bucket_room.make_ready(store.s3, 3)
    assert (ready["private"], ready["changed"]) == ("set_partly", True)
    assert codes(ready) == ["PRIVATE_PARTLY"]
    assert block.block.count(b"true") == 3
    may_write(store)
    again = bucket_room.make_ready(store.s3, 3)
    assert (again["private"], again["changed"]) == ("partly", False)
    assert codes(again) == ["PRIVATE_PARTLY"]
    assert not bucket_room.make_ready(store.s3, 3, check=True)["changed"]


def test_what_an_earlier_release_has_set_is_mended(hostile, store):
    block = BlockOfCeph(hostile)
    bucket_room.make_private(store.s3)
    block.block = block.block.replace(b"false", b"true")
    with pytest.raises(StoreError):
        may_write(store)
    ready = bucket_room.make_ready(store.s3, 3)
    assert (ready["private"], ready["changed"]) == ("set_partly", True)
    may_write(store)


def test_where_none_goes_all_is_as_it_was(hostile, store):
    block = BlockOfCeph(hostile, "BlockPublicAcls", "IgnorePublicAcls")
    for changed in (True, False):
        ready = bucket_room.make_ready(store.s3, 3)
        assert ready["private"] == "taken_back"
        assert ready["changed"] is changed  # the rule for unfinished uploads
        assert codes(ready) == ["PRIVATE_TAKEN_BACK"]
        assert block.block == b""
        may_write(store)
    everything = b"".join(
        b"<%s>true</%s>" % (name, name)
        for name in (
            b"BlockPublicAcls",
            b"IgnorePublicAcls",
            b"BlockPublicPolicy",
            b"RestrictPublicBuckets",
        )
    )
    block.block = (
        b"<PublicAccessBlockConfiguration>%s</PublicAccessBlockConfiguration>" % everything
    )
    ready = bucket_room.make_ready(store.s3, 3)
    assert (ready["private"], ready["changed"]) == ("removed", True)
    assert bucket_room.lines(ready)[0].endswith("freed of a block with which nobody can write")
    may_write(store)


def test_a_block_that_cannot_be_taken_back_is_said(hostile, store):
    block = BlockOfCeph(hostile)
    block.removable = False
    with pytest.raises(StoreError, match="Failed to take back the public access block") as failed:
        bucket_room.make_private(store.s3)
    assert "console" in failed.value.hint


def test_a_key_that_may_not_write_changes_no_block(hostile, store):
    """It is refused with a block and without: what somebody has set stays."""
    block = BlockOfCeph(hostile, "none of them")
    bucket_room.make_private(store.s3)
    before = block.block
    refuse(hostile, "PUT")
    assert bucket_room.make_private(store.s3) == "unchanged"
    assert block.block == before


def test_a_rule_with_which_nobody_can_write_is_taken_back(place, hostile, store):
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 30},
    }
    place.client().put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs]}
    )

    def ours_is_set() -> bool:
        rules = place.client().get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
        return len(rules) > 1

    refuse(hostile, "PUT", ours_is_set)
    ready = bucket_room.make_ready(store.s3, 3)
    assert ready["unfinished_uploads"] == "taken_back"
    assert not ready["changed"]
    assert "UNFINISHED_UPLOADS_TAKEN_BACK" in codes(ready)
    rules = place.client().get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    assert rules == [theirs]
    may_write(store)


def test_a_canary_that_stays_is_named_and_written_over(place, hostile, store):
    BlockOfCeph(hostile, "none of them")
    refuse(hostile, "DELETE")
    for _ in range(2):
        store.s3.refused.clear()
        ready = bucket_room.make_ready(store.s3, 3)
        (left,) = [one for one in ready["findings"] if one["code"] == "CANARY_LEFT"]
        assert CANARY in left["message"]
        assert place.keys() == [CANARY]
    assert ready["private"] == "unchanged"
    assert not ready["changed"]


def test_a_write_that_is_swallowed_and_one_that_is_changed_are_seen(hostile, store):
    hostile.play("swallowed")
    assert canary.trial(store.s3).refused.keys() == {"read"}
    hostile.be_honest()
    hostile.play("damaged")
    trial = canary.trial(store.s3)
    assert trial.can == {"write", "delete"}
    assert "it holds other bytes" in trial.refused["read"].message
