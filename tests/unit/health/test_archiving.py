"""Whether every second is kept: each trouble is found, and a file that lies is not believed."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.clock import format_timestamp
from postgres_backup.health import archiving, costs
from postgres_backup.settings import Settings
from tests.unit.test_settings import GIVEN

NOW = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
SETTINGS = dataclasses.replace(Settings(**GIVEN), pitr=True)


def ago(**time: float) -> str:
    return format_timestamp(NOW - timedelta(**time))


def seen(**other: object) -> archiving.Look:
    return {
        "at": ago(minutes=1),
        "stopped": "",
        "waiting": 1,
        "waiting_bytes": 16 << 20,
        "oldest_seconds": 12.0,
        "log_bytes": 64 << 20,
        "free_bytes": 1 << 30,
        "worst_seconds": 40.0,
        "worst_at": ago(days=1),
        "backups_at": ago(minutes=50),
        "unasked": "",
        "newest_at": ago(hours=20),
        "newest_full_at": ago(days=6),
        "gaps": [],
        **other,
    }


def codes(**other: object) -> list[str]:
    return [one["code"] for one in archiving.findings_of(SETTINGS, seen(**other), "", NOW)]


def test_nothing_is_found_where_every_second_is_kept():
    assert codes() == []


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"stopped": "archive_command is 'true'"}, "PITR_STOPPED"),
        ({"oldest_seconds": 301.0}, "PITR_STOPPED"),
        ({"at": ago(minutes=6)}, "PITR_STOPPED"),
        ({"at": ago(minutes=-6)}, "PITR_STOPPED"),  # a clock that was ahead
        ({"gaps": ["000000010000000000000005"]}, "PITR_GAP"),
        ({"newest_at": ago(hours=49)}, "PITR_STALE"),
        ({"newest_full_at": ago(days=8, hours=1)}, "PITR_STALE"),
        ({"newest_at": None, "newest_full_at": None}, "PITR_STALE"),
        ({"backups_at": ago(hours=49)}, "PITR_STALE"),
        ({"backups_at": None, "unasked": "the store is away"}, "PITR_STALE"),
        ({"waiting_bytes": (1 << 30) + 1}, "PITR_DISK"),
    ],
)
def test_each_trouble_is_one_finding(other, code):
    assert codes(**other) == [code]


@pytest.mark.parametrize(
    ("then", "running", "found"),
    [
        (1000.0, 1100.0, []),  # a machine that was asleep for hours, or whose clock was set
        (1000.0, 1301.0, ["PITR_STOPPED"]),
        (90_000.0, 40.0, []),  # it was off
        (90_000.0, 301.0, ["PITR_STOPPED"]),
    ],
)
def test_nobody_has_looked_counts_while_the_machine_runs(monkeypatch, then, running, found):
    monkeypatch.setattr(archiving.time, "monotonic", lambda: running)
    for at in (ago(hours=6), ago(hours=-6), ago(minutes=1)):
        assert codes(at=at, running=then) == found


def test_what_was_old_when_nothing_waits_any_more_is_nothing():
    assert codes(waiting=0, oldest_seconds=999.0) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(seen() | {"waiting": -1}),
        json.dumps(seen() | {"oldest_seconds": 1e99}),
        json.dumps(seen() | {"at": "yesterday"}),
        json.dumps(seen() | {"gaps": ["x" * 300]}),
        " " * (1 << 17),
    ],
)
def test_a_file_that_is_none_of_ours_is_a_finding(tmp_path, text):
    (tmp_path / "look.json").write_text(text)
    found, why = archiving.read(str(tmp_path / "look.json"))
    assert found is None
    assert [one["code"] for one in archiving.findings_of(SETTINGS, found, why, NOW)] == [
        "PITR_STOPPED"
    ]


def test_a_pipe_in_its_place_makes_nobody_wait(tmp_path):
    os.mkfifo(tmp_path / "look.json")
    assert archiving.read(str(tmp_path / "look.json"))[1]


def test_one_that_nobody_can_have_written_yet_is_nothing_to_be_woken_for(tmp_path):
    nowhere = archiving.read(str(tmp_path / "none" / "look.json"))
    assert archiving.findings_of(SETTINGS, *nowhere, NOW) == []
    missing = archiving.read(str(tmp_path / "look.json"))
    assert len(archiving.findings_of(SETTINGS, *missing, NOW)) == 1


def test_what_was_written_is_read(tmp_path):
    (tmp_path / "look.json").write_text(json.dumps(seen()))
    assert archiving.read(str(tmp_path / "look.json")) == (seen(), "")


def test_without_it_nobody_looks():
    assert archiving.look(dataclasses.replace(SETTINGS, pitr=False)) == []


def test_a_file_of_an_earlier_version_is_read_and_a_newer_one_says_more(tmp_path):
    path = tmp_path / "look.json"
    path.write_text(json.dumps(seen()))
    earlier, why = archiving.read(str(path))
    assert (why, len(archiving.lines(earlier))) == ("", 1)
    path.write_text(json.dumps(seen(first_at=ago(days=13), backups=14, stored_bytes=5 << 30)))
    now, _ = archiving.read(str(path))
    assert archiving.lines(now)[1] == (
        f"every second: kept from {ago(days=13)} on, by 14 backups of the cluster; with the log "
        "5.4 GB in the bucket"
    )


def test_the_archive_is_paid_for():
    priced = dataclasses.replace(SETTINGS, price_gb_month=0.02)
    nothing = costs.estimate(priced, [])
    more = archiving.with_archive(nothing, priced, seen(stored_bytes=10**9))
    assert more["storage_bytes"] - nothing["storage_bytes"] == 10**9
    assert more["storage_month"] == pytest.approx(0.02)
    assert archiving.with_archive(nothing, priced, None) == nothing


def drilled(passed: bool = True, **age: float) -> dict[str, object]:
    return {"drill": {"at": ago(**age), "passed": passed, "seconds": 9.0, "said": "what it saw"}}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (drilled(days=3), []),
        (drilled(passed=False, days=3), ["PITR_DRILL"]),
        (drilled(days=36), ["PITR_DRILL"]),
        ({"first_at": ago(days=36)}, ["PITR_DRILL"]),  # none since it is kept
        ({"first_at": ago(days=34)}, []),
        ({**drilled(days=3), "first_at": ago(days=90)}, []),
    ],
)
def test_a_drill_that_failed_or_is_overdue_is_found(other, found):
    assert codes(**other) == found


def test_nobody_is_told_of_an_overdue_one_who_does_not_want_to_be():
    still = dataclasses.replace(SETTINGS, drill_max_days=0)
    wrong = archiving.findings_of(still, seen(first_at=ago(days=99)), "", NOW)
    assert wrong == []


def test_how_the_last_drill_ended_is_told():
    last = archiving.lines(seen(**drilled(passed=False, days=3)))[-1]
    assert last == f"every second: last drill {ago(days=3)}: FAILED, 9.0 s; what it saw"


@pytest.mark.parametrize(
    ("ready", "how"),
    [(True, "is kept"), (False, "is being made, or was left by what was broken off")],
)
def test_what_stands_beside_the_live_one_is_told_until_it_is_removed(ready, how):
    beside = {"at": ago(days=3), "target": "a moment", "directory": "/x", "ready": ready}
    told = archiving.lines(seen(beside=beside))[-1]
    assert told.startswith(f"every second: the cluster as of a moment {how}, since {ago(days=3)}, ")
    assert told.endswith("playbooks/pitr_restore.yml -e remove=true")
    assert codes(beside=beside) == []
