"""What a rebuild would take, from what was measured."""

from __future__ import annotations

import re
from pathlib import Path

from postgres_backup.drill import estimate
from postgres_backup.findings import CODES

DAY = "2026-01-27T00:00:00Z"


def known(dump_bytes: int, seconds: int = 10) -> dict:
    ended = f"2026-01-27T00:00:{seconds:02d}Z"
    return {"dump_bytes": dump_bytes, "started_at": DAY, "ended_at": ended}


def test_all_of_it_measured():
    phases = {"program": 20.0, "server": 30.0, "restore": 50.0, "files": 7.0, "backup": 9.0}
    whole = estimate.rebuild(
        ["crm", "shop"],
        {"crm": known(200), "shop": known(100)},
        {
            "crm": {"seconds": 50.0, "dump_bytes": 100},
            "shop": {"seconds": 60.0, "dump_bytes": 100},
            estimate.KIT: {"seconds": 3.0, "dump_bytes": 0},
        },
        {"phases": phases},
        has_kit=True,
    )
    # crm has grown to twice the size since; what the rebuild itself restored and saved is not its
    # installing, which has read the kit; each backup is taken and read
    parts = {"installing": 57.0, "restores": 160.0, "backup": 40.0, "kit": 0.0}
    assert whole == {"seconds": 257.0, "parts": parts, "assumed": [], "rehearsed": None}


def test_of_small_databases_a_rehearsal_knows_better():
    phases = {"program": 20.0, "restore": 15.0, "backup": 9.0}
    one = {"crm": {"seconds": 1.0, "dump_bytes": 100}}
    newest = {"crm": known(100, 1), "shop": known(100, 1)}
    whole = estimate.rebuild(["crm", "shop"], newest, one, {"phases": phases}, has_kit=False)
    assert whole["parts"] == {"installing": 20.0, "restores": 15.0, "backup": 9.0}
    assert whole["assumed"] == []


def test_a_kit_that_has_grown_since_the_rehearsal():
    times = {
        "crm": {"seconds": 50.0, "dump_bytes": 100},
        estimate.KIT: {"seconds": 8.0, "dump_bytes": 0},
    }
    rehearsed = {"phases": {"bucket": 4.0, "files": 5.0}, "seconds": 70.0, "host": "spare"}
    whole = estimate.rebuild(["crm"], {"crm": known(100, 0)}, times, rehearsed, has_kit=True)
    assert whole["parts"] == {"installing": 9.0, "restores": 50.0, "backup": 0.0, "kit": 7.0}
    assert estimate.told(50.0, whole) == (
        "a restore takes about 50.0 s, a whole rebuild 1 min 06 s (rehearsed: 1 min 10 s)"
    )


def test_what_nobody_has_measured_is_assumed_and_said():
    whole = estimate.rebuild(
        ["crm", "shop", "new"],
        {"crm": known(100), "shop": known(300), "new": None},
        {"crm": {"seconds": 50.0, "dump_bytes": 100}},
        {},
        has_kit=True,
    )
    assert whole["parts"] == {
        "installing": estimate.INSTALLING,
        "restores": 200.0,
        "backup": 40.0,
        "kit": 0.0,
    }
    assert whole["assumed"] == ["installing", "restores of shop", "restores of new", "kit"]
    assert "(installing, restores of shop" in estimate.told(50.0, whole)
    assert "KIT_LACKS" in CODES


def test_of_nothing_it_is_no_division_by_nothing():
    one = {"crm": {"seconds": 1.0, "dump_bytes": 0}}
    whole = estimate.rebuild(["crm"], {"crm": None}, one, {}, has_kit=False)
    assert whole["seconds"] == estimate.INSTALLING + 1
    assert estimate.told(1.0, None) == "a restore takes about 1.0 s"


def test_the_rehearsal_of_the_documents_is_met_within_thirty_percent():
    """Its table has the seconds of each phase; what a drill would know are three of them."""
    text = (Path(__file__).parents[3] / "docs/DISASTERS.md").read_text()
    phases = {
        name: float(seconds)
        for name, seconds in re.findall(
            r"^\| rebuild: ([^|]+?) \| ([\d.]+) \|$", text, re.MULTILINE
        )
        if not name.startswith("total")
    }
    assert len(phases) == 11

    def of(word: str) -> float:
        [seconds] = [took for name, took in phases.items() if word in name]
        return seconds

    whole = estimate.rebuild(
        ["crm"],
        {"crm": known(100, 2)},
        {
            "crm": {"seconds": of("data restored"), "dump_bytes": 100},
            estimate.KIT: {"seconds": of("application's files") / 2, "dump_bytes": 0},
        },
        {},
        has_kit=True,
    )
    assert 0.7 < whole["seconds"] / sum(phases.values()) < 1.3
