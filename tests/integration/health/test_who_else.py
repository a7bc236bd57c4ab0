"""Who else writes here: an older script that still runs beside us puts backups of its own there,
and its retention deletes ours.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from postgres_backup.backup.prune import prune_backups
from postgres_backup.catalog import journal
from postgres_backup.catalog.names import Layout
from postgres_backup.health import alarms, foreign_writer, status
from postgres_backup.job import Job
from postgres_backup.nightly.adopt import adopt_backups
from tests.integration import engine
from tests.integration.nightly.conftest import crm  # noqa: F401 - a fixture
from tests.integration.nightly.nights import backups

COMES = "somebody else writes backups beside those of crm"
GOES = "backups of crm have gone from the bucket"


@pytest.fixture
def script(crm, s3_client, bucket):  # noqa: F811
    """The night of an older script, at the moved clock: its backup comes, and of those that are
    older than some days the objects go, whoever took them.
    """

    def night(keeps: int = 1000) -> str:
        for name in backups(s3_client, bucket)[:-keeps]:
            s3_client.delete_object(Bucket=bucket, Key=name)
        crm.now += timedelta(minutes=1)
        return engine.forge(s3_client, bucket, crm.now, with_manifest=False)

    return night


def open_codes(settings) -> set[str]:
    return {one["code"] for one in alarms.open_alarms(settings)}


def test_a_script_that_still_runs_is_told_until_it_has_stopped(crm, script, s3_client, bucket):  # noqa: F811
    settings = crm.config.settings
    crm.at(0, 55)
    assert open_codes(settings) == set()
    # before our first backup there were only theirs
    engine.forge(s3_client, bucket, crm.now - timedelta(days=1), with_manifest=False)
    # one of ours that a kill has left, as the journal says that began it
    killed = crm.now - timedelta(minutes=3)
    engine.forge(s3_client, bucket, killed, with_manifest=False)
    began = Layout("postgres-backup").journal(killed, f"{journal.BEGAN}-test-server-0011aabb")
    s3_client.put_object(Bucket=bucket, Key=began, Body=b"{}")
    crm.at(1, 55)
    assert open_codes(settings) == set()

    name = script()
    crm.at(2, 55)
    assert crm.told == [COMES]
    (told,) = alarms.open_alarms(settings)
    assert name in told["message"]
    assert status.status(settings)["state"] == "unwell"
    script()
    crm.at(0, 0)  # the night tells of it too, and it is no second alarm
    assert crm.told == [COMES]
    # nobody has written for a day
    crm.day()
    crm.at(0, 0)
    crm.at(3, 55)
    assert crm.told == [COMES, f"over: {COMES}"]


def test_what_was_adopted_or_came_before_a_move_is_told_no_more(crm, script):  # noqa: F811
    settings = crm.config.settings
    script()
    foreign_writer.scripts_gone(settings, crm.now)
    assert status.status(settings)["findings"] == []
    name = script()
    assert "FOREIGN_WRITER" in {one["code"] for one in status.status(settings)["findings"]}
    adopt_backups(Job(settings, "crm"), [name])
    assert "FOREIGN_WRITER" not in {one["code"] for one in status.status(settings)["findings"]}


def test_backups_that_its_retention_deletes_are_told_and_left_for_whoever_undeletes(
    crm,  # noqa: F811
    script,
    s3_client,
    bucket,
):
    settings = crm.config.settings
    for _ in range(4):
        crm.at(0, 0)
    first, second = (name.rpartition("/")[2] for name in backups(s3_client, bucket)[:2])
    crm.at(0, 25)
    # ours delete what is past its time, which is no news
    short = dataclasses.replace(settings, retention_days=4)
    assert [one["backup"] for one in prune_backups(Job(short, "crm"))["deleted"]] == [first]
    crm.at(0, 55)
    assert open_codes(settings) == set()

    script(keeps=3)
    crm.at(1, 55)
    assert GOES in crm.told
    [told] = [one for one in alarms.open_alarms(settings) if one["code"] == "BACKUP_VANISHED"]
    assert second.partition(".")[0] in told["message"]
    assert first.partition(".")[0] not in told["message"]
    # by agreement somebody else deletes
    agreed = dataclasses.replace(settings, prune_nightly=False)
    codes = {one["code"] for one in status.status(agreed)["findings"]}
    assert "BACKUP_VANISHED" not in codes
    # the nights go on, and whoever brings the object back has a whole backup
    crm.at(0, 0)
    stem = second.partition(".")[0]
    left = f"postgres-backup/manifests/{stem}.json"
    assert left in engine.keys(s3_client, bucket)
    for _ in range(4):
        crm.at(0, 0)
        crm.at(0, 55)
    assert f"over: {GOES}" in crm.told
    crm.at(0, 0)
    assert left not in engine.keys(s3_client, bucket)


def test_what_another_machine_has_pruned_and_noted_is_no_news(crm, new_config, s3, bucket):  # noqa: F811
    for _ in range(4):
        crm.at(0, 0)
    crm.at(0, 25)
    settings = crm.config.settings
    rights = {name: crm.config.values[name] for name in ("DB_USER", "DB_PASSWORD")}
    other = new_config(crm.database, s3, bucket, RETENTION_DAYS=3, **rights).settings
    assert len(prune_backups(Job(other, "crm"))["deleted"]) == 2
    crm.at(0, 55)
    assert (open_codes(settings), status.status(settings)["findings"]) == (set(), [])


def test_another_bucket_has_not_lost_what_it_never_had(crm, s3, s3_client, new_bucket):  # noqa: F811
    for _ in range(2):
        crm.at(0, 0)
    settings = crm.config.change(S3_BUCKET_NAME=new_bucket(s3))
    for _ in range(3):
        crm.at(0, 0)
    crm.at(0, 55)
    assert status.status(settings)["findings"] == []
    # whoever deletes there all that an older backup was, has deleted one that was signed for it
    name = backups(s3_client, settings.s3_bucket)[1].rpartition("/")[2]
    for key in engine.keys(s3_client, settings.s3_bucket):
        if name.partition(".")[0] in key:
            s3_client.delete_object(Bucket=settings.s3_bucket, Key=key)
    crm.at(1, 55)
    assert open_codes(settings) == {"BACKUP_VANISHED"}


def test_several_databases_under_one_prefix_hear_of_it_once(crm, script):  # noqa: F811
    name = script()
    settings = dataclasses.replace(crm.config.settings, databases=("crm", "shop"))
    told = [one for one in status.status(settings)["findings"] if name in one["message"]]
    assert [(one["code"], one["database"]) for one in told] == [("FOREIGN_WRITER", "crm")]
