"""What is made of a store's answers about the bucket; the answers themselves are asked of real
stores in tests/integration/s3.
"""

from __future__ import annotations

import types

import pytest

from postgres_backup.errors import StoreError
from postgres_backup.s3 import bucket, calls
from postgres_backup.s3.errors import Refused

S3 = types.SimpleNamespace(bucket="backups", refused=[])
FORBIDDEN = Refused(calls.ASK_PRIVATE, "not allowed", "", "AccessDenied", 403, {})


@pytest.fixture
def store(monkeypatch):
    """A store by its answers; an exception is raised. ``done`` is what was asked for."""
    found = types.SimpleNamespace(
        exists=True, create=False, private="set", unfinished="set", strangers=[], done=[]
    )

    def answer(name, value):
        found.done.append(name)
        if isinstance(value, Exception):
            raise value
        return value

    for name, function in {
        "exists": lambda s3: answer("exists", found.exists),
        "create": lambda s3: answer("create", found.create),
        "make_private": lambda s3, check: answer("private", found.private),
        "expire_unfinished_uploads": lambda s3, days, check, prefix: answer(
            f"unfinished {days}", found.unfinished
        ),
        "strangers_may": lambda s3: answer("strangers", found.strangers),
    }.items():
        monkeypatch.setattr(bucket, name, function)
    return found


@pytest.mark.parametrize(
    ("create", "private", "unfinished", "changed"),
    [
        (False, "unchanged", "unchanged", False),
        (True, "unchanged", "unchanged", True),
        (False, "set", "unchanged", True),
        (False, "unchanged", "set", True),
        (False, "unsupported", "unsupported", False),
    ],
)
def test_it_has_changed_when_something_was_done(store, create, private, unfinished, changed):
    store.create, store.private, store.unfinished = create, private, unfinished
    found = bucket.make_ready(S3, 5)
    assert found["changed"] is changed
    assert (found["created"], found["private"], found["unfinished_uploads"]) == (
        create,
        private,
        unfinished,
    )
    assert store.done == ["create", "private", "unfinished 5"]


def test_a_check_of_a_missing_bucket_says_what_would_be_and_asks_no_more(store):
    store.exists = False
    assert bucket.make_ready(S3, 3, check=True) == {
        "changed": True,
        "bucket": "backups",
        "created": True,
        "private": "set",
        "unfinished_uploads": "set",
        "findings": [],
    }
    assert store.done == ["exists"]


def test_a_check_creates_nothing(store):
    assert bucket.make_ready(S3, 3, check=True)["changed"]
    assert "create" not in store.done


@pytest.mark.parametrize("answer", ["unsupported", FORBIDDEN], ids=["unsupported", "forbidden"])
def test_what_cannot_be_done_is_a_finding(store, answer):
    store.private = store.unfinished = answer
    found = bucket.make_ready(S3, 3)
    word = answer if isinstance(answer, str) else "forbidden"
    assert (found["private"], found["unfinished_uploads"]) == (word, word)
    assert [one["code"] for one in found["findings"]] == [
        f"PRIVATE_{word}".upper(),
        f"UNFINISHED_UPLOADS_{word}".upper(),
    ]
    assert all(one["message"] for one in found["findings"])


def test_a_bucket_that_strangers_may_read_fails_although_the_key_may_not_ask(store):
    store.private, store.strangers = FORBIDDEN, ["list"]
    with pytest.raises(StoreError, match="anybody may read it, and this key may not change that"):
        bucket.make_ready(S3, 3)


def test_another_refusal_is_a_failure(store):
    store.private = Refused(calls.ASK_PRIVATE, "gone", "", "NoSuchBucket", 404, {})
    with pytest.raises(Refused, match="gone"):
        bucket.make_ready(S3, 3)
