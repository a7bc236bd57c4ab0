"""What of a changed setting is told, and what never."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.health import outcome
from postgres_backup.machine import state
from postgres_backup.nightly import changes
from postgres_backup.settings import Settings

PASSWORD = "correct-horse"


@pytest.fixture
def settings(tmp_path) -> Settings:
    words = ("db1", ("crm",), "crm", "https://s3.example.org", "bucket", "key", "secret")
    return Settings(*words, db_password=PASSWORD, state_dir=str(tmp_path))


@pytest.fixture
def told(monkeypatch) -> list[dict]:
    events: list[dict] = []

    def tell(_settings, _database, event, facts):
        assert event == "settings"
        events.extend(facts["changes"])
        return []

    monkeypatch.setattr(outcome, "told", tell)
    return events


def test_a_new_server_has_nothing_to_tell_and_the_same_settings_neither(settings, told):
    for _ in range(2):
        assert changes.note(settings) == {"changed": False, "changes": [], "findings": []}
    assert told == []


def test_a_secret_is_only_another_and_is_not_remembered(settings, told, tmp_path):
    changes.note(settings)
    other = dataclasses.replace(settings, db_password="battery-staple", db_port=5433)
    assert changes.note(other, check=True)["changed"]
    assert told == []
    changes.note(other)
    assert told == [
        {"name": "DB_PORT", "before": "", "after": "5433"},
        {"name": "DB_PASSWORD", "before": "changed", "after": "changed"},
    ]
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "battery" not in kept
    assert PASSWORD not in kept
    assert changes.lines(changes.note(settings)) == [
        "Setting changed: DB_PORT: 5433 -> not set",
        "Setting changed: DB_PASSWORD: changed",
    ]


def test_a_server_that_remembered_no_secrets_does_not_say_that_all_have_changed(settings, told):
    changes.note(settings)
    state.write(settings, changes._SECRETS, {})
    assert not changes.note(settings)["changed"]
    assert changes.note(dataclasses.replace(settings, s3_secret_key="other"))["changed"]
    assert [one["name"] for one in told] == ["AWS_SECRET_ACCESS_KEY"]
