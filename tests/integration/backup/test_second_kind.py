"""What a prune does and says where every second is kept: the dumps that were taken out of recovered
clusters go when they are past their time, and nothing else of what lies there.
"""

from __future__ import annotations

import pytest

from postgres_backup.backup import prune
from postgres_backup.backup.prune import prune_backups
from postgres_backup.health import archiving, listing, status
from postgres_backup.job import Job
from tests.integration import engine
from tests.integration.backup.test_prune import days_ago, names_of
from tests.services.proxy import FaultProxy
from tests.unit.health.test_archiving import seen

PLACE = "postgres-backup-recovered"


@pytest.fixture
def config(new_config, s3, bucket, monkeypatch):
    look = seen(first_at="2026-11-20T12:00:00Z", backups=9, stored_bytes=3_000_000)
    monkeypatch.setattr(archiving, "read", lambda *_: (look, ""))
    return new_config(engine.NO_SERVER, s3, bucket, PITR="true")


@pytest.fixture
def past(s3_client, bucket) -> list[str]:
    """A nightly backup of today, and recovered dumps: of two days ago, and of three that have had
    their time.
    """
    engine.forge(s3_client, bucket, days_ago(0))
    return [engine.forge(s3_client, bucket, days_ago(day), prefix=PLACE) for day in (2, 10, 11, 12)]


def keys(client, bucket) -> set[str]:
    return set(engine.keys(client, bucket, f"{PLACE}/"))


def test_the_old_go_and_a_check_says_which(config, past, s3_client, bucket):
    before, nights = keys(s3_client, bucket), set(engine.keys(s3_client, bucket))
    planned = prune_backups(Job(config.settings, check=True))
    assert set(engine.keys(s3_client, bucket)) == nights
    first = prune_backups(Job(config.settings))
    assert first | {"seconds": 0} == planned | {"seconds": 0}
    # the oldest first, no more than half at a time
    assert names_of(first["recovered_deleted"]) == past[2:]
    assert f"deleted  recovered {past[3]}  older than 7 days" in prune.lines(first)
    assert f"would delete  recovered {past[3]}  older than 7 days" in prune.lines(planned, True)
    second = prune_backups(Job(config.settings))
    assert names_of(second["recovered_deleted"]) == [past[1]]
    assert names_of(second["recovered_kept"]) == [past[0]]
    left = {key for key in before if past[0].split(".")[0] in key}
    assert keys(s3_client, bucket) == left
    third = prune_backups(Job(config.settings))
    assert (third["recovered_deleted"], third["changed"]) == ([], False)
    assert names_of(third["kept"]) == names_of(first["kept"])


def test_the_newest_goes_too_unless_no_good_backup_is_newer(config, s3_client, bucket):
    old = engine.forge(s3_client, bucket, days_ago(10), prefix=PLACE)
    alone = prune_backups(Job(config.settings))
    assert alone["recovered_kept"] == [
        {"backup": old, "reason": "no good backup of the whole database is newer"}
    ]
    engine.forge(s3_client, bucket, days_ago(0))
    assert names_of(prune_backups(Job(config.settings))["recovered_deleted"]) == [old]
    assert not keys(s3_client, bucket)


def test_nothing_else_that_lies_there_is_touched(config, past, s3_client, bucket):
    engine.forge(s3_client, bucket, days_ago(100), prefix=PLACE, server="other-server")
    engine.forge(s3_client, bucket, days_ago(101), prefix=PLACE, database="crm_test")
    engine.forge(s3_client, bucket, days_ago(102), prefix=PLACE, with_manifest=False)
    engine.forge(s3_client, bucket, days_ago(103), prefix=f"{PLACE}-2")
    for key in ("readme.txt", "partial/postgres-backup-2020-01-01_00-00-00.users.sql.gz"):
        s3_client.put_object(Bucket=bucket, Key=f"{PLACE}/{key}", Body=b"x")
    mine = {name.split(".")[0] for name in past}
    others = {
        key for key in engine.keys(s3_client, bucket) if not any(name in key for name in mine)
    }
    for _ in range(3):
        prune_backups(Job(config.settings), allow_many=True)
    left = {key for key in engine.keys(s3_client, bucket) if "/journal/" not in key}
    assert others <= left
    assert not any(name.split(".")[0] in key for name in past[1:] for key in left)


def test_without_every_second_nothing_there_is_asked_for(config, past, s3, s3_client, bucket):
    before = keys(s3_client, bucket)
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(PITR="false", S3_ENDPOINT_URL=between.endpoint_url)
        result = prune_backups(Job(settings))
        assert not [one for one in between.requests if PLACE in str(one)]
    assert (result["recovered_deleted"], result["recovered_kept"]) == ([], [])
    assert result["every_second"] == []
    assert keys(s3_client, bucket) == before


@pytest.mark.parametrize(("method", "where"), [("GET", f"prefix={PLACE}"), ("DELETE", f"{PLACE}/")])
def test_a_store_that_refuses_is_a_finding_and_the_nights_are_pruned(
    config, past, s3, s3_client, bucket, method, where
):
    old, before = engine.forge(s3_client, bucket, days_ago(30)), keys(s3_client, bucket)
    with FaultProxy(s3.endpoint_url) as between:
        between.plan("status", method, where, times=99, status=403, code="AccessDenied")
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        result = prune_backups(Job(settings))
        shown = listing.look(settings)["every_second"][-1]
    assert names_of(result["deleted"]) == [old]
    [found] = [one for one in result["findings"] if one["code"] == "RECOVERED_STAY"]
    assert f"stay in {PLACE}/: " in found["message"]
    assert result["recovered_deleted"] == []
    assert keys(s3_client, bucket) == before
    assert shown.startswith(f"{PLACE}/")
    assert ("was not looked at" in shown) is (method == "GET")


def test_it_says_what_is_kept_and_what_that_costs(config, past):
    told = prune_backups(Job(config.settings, check=True))["every_second"]
    assert told[0].startswith("every second: kept from 2026-11-20T12:00:00Z on, by 9 backups")
    # three of the four are past their time, and two of them go
    assert told[1].startswith(f"{PLACE}/: 2 dumps of recovered databases, ")
    assert told[1].endswith("; deleted after 7 days")
    listed = listing.look(config.settings)["every_second"]
    assert listed[-1].startswith(f"{PLACE}/: 4 dumps of recovered databases, ")
    with_them, without = (
        status.status(settings, counting=True)["costs"]["storage_bytes"]
        for settings in (config.settings, config.change(PITR="false"))
    )
    assert with_them - without > 3_000_000  # the archive, and the dumps
