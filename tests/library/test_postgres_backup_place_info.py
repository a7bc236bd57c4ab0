"""Where a server's backups go, through the module: with real objects in a real bucket."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone

import pytest

from tests.integration import engine

NAME = "postgres_backup_place_info"
SHARED, OWN = "postgres-backup", "postgres-backup/test-server"
NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def place(run_module, new_config, s3, bucket, tmp_path):
    """``place(several=False, lies=None, **variables)``: what the module says of a server without a
    config, or with ``lies``, the text of one.
    """
    config = new_config(engine.NO_SERVER, s3, bucket)
    there = tmp_path / "backup-config.env"

    def ask(lies: str | None = None, check: bool = False, **options: object) -> dict:
        there.unlink(missing_ok=True)
        if lies is not None:
            there.write_text(lies)
        text = config.path.read_text()
        return run_module(NAME, check, config_place=there, config_text=text, **options)

    ask.config = config
    return ask


def test_a_new_server_alone_and_among_others(place, says_what_it_returns, s3_client, bucket):
    alone = place()
    says_what_it_returns(NAME, alone)
    assert (alone["prefix"], alone["reason"], alone["new"]) == (SHARED, "alone", True)
    assert alone["lines"] == [
        "Backups go to postgres-backup/ in the bucket: no other server has anything there"
    ]
    assert not alone["changed"]
    among = place(several=True, check=True)
    assert (among["prefix"], among["reason"]) == (OWN, "others")
    s3_client.put_object(Bucket=bucket, Key=f"{SHARED}/store-check/x/canary", Body=b"x")
    assert place()["prefix"] == SHARED, "of a trial of the store nothing is kept"
    engine.forge(s3_client, bucket, NOW, server="another", prefix=f"{SHARED}/another")
    assert place()["prefix"] == OWN
    assert "a folder of its own" in place()["lines"][0]


def test_a_rebuilt_one_finds_its_own(place, s3_client, bucket):
    engine.forge(s3_client, bucket, NOW, server="another")
    engine.forge(s3_client, bucket, NOW - timedelta(days=2))
    found = place(several=True)
    assert (found["prefix"], found["reason"], found["new"]) == (SHARED, "own objects", False)
    assert found["lines"] == []
    # it has moved since, and was lost before the old ones were removed
    engine.forge(s3_client, bucket, NOW - timedelta(days=1), prefix=OWN)
    assert place()["prefix"] == OWN


def test_a_copy_that_was_cut_short_is_no_place_yet(place, s3_client, bucket):
    for prefix in (SHARED, OWN):
        engine.forge(s3_client, bucket, NOW - timedelta(days=1), prefix=prefix)
    assert place(several=True)["prefix"] == SHARED


def test_of_several_databases(place, s3_client, bucket):
    place.config.change(DB_NAME=None, DB_NAMES="crm shop")
    engine.forge(s3_client, bucket, NOW, database="shop", folder="shop", server="another")
    assert place()["prefix"] == OWN
    engine.forge(s3_client, bucket, NOW - timedelta(days=1), database="shop", folder="shop")
    assert place(several=True)["prefix"] == SHARED


def test_backups_that_nobody_has_claimed_stay_in_sight(place, s3_client, bucket):
    """As the older scripts of a lost machine have left them."""
    engine.forge(s3_client, bucket, NOW - timedelta(days=1), with_manifest=False)
    assert place(several=True)["prefix"] == SHARED
    # beside others that do have one, they are more likely theirs
    engine.forge(s3_client, bucket, NOW, server="another")
    assert place()["prefix"] == OWN


@pytest.mark.parametrize(
    ("lies", "prefix"),
    [
        # by 0.1.0, and by today's, where nobody has set backup_s3_prefix
        (
            "# ansible-playbook setup.yml\nSERVER_NAME=test-server\nS3_PREFIX=postgres-backup\n",
            SHARED,
        ),
        ("# ansible-playbook setup.yml\nSERVER_NAME=test-server\n", SHARED),
        ("# ansible-playbook setup.yml\nSERVER_NAME=test-server\nS3_PREFIX=a/b\n", "a/b"),
        ("# ansible-playbook setup.yml\nSERVER_NAME=renamed\nS3_PREFIX=postgres-backup\n", SHARED),
        # a machine whose disk was copied, and a rehearsal
        (f"# ansible-playbook setup.yml\nSERVER_NAME=old\nS3_PREFIX={SHARED}/old\n", OWN),
        # of older scripts, or spoiled
        ("SERVER_NAME=test-server\nS3_PREFIX=theirs\n", OWN),
        ("# ansible-playbook setup.yml\nS3_PREFIX='a\n", OWN),
    ],
)
def test_a_config_that_is_there_decides(place, lies, prefix, s3_client, bucket):
    engine.forge(s3_client, bucket, NOW, server="another")
    found = place(several=True, lies=lies)
    assert found["prefix"] == prefix
    assert found["new"] == (prefix == OWN)


def test_a_bucket_to_come_and_a_store_that_does_not_answer(place):
    place.config.change(S3_BUCKET_NAME=f"missing-{secrets.token_hex(6)}")
    assert place()["prefix"] == SHARED
    place.config.change(S3_ENDPOINT_URL="http://127.0.0.1:1")
    failed = place(several=True)
    assert failed["failed"]
    assert "Failed to reach the bucket" in failed["msg"]
    # under the prefix of all it finds its own folder too, should it come back
    assert place(several=True, store_may_be_gone=True)["prefix"] == SHARED


def test_where_the_store_is_gone_a_rebuild_hears_what_the_second_has(place, s3):
    place.config.change(
        S3_ENDPOINT_URL="http://127.0.0.1:1",
        COPY_ENDPOINT_URL=s3.endpoint_url,
        COPY_BUCKET_NAME="second",
        COPY_ACCESS_KEY_ID=s3.access_key,
        COPY_SECRET_ACCESS_KEY=s3.secret_key,
    )
    assert "add -e from=copy" in place(rebuild=True)["msg"]
    assert "from=copy" not in place()["msg"], "setup.yml takes no such thing"


def test_a_key_that_the_store_does_not_know_is_told(place):
    place.config.change(AWS_ACCESS_KEY_ID="nobody")
    assert place()["failed"]
