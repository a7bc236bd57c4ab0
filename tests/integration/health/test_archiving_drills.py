"""The drills of every second in the journal, each once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postgres_backup.catalog import history
from postgres_backup.clock import utc_now
from postgres_backup.health import archiving_drills
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.unit.health.test_archiving import seen


@pytest.fixture
def settings(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket).settings


def look(at: str, passed: bool = True):
    return seen(drill={"at": at, "passed": passed, "seconds": 9.0, "said": "no room"})


def events(settings) -> list[tuple[str, str]]:
    told = history.happened(settings, Store(settings), utc_now() - timedelta(days=1))["events"]
    return [(one["event"], one.get("reason", "")) for one in told]


def test_each_is_noted_once_with_what_failed(settings):
    assert archiving_drills.note(settings, None) == []
    assert archiving_drills.note(settings, seen(newest_at=None)) == []
    assert events(settings) == []
    first, second = look("2026-11-28T12:00:00Z"), look("2026-11-29T12:00:00Z", passed=False)
    for one in (first, first, second, second):
        assert archiving_drills.note(settings, {**one, "newest_at": None}) == []
    assert sorted(events(settings)) == [("pitr-drill", ""), ("pitr-drill-failed", "no room")]


def test_each_backup_of_the_cluster_is_noted_once_a_full_one_as_that(settings):
    full = seen(newest_at="2026-11-28T01:00:00Z", newest_full_at="2026-11-28T01:00:00Z")
    part = {**full, "newest_at": "2026-11-29T01:00:00Z"}
    for one in (full, full, part, part):
        assert archiving_drills.note(settings, one) == []
    assert sorted(events(settings)) == [("pitr-backup", ""), ("pitr-backup-full", "")]


def test_a_store_that_is_away_is_a_finding_and_not_asked_again(new_config, s3, bucket):
    gone = new_config(engine.NO_SERVER, s3, bucket).change(S3_BUCKET_NAME="not-there-at-all")
    assert archiving_drills.note(gone, look("2026-11-29T12:00:00Z"))
    assert archiving_drills.note(gone, look("2026-11-29T12:00:00Z")) == []
