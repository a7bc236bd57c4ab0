"""Retention on a real store: what goes, with all that belongs to it, and everything that must never
go.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.backup.prune import prune_backups
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.errors import PostgresBackupError, StoreError
from postgres_backup.health import listing, status
from postgres_backup.job import Job
from tests.integration import engine
from tests.services.proxy import FaultProxy, ShiftedClock


def days_ago(days: float) -> datetime:
    """A little more than so many days ago."""
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days, minutes=5)


@pytest.fixture
def config(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there: retention needs none."""
    return new_config(engine.NO_SERVER, s3, bucket)


@pytest.fixture
def ten(s3_client, bucket) -> list[str]:
    """Ten daily backups of ours, newest first; with seven days of retention three have had their
    time.
    """
    return [engine.forge(s3_client, bucket, days_ago(day)) for day in range(10)]


def names_of(lines: list[dict]) -> list[str]:
    return [line["backup"] for line in lines]


def without_journal(client, bucket: str) -> set[str]:
    return {key for key in engine.keys(client, bucket) if "/journal/" not in key}


def test_what_is_past_its_time_goes_with_all_that_belongs_to_it(config, ten, s3_client, bucket):
    before = without_journal(s3_client, bucket)
    planned = prune_backups(Job(config.settings, check=True))
    assert without_journal(s3_client, bucket) == before
    assert engine.keys(s3_client, bucket, "postgres-backup/journal/") == []
    result = prune_backups(Job(config.settings))
    assert result | {"seconds": 0} == planned | {"seconds": 0}
    assert names_of(result["deleted"]) == ten[7:]
    assert names_of(result["kept"]) == ten[:7]
    assert {line["reason"] for line in result["deleted"]} == {"older than 7 days"}
    gone = {key for key in before if any(name.split(".")[0] in key for name in ten[7:])}
    assert len(gone) == 3 * len(("object", "globals", "manifest", "signature"))
    assert without_journal(s3_client, bucket) == before - gone
    again = prune_backups(Job(config.settings))
    assert (again["changed"], again["deleted"]) == (False, [])
    event, signature = engine.keys(s3_client, bucket, "postgres-backup/journal/")
    assert signature == f"{event}.sig"


def test_what_is_not_ours_stays_whatever_its_age(config, ten, s3_client, bucket):
    engine.forge(s3_client, bucket, days_ago(100), server="other-server")
    engine.forge(s3_client, bucket, days_ago(101), database="crm_test")
    engine.forge(s3_client, bucket, days_ago(102), with_manifest=False)
    engine.forge(s3_client, bucket, days_ago(103), change={"schema": 3})
    engine.forge(s3_client, bucket, days_ago(104), server="TEST-SERVER")
    engine.forge(s3_client, bucket, days_ago(105), prefix="postgres-backup-test")
    engine.forge(s3_client, bucket, days_ago(106), change={"server": {}})
    for key in (
        "partial/postgres-backup-2020-01-01_00-00-00.users.sql.gz",
        "readme.txt",
        "postgres-backup-2020-01-01_00-00-00.sql.gz.old",
    ):
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{key}", Body=b"x")
    others = {
        key
        for key in without_journal(s3_client, bucket)
        if not any(name.split(".")[0] in key for name in ten)
    }
    result = prune_backups(Job(config.settings), allow_many=True)
    assert names_of(result["deleted"]) == ten[7:]
    assert others <= without_journal(s3_client, bucket)
    assert result["waiting"] == 1
    assert any(f["code"] == "WAITING_FOR_ADOPTION" for f in result["findings"])


def test_no_more_than_half_in_one_run(config, s3_client, bucket):
    stored = [
        engine.forge(s3_client, bucket, days_ago(day)) for day in (0, 1, 20, 21, 22, 23, 24, 25)
    ]
    first = prune_backups(Job(config.settings))
    assert names_of(first["deleted"]) == stored[4:]
    # these tests have no PostgreSQL behind them, so the databases that restores replaced cannot be
    # asked for
    assert [f["code"] for f in first["findings"]] == ["DATABASE_UNREACHABLE", "PRUNE_HELD_BACK"]
    assert "--allow-many" in first["findings"][1]["message"]
    done = engine.run(config.path, "prune", "--allow-many", "--json")
    assert names_of(engine.answer(done)["deleted"]) == stored[2:4]


def test_the_newest_good_and_the_newest_proven_stay(config, s3_client, bucket):
    stored = [
        engine.forge(s3_client, bucket, days_ago(100 + day), proven=day == 3) for day in range(5)
    ]
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{stored[0]}", Body=b"cut")
    result = prune_backups(Job(config.settings), allow_many=True)
    assert {line["backup"]: line["reason"] for line in result["kept"]} == {
        stored[1]: "the newest good backup",
        stored[3]: "the newest proven backup",
    }


def test_globals_of_another_place_are_not_touched(config, s3_client, bucket):
    """A bucket that was copied: the manifests still name the keys of the old place."""
    elsewhere = "postgres-backup-old/globals/precious.sql.gz"
    s3_client.put_object(Bucket=bucket, Key=elsewhere, Body=b"precious")
    engine.forge(s3_client, bucket, days_ago(1))
    old = engine.forge(s3_client, bucket, days_ago(30), change={"globals": {"key": elsewhere}})
    assert names_of(prune_backups(Job(config.settings))["deleted"]) == [old]
    left = engine.keys(s3_client, bucket)
    assert elsewhere in left
    assert not any(old.split(".")[0] in key for key in left)


@pytest.mark.parametrize("done", [2, 3], ids=["both there", "one of manifest and signature"])
def test_a_prune_that_was_cut_short_is_finished_by_the_next(
    config, ten, s3, s3_client, bucket, done
):
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan(
            "status", "DELETE", "manifests/", times=1, skip=done, status=403, code="AccessDenied"
        )
        with pytest.raises(StoreError):
            prune_backups(Job(settings))
    left = without_journal(s3_client, bucket)
    assert f"postgres-backup/{ten[8]}" not in left
    assert any("manifests" in key and ten[8].split(".")[0] in key for key in left)
    assert f"postgres-backup/{ten[7]}" in left
    config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    prune_backups(Job(config.settings))
    assert {
        name.split(".")[0].rpartition("/")[2] for name in without_journal(s3_client, bucket)
    } == {name.split(".")[0] for name in ten[:7]}


def test_manifests_of_others_without_object_stay(config, ten, s3_client, bucket):
    name = engine.forge(s3_client, bucket, days_ago(30), server="other-server")
    s3_client.delete_object(Bucket=bucket, Key=f"postgres-backup/{name}")
    prune_backups(Job(config.settings))
    assert any(
        "manifests" in key and name.split(".")[0] in key for key in engine.keys(s3_client, bucket)
    )


@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.gameday)])
def test_many_go_in_few_requests(config, s3, s3_client, bucket, number):
    """However many they are, as long as they are no more than a page of a listing."""
    kept = engine.forge(s3_client, bucket, days_ago(0), proven=True)
    with ThreadPoolExecutor(4) as pool:
        old = [days_ago(day) for day in range(8, 8 + number)]
        list(pool.map(lambda at: engine.forge(s3_client, bucket, at, proven=True), old))
    Path(config.settings.state_dir).mkdir(exist_ok=True)
    status.status(config.settings)  # as every hour
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        result = prune_backups(Job(settings), allow_many=True)
        asked = len(between.requests)
    assert len(result["deleted"]) == number
    assert asked <= (25 if number < 250 else 50), between.requests
    stem = kept.split(".")[0]
    assert all(stem in key for key in without_journal(s3_client, bucket))
    assert len(without_journal(s3_client, bucket)) == 6


# --- keys and clocks ---


def test_a_key_that_may_not_delete(config, ten, s3, s3_client, bucket):
    before = without_journal(s3_client, bucket)
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "DELETE", times=1000, status=403, code="AccessDenied")
        text = engine.failed_well(engine.run(config.path, "prune"), 1, "does not allow", "delete")
    assert "its rights" in text
    assert without_journal(s3_client, bucket) == before


@pytest.mark.parametrize(
    ("minutes", "words"), [(-16, "ahead of"), (16, "behind"), (60 * 24 * 365, "behind")]
)
def test_a_clock_that_disagrees_with_the_store_deletes_nothing(
    config, ten, s3, s3_client, bucket, minutes, words
):
    before = without_journal(s3_client, bucket)
    with ShiftedClock(s3.endpoint_url, minutes * 60) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        with pytest.raises(PostgresBackupError, match=words) as caught:
            prune_backups(Job(settings), allow_many=True)
    assert [f["code"] for f in caught.value.findings] == ["CLOCK_DIFFERS"]
    assert caught.value.exit_status == 1
    assert without_journal(s3_client, bucket) == before


def test_a_clock_that_is_nearly_right_is_right_enough(config, ten, s3):
    with ShiftedClock(s3.endpoint_url, 14 * 60) as between:
        assert (
            names_of(
                prune_backups(Job(config.change(S3_ENDPOINT_URL=between.endpoint_url), check=True))[
                    "deleted"
                ]
            )
            == ten[7:]
        )


def test_a_backup_dated_in_the_future_is_as_old_as_the_store_says(config, s3_client, bucket):
    engine.forge(s3_client, bucket, days_ago(-400))
    now = engine.forge(s3_client, bucket, days_ago(0))
    old = engine.forge(s3_client, bucket, days_ago(30))
    result = prune_backups(Job(config.settings))
    assert names_of(result["deleted"]) == [old]
    [reason] = {line["reason"] for line in result["kept"] if line["backup"] != now}
    assert re.fullmatch(r"dated in the future, written 2\S+Z: not older than 7 days", reason)


def test_a_lock_is_held_while_pruning(config, ten, s3_client, bucket):
    from postgres_backup.machine import lock

    with lock.hold(config.settings, "crm", "restore"):
        engine.failed_well(engine.run(config.path, "prune"), 3, "restore since")
    assert len(engine.keys(s3_client, bucket)) == 40


def test_proofs_go_with_their_backup_and_two_newer_ones_are_enough(config, s3_client, bucket):
    """What is left of a prune that was cut short goes too, and nothing of anybody else."""
    layout = Layout("postgres-backup")
    kept, gone = BackupName(days_ago(1)), BackupName(days_ago(30))
    lost, others = BackupName(days_ago(31)), BackupName(days_ago(32))
    engine.forge(s3_client, bucket, kept.taken_at)
    engine.forge(s3_client, bucket, gone.taken_at)

    def forge_proof(name: BackupName, of: BackupName, days: float, **change: object) -> str:
        key = layout.manifest(of)
        data = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return engine.forge_proof(s3_client, bucket, layout, name, days_ago(days), data, **change)

    newest = [forge_proof(kept, kept, 0.1), forge_proof(kept, kept, 0.2)]
    old = [forge_proof(kept, kept, 0.3), forge_proof(kept, kept, 0.4)]
    not_counted = [forge_proof(kept, kept, 0.5, manifest_sha256="0" * 64)]
    odd = [layout.proof(kept, days_ago(0.6)), layout.proof(kept, days_ago(0.7))]
    s3_client.put_object(Bucket=bucket, Key=odd[0], Body=b"{")
    s3_client.put_object(Bucket=bucket, Key=odd[1], Body=b"x" * 100_000)
    with_it = [forge_proof(gone, gone, 20), layout.proof(gone, days_ago(19))]
    s3_client.put_object(Bucket=bucket, Key=with_it[1], Body=b"")
    left = [forge_proof(lost, kept, 21)]
    elses = [
        forge_proof(others, kept, 22, server="other-server"),
        forge_proof(others, kept, 23, database="crm_test"),
        forge_proof(others, kept, 24, backup=str(kept)),
        "postgres-backup/proofs/note.txt",
        "postgres-backup/proofs/postgres-backup-2020-01-01_00-00-00-2020-01-01_00-00-00.json",
    ]
    for key in elses[-2:]:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"[]")
    everything = {*newest, *old, *not_counted, *odd, *with_it, *left, *elses}
    proofs = "postgres-backup/proofs/"
    signed = {key for key in everything if f"{key}.sig" in engine.keys(s3_client, bucket, proofs)}
    everything |= {f"{key}.sig" for key in signed}
    assert set(engine.keys(s3_client, bucket, proofs)) == everything
    told = status.status(config.settings)["findings"]
    unread = [found["message"] for found in told if found["code"] == "PROOF_UNREADABLE"]
    assert [any(key in message for message in unread) for key in odd] == [True, True]
    assert prune_backups(Job(config.settings, check=True))["changed"]
    assert set(engine.keys(s3_client, bucket, proofs)) == everything
    result = prune_backups(Job(config.settings), allow_many=True)
    assert names_of(result["deleted"]) == [str(gone)]
    stay = {*newest, *not_counted, *odd, *elses}
    assert set(engine.keys(s3_client, bucket, proofs)) == stay | {
        f"{key}.sig" for key in stay & signed
    }
    assert prune_backups(Job(config.settings))["changed"] is False
    [line] = listing.look(config.settings)["backups"]
    assert (line["backup"], line["state"]) == (str(kept), "proven")
