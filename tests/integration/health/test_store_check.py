"""``store-check`` against a real store, and against one that takes what it does not heed."""

import json
import time

import pytest

from postgres_backup.errors import StoreError, UnfitStoreError
from postgres_backup.health import listing, store_check
from postgres_backup.machine.progress import Progress
from postgres_backup.s3 import canaries, known, probe, probe_bucket, probe_objects, probe_promises
from postgres_backup.s3.canaries import Probing
from postgres_backup.s3.probe import KINDS
from tests.integration import engine
from tests.services.hostile_store import ANSWERS, Answer, Reply
from tests.services.proxy import FaultProxy

TRIES = {**probe_objects.TRIES, **probe_promises.TRIES, **probe_bucket.TRIES}
FOLDER = "postgres-backup/store-check/"


@pytest.fixture
def behind(config, hostile):
    """``config``, whose store is seen through ``hostile``."""
    config.change(S3_ENDPOINT_URL=hostile.endpoint_url)
    return config


def looked(config, **asked) -> store_check.StoreCheck:
    return store_check.check_store(config.settings, Progress(), **asked)


def states(result) -> dict[str, str]:
    return {row["row"]: row["state"] for row in result["rows"]}


def keys(s3_client, bucket) -> list[str]:
    return [one["Key"] for one in s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_every_row_is_tried_and_each_canary_taken_away(config, s3_client, bucket):
    theirs = [
        "logs/app.log",
        f"{FOLDER}other/put.json",
        f"{FOLDER}notes.txt",
        f"{FOLDER}test/of-others",
    ]
    for key in theirs:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    done = engine.run(config.path, "store-check", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["fit"] is True
    assert result["changed"] is False
    assert result["seconds"] < 20
    assert (result["left"], result["findings"]) == ([], [])
    found = states(result)
    assert list(found) == list(KINDS)
    off = {name for name, state in found.items() if state != "works"}
    assert off == {"versions", "lock"}, "SeaweedFS can all, and this bucket was made without"
    assert sorted(keys(s3_client, bucket)) == sorted(theirs)
    assert not s3_client.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_it_says_what_falls_away_and_what_to_do(config):
    done = engine.run(config.path, "store-check")
    assert "does not                    keep what is written over or deleted" in done.stdout
    assert "what falls away: whoever has a key can destroy backups for good" in done.stdout
    assert "fit for backups (" in done.stdout.splitlines()[-1]
    planned = engine.run(config.path, "store-check", "--check")
    assert f"{len(KINDS)} things would be tried" in planned.stdout


def test_versions_and_a_lock_that_hold_leave_nothing(config, s3_client, bucket):
    locked = f"{bucket}-locked"
    s3_client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    config.change(S3_BUCKET_NAME=locked)
    result = looked(config)
    found = states(result)
    assert (found["versions"], found["lock"]) == ("works", "works")
    assert result["left"] == []
    stays = s3_client.list_object_versions(Bucket=locked)
    assert not stays.get("Versions")
    assert not stays.get("DeleteMarkers")
    s3_client.delete_bucket(Bucket=locked)


#: what a store plays -> the row that sees it, and as what
LIES = {
    "MD5 ignored": ("md5", "ignores"),
    "checksums ignored": ("checksum", "ignores"),
    "conditions ignored": ("condition", "ignores"),
    "range ignored": ("range", "ignores"),
    "delete ignored": ("delete", "ignores"),
    "swallowed": ("put", "ignores"),
    "spoiled": ("put", "ignores"),
    "garbage": ("put", "ignores"),
    "same token": ("list", "lacks"),
    "same page": ("list", "lacks"),
    "empty pages": ("list", "lacks"),
    "more without a token": ("list", "lacks"),
    "listed twice": ("list", "lacks"),
    "unsorted": ("list", "lacks"),
    "another length": ("head", "lacks"),
}
#: those with which no backup can live
UNFIT = {"put", "list", "multipart"}


def tried(probing: Probing, name: str) -> probe.Row:
    """One row of the table, by itself."""
    return probe.row_of(name, TRIES[name](probing))


@pytest.mark.parametrize("lie", LIES)
def test_what_is_taken_and_not_heeded_is_seen(behind, hostile, lie):
    name, state = LIES[lie]
    probing = Probing(behind.settings)
    assert tried(probing, name)["state"] == "works", "so that the lie makes the difference"
    hostile.play(lie)
    row = tried(probing, name)
    assert row["state"] == state
    assert row["unfit"] is (name in UNFIT or lie == "another length")
    assert row["lost"]
    assert row["todo"]
    hostile.be_honest()
    assert not any(probing.clean())


def test_a_lock_that_is_ignored_and_parts_that_are_spoiled(behind, hostile, s3_client, bucket):
    locked = f"{bucket}-locked"
    s3_client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    behind.change(S3_BUCKET_NAME=locked)
    probing = Probing(behind.settings)
    hostile.play("lock ignored")
    assert tried(probing, "lock")["state"] == "ignores"
    hostile.play("damaged", contains="multipart")
    row = tried(probing, "multipart")
    assert (row["state"], row["unfit"]) == ("ignores", True)
    hostile.be_honest()
    assert not any(probing.clean())
    s3_client.delete_bucket(Bucket=locked)


def test_an_unfit_store_is_told_in_every_way(behind, hostile):
    hostile.play("swallowed")
    done = engine.run(behind.path, "store-check", "--json")
    assert done.returncode == 4
    result = json.loads(done.stdout)
    assert result["fit"] is False
    assert {one["code"] for one in result["findings"]} == {"STORE_UNFIT"}
    with pytest.raises(UnfitStoreError, match="it does not write an object") as failed:
        store_check.require_fit(result)
    assert "choose another store" in failed.value.hint
    assert failed.value.exit_status == 4
    assert not known.is_known(behind.settings), "it is looked at again by the next setup"


def test_a_store_is_tried_once_and_again_where_its_settings_change(config):
    assert not looked(config, only_new=True)["remembered"]
    assert looked(config, only_new=True)["remembered"]
    assert looked(config, only_new=True)["rows"] == []
    assert not looked(config)["remembered"]
    config.change(S3_PREFIX="elsewhere")
    assert not known.is_known(config.settings)
    before = looked(config, only_new=True, check=True)
    assert (before["fit"], before["rows"]) == (None, [])


def test_what_stays_is_named_is_no_backup_and_goes_with_the_next_look(
    behind, hostile, s3_client, bucket
):
    no = Reply(
        403, {"content-type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
    )
    takes = lambda request: request.method == "DELETE" and "uploadId" not in request.query  # noqa: E731
    hostile.play(Answer("no delete", "a key that may not delete", takes, lambda *_: no))
    result = looked(behind)
    assert result["fit"] is True, "backups are taken all the same"
    assert states(result)["delete"] == "lacks"
    assert result["left"]
    assert sorted(result["left"]) == sorted(keys(s3_client, bucket))
    assert {one["code"] for one in result["findings"]} == {"CANARY_LEFT"}
    hostile.be_honest()
    seen = listing.look(behind.settings, "")
    assert seen["backups"] == []
    assert looked(behind)["left"] == []
    assert keys(s3_client, bucket) == []


def test_unfinished_uploads_that_no_abort_takes_away_are_told(behind, hostile, s3_client, bucket):
    hostile.play("delete ignored")
    result = looked(behind)
    there = {one["Key"] for one in s3_client.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    assert there
    told = {one["message"] for one in result["findings"] if one["code"] == "CANARY_LEFT"}
    assert {f"an unfinished upload of {key} could not be aborted" for key in there} <= told
    hostile.be_honest()
    assert looked(behind)["findings"] == []
    assert "Uploads" not in s3_client.list_multipart_uploads(Bucket=bucket)


def test_a_key_without_rights_hears_so(behind, hostile):
    hostile.play("denied")
    result = looked(behind)
    assert result["fit"] is False
    assert states(result)["put"] == "lacks"


def test_rules_that_delete_backups_are_told_of(config, s3_client, bucket):
    def rule(prefix, **more):
        return {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": prefix}} | more

    probing = Probing(config.settings)
    for one, state in (
        (rule("logs/", Expiration={"Days": 3}), "works"),
        (rule("", Expiration={"Days": 30}), "warns"),
        (rule("postgres-backup/", Expiration={"Days": 30}), "warns"),
        (rule("", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 3}), "works"),
    ):
        s3_client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [one]}
        )
        row = tried(probing, "lifecycle")
        assert row["state"] == state, one
        assert ("deletes objects" in row["said"]) is (state == "warns")


def test_a_bucket_that_strangers_read_is_told_of(config, s3_client, bucket):
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{bucket}/*",
            }
        ],
    }
    s3_client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    probing = Probing(config.settings)
    row = tried(probing, "public")
    assert (row["state"], row["said"]) == (
        "warns",
        "anybody may read from the bucket without a key",
    )
    s3_client.delete_bucket_policy(Bucket=bucket)
    assert not any(probing.clean())


@pytest.mark.parametrize(
    ("address", "state"),
    [
        ("https://s3.example.com", "works"),
        ("http://127.0.0.1:9000", "works"),
        ("http://s3.example.com", "warns"),
    ],
)
def test_plain_http_is_warned_of(config, address, state):
    config.change(S3_ENDPOINT_URL=address)
    assert tried(Probing(config.settings), "tls")["state"] == state


def test_a_store_that_falls_silent_holds_nobody_up(config, s3, monkeypatch):
    """By a tenth of the times that it has."""
    monkeypatch.setattr(canaries, "_TIMEOUT", 0.4)
    monkeypatch.setattr(store_check, "_ENOUGH", 0.8)
    with FaultProxy(s3.endpoint_url) as proxy:
        config.change(S3_ENDPOINT_URL=proxy.endpoint_url)
        proxy.plan("hang", "PUT", seconds=30, times=1000)
        began = time.monotonic()
        with pytest.raises(StoreError) as failed:
            looked(config)
        assert time.monotonic() - began < 5
    assert "silent" in failed.value.message
    assert failed.value.exit_status == 1


@pytest.mark.gameday
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_ends_it_unexpectedly(behind, hostile, answer):
    hostile.play(answer)
    done = engine.run(behind.path, "store-check", "--json")
    assert done.returncode in (0, 1, 4)
    assert "unexpectedly" not in done.stdout + done.stderr
