"""The page is written, and what it says is said."""

from __future__ import annotations

import json
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest

from bench import fleet
from postgres_backup.errors import UsageError
from postgres_backup.page import report

TEMPLATE = str(Path(__file__).resolve().parents[3] / "playbooks/templates/report.html.j2")


def answers() -> list[dict]:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    well = fleet.server("well", 1, now, name="db1")
    return [
        {"name": "db1", "facts": json.dumps(well["facts"]), "error": None},
        {"name": "db2", "facts": "no JSON", "error": None},
    ]


@pytest.mark.parametrize("check", [False, True])
def test_one_file_that_only_its_owner_may_read(tmp_path, check):
    place = tmp_path / "report.html"
    made = report.write_report(answers(), TEMPLATE, str(place), check=check)
    assert made["verdict"] == "1 of 2 servers needs you: db2 (could not be asked)"
    assert [(one["name"], one["state"]) for one in made["states"]] == [
        ("db2", "unasked"), ("db1", "well"),
    ]  # fmt: skip
    assert made["states"][0]["why"] == ["its answer cannot be read"]
    assert place.exists() is not check
    if not check:
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert made["bytes"] == place.stat().st_size
    assert report.lines(made, check)[0] == made["verdict"]


def test_a_template_or_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="template"):
        report.write_report([], str(tmp_path / "gone.j2"), str(tmp_path / "x"))
    with pytest.raises(UsageError, match="Failed to write"):
        report.write_report([], TEMPLATE, str(tmp_path / "gone/report.html"))
