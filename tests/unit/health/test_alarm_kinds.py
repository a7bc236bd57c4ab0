"""Which alarm explains another, and that each says enough to act on."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone

import pytest

from postgres_backup.health.alarm_kinds import TITLES, Alarm, explains, key, message
from postgres_backup.settings import Settings

SETTINGS = Settings("db1", ("crm", "shop"), "u", "https://s3.example.org", "bucket", "k", "secret")
NOW = datetime(2026, 1, 27, 9, 0, tzinfo=timezone.utc)


def kept(code: str, database: str = "crm", **more: str) -> dict:
    words = {"message": "why", "hint": "", "cause": "", "since": "2026-01-27T01:00:00Z"}
    return {"code": code, "database": database, "told": {}} | words | more


@pytest.mark.parametrize(
    ("known", "other", "expected"),
    [
        (kept("BACKUP_FAILED"), kept("BACKUP_STALE"), True),
        (kept("BACKUP_STALE"), kept("BACKUP_FAILED"), False),
        (kept("BACKUP_FAILED"), kept("BACKUP_STALE", "shop"), False),
        (kept("NIGHT_SKIPPED", ""), kept("BACKUP_STALE", "shop"), True),
        (kept("STORE_FAILS", "", cause="store"), kept("PRUNE_FAILED", cause="store"), True),
        (kept("PRUNE_FAILED", cause="store"), kept("BACKUP_FAILED", cause="store"), False),
        (kept("STORE_FAILS", "", cause="store"), kept("PRUNE_FAILED", cause="clock"), False),
    ],
)
def test_what_explains_what(known, other, expected):
    assert explains(known, other) is expected


@pytest.mark.parametrize("code", TITLES)
def test_a_message_says_where_what_why_what_is_left_and_what_to_do(code):
    good = {"crm": {"backup": "postgres-backup-x.sql.gz", "taken_at": "2026-01-27T00:00:00Z"}}
    headline, text = message(SETTINGS, kept(code, hint="type this"), good, NOW)
    assert headline == f"db1: {TITLES[code].format(database='crm')}"
    assert text.startswith("Server: db1\nWhy: why\n")
    assert "Last good backup of crm: postgres-backup-x.sql.gz, 9.0 h old" in text
    assert "What to do: type this" in text


def test_the_end_of_an_alarm_says_when_it_began_and_asks_for_nothing():
    headline, text = message(SETTINGS, kept("CLOCK_OFF", "", ended="2026-01-27T08:00:00Z"), {}, NOW)
    assert headline == "db1: over: the clock is wrong"
    assert "Over since 2026-01-27T08:00:00Z; it began 2026-01-27T01:00:00Z: why" in text
    assert text.count("none is known here") == 2  # one line for each database
    assert "What to do" not in text


def test_secrets_stay_out_and_a_key_tells_alarms_apart():
    headline, text = message(SETTINGS, kept("KIT_FAILED", "", message="with secret"), {}, NOW)
    assert "secret" not in headline + text
    assert Alarm("BACKUP_BAD", "crm", "x").key == key("BACKUP_BAD", "crm") != key("BACKUP_BAD")


def test_whom_to_call_stands_in_an_alarm_and_not_in_its_end():
    settings = dataclasses.replace(SETTINGS, contact="Aigul, +7 700 000 00 00")
    _, text = message(settings, kept("BACKUP_FAILED"), {}, NOW)
    assert text.endswith("\nWhom to call: Aigul, +7 700 000 00 00")
    assert "Whom to call" not in message(SETTINGS, kept("BACKUP_FAILED"), {}, NOW)[1]
    ended = kept("BACKUP_FAILED", ended="2026-01-27T08:00:00Z")
    assert "Whom to call" not in message(settings, ended, {}, NOW)[1]
