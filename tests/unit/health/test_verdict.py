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
                "FOREIGN_WRITER",
                "BACKUP_VANISHED",
                "COPY_STALE",
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


FAILED = verdict.Failed("2026-01-27T08:00:00Z", "no route to the store")
BAD = [{"code": "BACKUP_BAD", "message": "it is cut", "database": "crm"}]
ALARM = {
    "code": "SIZE_DROPPED",
    "database": "crm",
    "message": "the backup has 12.1 MB",
    "since": "2026-01-27T00:00:09Z",
    "hint": "",
}


@pytest.mark.parametrize(
    ("last", "failed", "found", "expected"),
    [
        (None, FAILED, BAD, "none"),
        ("2026-01-26T00:00:00Z", FAILED, BAD, "stale"),
        ("2026-01-27T00:00:00Z", FAILED, BAD, "failed"),
        ("2026-01-27T08:30:00Z", FAILED, BAD, "bad"),
        ("2026-01-27T08:30:00Z", FAILED, [BAD[0] | {"database": "shop"}], "well"),
        ("2026-01-27T08:30:00Z", None, [], "well"),
    ],
)
def test_the_worst_of_a_database_is_what_it_is(last, failed, found, expected):
    judged = verdict.of_database("crm", last, 26, failed, found, NOW)
    assert judged["state"] == expected
    assert expected in verdict.STATES
    since = failed and failed.at > (last or "")
    told = "the backup of crm failed on 27 Jan 2026 08:00 UTC: no route to the store"
    assert judged["failed"] == (told if since else "")


def server(*, state="well", failed="", found=(), alarms=(), waits="") -> verdict.Verdict:
    return verdict.of_server({"crm": {"state": state, "failed": failed}}, found, alarms, waits)


def finding(code: str, message: str = "so it is") -> dict:
    return {"code": code, "message": message}


@pytest.mark.parametrize(
    ("about", "state", "words"),
    [
        ({}, "well", "all is well"),
        ({"found": [finding("DATABASE_UNREACHABLE")]}, "look", "worth a look"),
        ({"found": [finding("RETENTION_WRONG")]}, "look", "worth a look"),
        ({"found": [finding("CLOCK_OFF")]}, "unwell", "NOT WELL"),
        ({"found": [finding("DISK_FULL")]}, "unwell", "NOT WELL"),
        ({"found": [finding("STATE_NOT_WRITTEN")]}, "unwell", "NOT WELL"),
        ({"found": [finding("TWO_SERVERS")]}, "unwell", "NOT WELL"),
        ({"alarms": [ALARM]}, "unwell", "NOT WELL"),
        ({"waits": "the run of today FAILED: kit: no room"}, "unwell", "NOT WELL"),
        ({"state": "failed", "failed": "it failed"}, "failed", "NOT WELL (last backup failed)"),
        ({"state": "stale", "alarms": [ALARM]}, "stale", "NOT WELL (stale)"),
        ({"state": "none"}, "none", "NOT WELL (no good backup)"),
    ],
)
def test_all_is_well_only_where_nothing_failed_and_nobody_was_called(about, state, words):
    judged = server(**about)
    assert (judged["state"], verdict.in_words(judged["state"])) == (state, words)
    assert judged["healthy"] is (state in ("well", "look"))
    if state not in ("well", "stale", "none"):
        assert judged["why"], "what is not well says why"


def test_why_is_told_the_worst_first_once_and_with_its_alarm():
    found = [finding("RETENTION_WRONG", "nothing is pruned"), finding("CLOCK_OFF", "the clock")]
    raised = ALARM | {"code": "BACKUP_FAILED", "message": "no room"}
    failed = "the backup of crm failed on 27 Jan 2026 08:00 UTC: no room"
    judged = server(state="failed", failed=failed, found=found, alarms=[ALARM, raised])
    assert all(why["todo"] for why in judged["why"] if why["alarm"])
    assert [(why["text"], (why["alarm"] or {}).get("code")) for why in judged["why"]] == [
        ("The clock", None),
        ("The backup of crm failed on 27 Jan 2026 08:00 UTC: no room", "BACKUP_FAILED"),
        ("nothing is pruned", None),
        ("The backup has 12.1 MB", "SIZE_DROPPED"),
    ]
