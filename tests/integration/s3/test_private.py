"""What is set on a bucket is followed by a canary, and taken back where the store then refuses to
write: as Ceph RGW 16 does with BlockPublicAcls.
"""

import dataclasses

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import calls, canary
from tests.services.wilful import Answer, BlockOfCeph, Wilful, refusal

CANARY = "postgres-backup/store-check/canary"


@pytest.fixture
def wilful(s3):
    with Wilful(s3.endpoint_url, s3.access_key, s3.secret_key) as proxy:
        yield proxy


@pytest.fixture
def store(place, wilful):
    return dataclasses.replace(place, endpoint_url=wilful.endpoint_url).store()


def may_write(store) -> None:
    store.put(calls.PROOF, "postgres-backup/one", b"x")
    assert store.get("postgres-backup/one") == b"x"


def codes(ready) -> list[str]:
    return [one["code"] for one in ready["findings"]]


def test_a_store_that_can_is_closed_wholly(place, wilful, store):
    block = BlockOfCeph("none of them")
    wilful.rules.append(block)
    assert bucket_room.make_private(store.s3, check=True) == "set"
    assert block.block == b""
    assert bucket_room.make_private(store.s3) == "set"
    assert block.block.count(b"true") == 4
    for check in (True, False):
        assert bucket_room.make_private(store.s3, check) == "unchanged"
    assert place.keys() == []


def test_what_nobody_can_write_with_is_left_out(place, wilful, store):
    block = BlockOfCeph()
    wilful.rules.append(block)
    ready = bucket_room.make_ready(store.s3, 3)
    assert (ready["private"], ready["changed"]) == ("set_partly", True)
    assert codes(ready) == ["PRIVATE_PARTLY"]
    assert block.block.count(b"true") == 3
    may_write(store)
    again = bucket_room.make_ready(store.s3, 3)
    assert (again["private"], again["changed"]) == ("partly", False)
    assert codes(again) == ["PRIVATE_PARTLY"]
    assert not bucket_room.make_ready(store.s3, 3, check=True)["changed"]


def test_what_an_earlier_release_has_set_is_mended(wilful, store):
    block = BlockOfCeph()
    wilful.rules.append(block)
    bucket_room.make_private(store.s3)
    block.block = block.block.replace(b"false", b"true")
    with pytest.raises(StoreError):
        may_write(store)
    ready = bucket_room.make_ready(store.s3, 3)
    assert (ready["private"], ready["changed"]) == ("set_partly", True)
    may_write(store)


def test_where_none_goes_all_is_as_it_was(wilful, store):
    block = BlockOfCeph("BlockPublicAcls", "IgnorePublicAcls")
    wilful.rules.append(block)
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


def test_a_block_that_cannot_be_taken_back_is_said(wilful, store):
    block = BlockOfCeph()
    block.removable = False
    wilful.rules.append(block)
    with pytest.raises(StoreError, match="Failed to take back the public access block") as failed:
        bucket_room.make_private(store.s3)
    assert "console" in failed.value.hint


def test_a_key_that_may_not_write_changes_no_block(wilful, store):
    """It is refused with a block and without: what somebody has set stays."""
    block = BlockOfCeph("none of them")
    wilful.rules.append(block)
    bucket_room.make_private(store.s3)
    before = block.block
    wilful.rules.append(
        lambda request: (
            refusal(403, "AccessDenied") if request.method == "PUT" and request.of_object else None
        )
    )
    assert bucket_room.make_private(store.s3) == "unchanged"
    assert block.block == before


def test_a_rule_with_which_nobody_can_write_is_taken_back(place, wilful, store):
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 30},
    }
    place.client().put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs]}
    )

    def refuses(request):
        rules = place.client().get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
        if len(rules) > 1 and request.method == "PUT" and request.of_object:
            return refusal(403, "AccessDenied")
        return None

    wilful.rules.append(refuses)
    ready = bucket_room.make_ready(store.s3, 3)
    assert ready["unfinished_uploads"] == "taken_back"
    assert not ready["changed"]
    assert "UNFINISHED_UPLOADS_TAKEN_BACK" in codes(ready)
    rules = place.client().get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    assert rules == [theirs]
    may_write(store)


def test_a_canary_that_stays_is_named_and_written_over(place, wilful, store):
    wilful.rules.append(BlockOfCeph("none of them"))
    wilful.rules.append(
        lambda request: (
            refusal(403, "AccessDenied")
            if request.method == "DELETE" and request.of_object
            else None
        )
    )
    for _ in range(2):
        store.s3.refused.clear()
        ready = bucket_room.make_ready(store.s3, 3)
        (left,) = [one for one in ready["findings"] if one["code"] == "CANARY_LEFT"]
        assert CANARY in left["message"]
        assert place.keys() == [CANARY]
    assert ready["private"] == "unchanged"
    assert not ready["changed"]


def test_a_write_that_is_swallowed_and_one_that_is_changed_are_seen(wilful, store):
    wilful.rules.append(
        lambda request: Answer(200, {"ETag": '"0"'}) if request.method == "PUT" else None
    )
    assert canary.trial(store.s3).refused.keys() == {"read"}
    wilful.rules.clear()

    def changed(request, answer):
        if request.method == "GET":
            answer.body = answer.body[::-1]

    wilful.afterwards.append(changed)
    trial = canary.trial(store.s3)
    assert trial.can == {"write", "delete"}
    assert "it holds other bytes" in trial.refused["read"].message
