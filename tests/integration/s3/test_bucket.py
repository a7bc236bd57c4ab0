"""The bucket itself on real S3 servers: made once, private, and with its rules kept."""

import json
import secrets

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import calls


def test_a_bucket_is_made_once(anywhere):
    store = anywhere.store(s3_bucket=f"fresh-{secrets.token_hex(6)}")
    assert not bucket_room.exists(store.s3)
    assert bucket_room.create(store.s3) is True
    assert bucket_room.exists(store.s3)
    assert bucket_room.create(store.s3) is False
    store.check()
    anywhere.client().delete_bucket(Bucket=store.settings.s3_bucket)


def test_settings_of_the_bucket_are_tried_and_never_harm(anywhere):
    store = anywhere.store()
    store.put(calls.PROOF, "postgres-backup/one", b"x")
    assert bucket_room.make_private(store.s3) in ("set", "unchanged", "unsupported")
    first = bucket_room.expire_unfinished_uploads(store.s3, 7)
    assert first in ("set", "unsupported")
    assert bucket_room.expire_unfinished_uploads(store.s3, 7) == (
        "unchanged" if first == "set" else "unsupported"
    )
    assert store.get("postgres-backup/one") == b"x"


def test_the_rules_of_others_stay(place):
    client = place.client()
    theirs = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 30},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs]}
    )
    store = place.store()
    assert bucket_room.expire_unfinished_uploads(store.s3, 7, check=True) == "set"
    assert client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"] == [theirs], (
        "a look changes nothing"
    )
    assert bucket_room.expire_unfinished_uploads(store.s3, 7) == "set"
    assert bucket_room.expire_unfinished_uploads(store.s3, 7, check=True) == "unchanged"
    assert bucket_room.expire_unfinished_uploads(store.s3, 3) == "set"
    rules = {
        rule["ID"]: rule
        for rule in client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    }
    assert rules.pop("theirs") == theirs
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules.values()] == [
        {"DaysAfterInitiation": 3}
    ]
    assert [rule["Filter"] for rule in rules.values()] == [{"Prefix": "postgres-backup/"}]


def test_a_bucket_that_anybody_may_read_is_not_private(place):
    store = place.store()
    store.put(calls.PROOF, "one", b"x")
    assert bucket_room.strangers_may(store.s3) == []
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{place.bucket}/*",
            },
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:ListBucket",
                "Resource": f"arn:aws:s3:::{place.bucket}",
            },
        ],
    }
    place.client().put_bucket_policy(Bucket=place.bucket, Policy=json.dumps(policy))
    with pytest.raises(StoreError, match="anybody may list and read from it without a key"):
        bucket_room.make_private(store.s3)
    place.client().delete_bucket_policy(Bucket=place.bucket)
    assert bucket_room.make_private(store.s3) == "unsupported", (
        "SeaweedFS has no public access block, and is private without"
    )


def test_servers_that_share_a_bucket_leave_each_other_their_rule(place):
    client, s3 = place.client(), place.store().s3
    for first in ("set", "unchanged"):
        assert bucket_room.expire_unfinished_uploads(s3, 3, prefix="school/db1") == first
        assert bucket_room.expire_unfinished_uploads(s3, 3, prefix="other") == first
        assert bucket_room.expire_unfinished_uploads(s3, 3, prefix="school") == first
    assert bucket_room.expire_unfinished_uploads(s3, 3, prefix="school/db2") == "unchanged"
    assert bucket_room.expire_unfinished_uploads(s3, 5, prefix="other/db3") == "set"
    rules = client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    assert {
        rule["Filter"]["Prefix"]: rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for rule in rules
    } == {"school/db1/": 3, "school/": 3, "other/": 5}
