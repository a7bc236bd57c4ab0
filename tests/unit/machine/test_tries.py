"""What is remembered of a night's tries is a hint: lost, damaged or written by a clock that was
ahead, it silences no night, and makes no second backup.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as looking
from hypothesis import strategies as st

from postgres_backup.machine import due, lock, schedule, tries
from postgres_backup.settings import Settings
from tests.properties import examples

PLANNED = datetime(2026, 1, 27, tzinfo=timezone.utc)
FILE = "last-scheduled.json"


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings(
        "db1",
        ("crm", "shop"),
        "crm",
        "https://s3.example.org",
        "bucket",
        "key",
        "secret",
        paths=("/etc/hosts",),
        state_dir=str(tmp_path_factory.mktemp("tries") / "state"),
    )


@pytest.fixture(autouse=True)
def _new_server(settings):
    shutil.rmtree(settings.state_dir, ignore_errors=True)


@pytest.fixture
def at(monkeypatch):
    """``at(minutes)``: the clock, from midnight on."""

    def move(minutes: float) -> datetime:
        now = PLANNED + timedelta(minutes=minutes)
        monkeypatch.setattr(schedule, "utc_now", lambda: now)
        return now

    return move


def keep(settings: Settings, text: str) -> None:
    folder = Path(settings.state_dir)
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(text)


def end(settings: Settings, passes: bool | None, now: datetime) -> due.Again:
    """The try that is under way ends, good (None), or bad for each database."""
    tried = tries.remembered(settings)
    again = due.Again(tried, tries.rules(settings), timedelta(hours=26), {})
    left = {}
    for part in [] if passes is None else ["crm", "shop"]:
        if again.decide(part, passes, now).at:
            left[part] = "backup"
    assert tries.end(settings, again, left, now) == []
    return again


def test_a_night_that_fails_is_tried_again_and_one_that_went_well_is_not(settings, at):
    at(-1)
    assert not schedule.begin(settings, "00:00")
    at(0)
    assert schedule.begin(settings, "00:00")
    first = tries.remembered(settings)
    assert first.left == {"crm": "backup", "shop": "backup", "": "kit"}
    assert (first.number, first.ended, first.next) == (1, False, PLANNED + due.PERIOD)
    end(settings, True, at(0.1))
    at(10)
    assert not schedule.begin(settings, "00:00")
    at(15)
    assert schedule.begin(settings, "00:00")
    second = tries.remembered(settings)
    assert (second.number, second.left) == (2, {"crm": "backup", "shop": "backup"})
    end(settings, None, at(16))
    for minutes in range(30, 24 * 60, 15):
        at(minutes)
        assert not schedule.begin(settings, "00:00")
    at(24 * 60)
    assert schedule.begin(settings, "00:00")
    assert tries.remembered(settings).number == 1


def test_what_cannot_pass_is_left_alone(settings, at):
    at(0)
    assert schedule.begin(settings, "00:00")
    end(settings, False, at(1))
    at(15)
    assert not schedule.begin(settings, "00:00")


def test_a_try_that_was_killed_is_made_again(settings, at):
    at(0)
    assert schedule.begin(settings, "00:00")
    at(15)
    with lock.hold(settings, schedule.NIGHT, "nightly run"):  # it is still at work
        assert not schedule.begin(settings, "00:00")
    assert schedule.begin(settings, "00:00")
    assert tries.remembered(settings).number == 2


def test_a_night_that_was_made_up_for_has_its_own_time(settings, at):
    """The server was off at midnight, and the store is away when it is up."""
    tried = tries.claim(settings, PLANNED, at(8 * 60 + 20))
    assert tried.begun == PLANNED + timedelta(hours=8, minutes=15)
    end(settings, True, at(8 * 60 + 21))
    assert tries.remembered(settings).next == PLANNED + timedelta(hours=8, minutes=45)


def test_the_state_of_0_1_0_is_a_night_that_was_begun(settings, at):
    keep(settings, json.dumps({"planned": PLANNED.isoformat()}))
    at(15)
    assert not schedule.begin(settings, "00:00")
    at(24 * 60)
    assert schedule.begin(settings, "00:00")


def test_what_has_left_the_settings_is_not_tried_again(settings, at):
    at(0)
    assert schedule.begin(settings, "00:00")
    end(settings, True, at(1))
    fewer = dataclasses.replace(settings, databases=("shop",))
    assert tries.remembered(fewer).left == {"shop": "backup"}


def test_what_the_journal_could_not_take_is_kept_for_later_and_not_for_ever(settings, at):
    at(0)
    assert schedule.begin(settings, "00:00")
    tried = tries.remembered(settings)
    for night in range(3):
        again = due.Again(tried, tries.rules(settings), timedelta(hours=26), {})
        again.unwritten += [{"event": "backup-failed", "n": [night, n]} for n in range(40)]
        tries.end(settings, again, {}, at(1))
    kept = tries.unwritten(settings)
    assert len(kept) == 100
    assert kept[-1]["n"] == [2, 39]
    tries.written(settings, kept[:99])
    assert tries.unwritten(settings) == kept[99:]
    at(24 * 60)
    assert schedule.begin(settings, "00:00")
    assert tries.unwritten(settings) == kept[99:]


# --- whatever is there ---

moments = st.integers(-2 * 24 * 60, 2 * 24 * 60).map(
    lambda minutes: f"{PLANNED + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
)
plausible = st.fixed_dictionaries(
    {
        "planned": st.just(PLANNED.isoformat())
        | st.just((PLANNED - timedelta(days=1)).isoformat())
        | st.just((PLANNED + timedelta(days=1)).isoformat()),
        "written": moments,
    },
    optional={
        "begun": moments,
        "next": moments | st.just(""),
        "tries": st.integers(-1, 9),
        "left": st.sampled_from(
            [{}, {"crm": "backup"}, {"": "kit"}, {"crm": "x"}, {"gone": "backup"}]
        ),
        "ended": st.booleans(),
        "asks": st.booleans(),
    },
)
nonsense = st.sampled_from(
    ["", "{", "[]", "null", "\0\0\0", '{"planned": 1}', '{"planned": "x"}', '{"planned": null}']
    + [json.dumps({"planned": PLANNED.isoformat(), "left": bad}) for bad in ([], 1, "x", [["a"]])]
    + [json.dumps({"planned": PLANNED.isoformat(), "tries": bad}) for bad in ("1", 1.5, True, [])]
    + [json.dumps({"planned": "2026-01-27T00:00:00"}), json.dumps({"planned": "9999-12-31"})]
)


@looking(max_examples=examples(15))
@given(kept=plausible.map(json.dumps) | nonsense)
def test_no_state_silences_a_night_or_makes_a_second_backup(settings, kept):
    """A whole day of cron's calls, over whatever lies in the state at its beginning."""
    keep(settings, kept)
    with pytest.MonkeyPatch.context() as patch:
        backups = []
        for minutes in range(0, 24 * 60, 15):
            now = PLANNED + timedelta(minutes=minutes, seconds=1)
            patch.setattr(schedule, "utc_now", lambda now=now: now)
            if not schedule.begin(settings, "00:00"):
                continue
            tried = tries.remembered(settings)
            left = tried.left
            if tried.asks or tried.number > 1:  # the bucket has been asked
                left = due.still_left(tried, {"crm": bool(backups), "shop": True})
            backups += [now] if left.get("crm") == "backup" else []
            end(settings, None, now)
    assert len(backups) == 1, kept
