"""The one verdict: what is wrong with backups, which alarms that raises, what a database is."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.health import verdict

NOW = datetime(2026, 1, 27, 9, 0, tzinfo=timezone.utc)


def backup(hours: float, **more) -> Backup:
    """A good one of ours, taken so many hours ago."""
    name = BackupName(NOW - timedelta(hours=hours))
    made = Backup(name, Layout("postgres-backup"), 10, {"bytes": 10}, ours=True, candidate=True)
    return dataclasses.replace(made, **more)


def findings(*backups: Backup, last: Backup | None) -> list[dict]:
    return verdict.findings_of("crm", backups, last, 26, NOW)


def test_a_fresh_backup_is_healthy():
    fresh = backup(26)
    assert findings(fresh, last=fresh) == []
    assert verdict.is_healthy([])


def test_none_and_a_stale_one_are_grave_and_raise_the_same_alarm():
    stale = backup(26.1)
    for found in (findings(last=None), findings(stale, last=stale)):
        assert found[0]["database"] == "crm"
        assert not verdict.is_healthy(found)
        raised = verdict.alarms_of("crm", found)
        assert (raised["BACKUP_STALE"].code, raised["BACKUP_BAD"]) == ("BACKUP_STALE", None)
        assert verdict.alarms_of("shop", found) == dict.fromkeys(
            (
                "BACKUP_STALE",
                "BACKUP_BAD",
                "BACKUP_FROM_THE_FUTURE",
                "ROWS_GONE",
                "SIGNED_BACKUP_GONE",
                "TWO_SERVERS",
            )
        )
    assert "26.1 hours old" in findings(stale, last=stale)[0]["message"]


def test_only_a_bad_one_after_the_newest_good_one_is_worth_waking_somebody():
    good, bad = backup(9), {"problem": "it is cut", "problem_code": "SIZE_DIFFERS"}
    for hours, is_told in ((1, True), (20, False)):
        found = findings(good, backup(hours, **bad), last=good)
        assert [one["code"] for one in found] == ["BACKUP_BAD"]
        assert not verdict.is_healthy(found)
        assert (verdict.alarms_of("crm", found)["BACKUP_BAD"] is not None) is is_told


def test_what_nobody_owns_is_told_by_its_own_code_and_is_not_grave():
    good = backup(1)
    strange = backup(2, ours=False, problem="it is cut", problem_code="SIZE_DIFFERS")
    found = findings(good, strange, last=good)
    assert [one["code"] for one in found] == ["SIZE_DIFFERS"]
    assert verdict.is_healthy(found)


FAILED = {"what": "backup", "at": "2026-01-27T08:00:00Z"}


@pytest.mark.parametrize(
    ("last", "failures", "bad", "expected"),
    [
        (None, [FAILED], True, "none"),
        ("2026-01-26T00:00:00Z", [FAILED], True, "stale"),
        ("2026-01-27T00:00:00Z", [FAILED], True, "failed"),
        ("2026-01-27T08:30:00Z", [FAILED], True, "bad"),
        ("2026-01-27T00:00:00Z", [FAILED | {"what": "prune"}], False, "well"),
    ],
)
def test_the_worst_of_a_database_is_what_it_is(last, failures, bad, expected):
    assert verdict.database_state(last, 26, failures, bad, NOW) == expected
    assert expected in verdict.STATES
