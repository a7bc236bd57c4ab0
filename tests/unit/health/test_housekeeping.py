"""Housekeeping that the store goes on refusing: counted backup by backup, and told once."""

from __future__ import annotations

import json

import pytest

from postgres_backup.findings import finding
from postgres_backup.health import alarms, housekeeping
from postgres_backup.settings import Settings

SWEEP = finding("UPLOADS_NOT_SWEPT", "the store does not allow it")
CLAIM = finding("NAME_NOT_CLAIMED", "the store does not allow it either")


@pytest.fixture
def settings(tmp_path):
    return Settings(
        server_name="db1",
        databases=("crm", "web"),
        db_user="crm",
        s3_endpoint_url="http://127.0.0.1:9",
        s3_bucket="backups",
        s3_access_key="key",
        s3_secret_key="not-a-secret",
        state_dir=str(tmp_path),
    )


def open_now(settings) -> list[tuple[str, str]]:
    return [(alarm["database"], alarm["message"]) for alarm in alarms.open_alarms(settings)]


def test_three_in_a_row_are_an_alarm_and_one_without_ends_it(settings):
    for told in ([SWEEP], [SWEEP, CLAIM]):
        assert housekeeping.note(settings, "crm", told) == []
    assert open_now(settings) == []
    housekeeping.note(settings, "crm", [CLAIM, SWEEP])
    wanted = "UPLOADS_NOT_SWEPT in 3 backups in a row: the store does not allow it"
    assert open_now(settings) == [("crm", wanted)]
    housekeeping.note(settings, "crm", [SWEEP])
    assert "in 4 backups in a row" in open_now(settings)[0][1]
    housekeeping.note(settings, "crm", [CLAIM])
    assert open_now(settings) == []


def test_each_database_counts_for_itself_and_so_does_the_kit(settings):
    for database in ("crm", "web", ""):
        housekeeping.note(settings, database, [SWEEP])
    assert open_now(settings) == []
    for _ in range(2):
        housekeeping.note(settings, "", [SWEEP])
    assert [database for database, _ in open_now(settings)] == [""]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("HEAD_REFUSED", "it was read instead"),
        ("LEFTOVERS", "removed what a run that did not end had left"),
    ],
)
def test_other_findings_are_no_housekeeping(settings, code, message):
    """Nor is what three nights that were killed one after the other have left, and is gone."""
    for _ in range(4):
        housekeeping.note(settings, "crm", [finding(code, message)])
    assert open_now(settings) == []


@pytest.mark.parametrize(
    "kept",
    [{"crm": None}, {"crm": ["x"]}, {"crm": {"UPLOADS_NOT_SWEPT": "two"}}, {"crm": {"x": 9}}],
)
def test_what_the_state_holds_is_a_hint(settings, tmp_path, kept):
    (tmp_path / "housekeeping.json").write_text(json.dumps(kept))
    for number in range(3):
        told = housekeeping.note(settings, "crm", [SWEEP])
        damaged = number == 0 and kept != {"crm": {"x": 9}}
        assert [one["code"] for one in told] == ["STATE_DAMAGED"] * damaged
    assert len(open_now(settings)) == 1


def test_without_a_state_nothing_fails(settings, tmp_path):
    (tmp_path / "housekeeping.json").mkdir()
    [found] = housekeeping.note(settings, "crm", [SWEEP])
    assert found["code"] == "STATE_DAMAGED"
