"""What a server remembers of its own runs is a hint: whatever lies in its place stops nothing."""

import dataclasses
import importlib
import json
import os
import pkgutil
import shutil
import threading
from pathlib import Path
from typing import TypedDict

import pytest

import postgres_backup
from postgres_backup.machine import counters, state
from postgres_backup.machine.damage import troubles
from postgres_backup.settings import Settings
from tests.damaged import CONTENTS, damage

for room in pkgutil.walk_packages(postgres_backup.__path__, "postgres_backup."):
    if not room.name.endswith("__main__"):
        importlib.import_module(room.name)
#: every file of the state, by its name
EVERY = dict(sorted(state.EVERY.items()))
OLD = Path(__file__).parents[2] / "fixtures/version_0_1_0/server/var/lib/postgres-backup"


class Noted(TypedDict, total=False):
    a: str
    second: bool
    first: bool


NOTED = state.Kept("noted.json", Noted)
DOWN = state.Kept("down.json", dict[str, int])


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(
        "db1",
        ("crm",),
        "crm",
        "https://s3.example.org",
        "bucket",
        "key",
        "secret",
        state_dir=str(tmp_path / "state"),
    )


def codes(findings) -> list[str]:
    return [one["code"] for one in findings]


def test_all_rooms_that_keep_something_are_known():
    assert set(EVERY) == {
        "adopted.json",
        "alarms.json",
        "application.json",
        "begun.json",
        "counters.json",
        "drill-times.json",
        "rebuilt.json",
        "housekeeping.json",
        "identity.json",
        "journal.json",
        "rotation.json",
        "settings.json",
        "settings-secret.json",
        "store-check.json",
        "drill.json",
        "drills-watched.json",
        "pitr-drill-noted.json",
        "last-drill.json",
        "last-look.json",
        "last-restore.json",
        "last-run.json",
        "last-scheduled.json",
        "ping.json",
        "search-path.json",
        "signed.json",
        "signed-missed.json",
        "signed-where.json",
        "second-store.json",
        "store-check-copy.json",
        "older-scripts.json",
        "look.json",
        "marks.json",
        "recovered.json",
    }


def test_what_was_written_is_read_and_what_was_not_is_empty(settings):
    assert state.read(settings, NOTED) == {}
    assert state.write(settings, NOTED, {"a": "2026-01-27"}) == []
    assert state.write(settings, NOTED, {"a": "2026-01-28"}) == []
    assert state.read(settings, NOTED) == {"a": "2026-01-28"}
    assert troubles(settings) == []


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.glob("*.json")))
def test_what_version_0_1_0_left_is_read(settings, name):
    shutil.copytree(OLD, settings.state_dir)
    findings = []
    assert state.read(settings, EVERY[name], findings) == json.loads((OLD / name).read_text())
    assert findings == []


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_lies_there_is_put_aside_told_once_and_counts_as_empty(settings, name, content):
    kept, path = EVERY[name], damage(settings, name, content)
    findings = []
    assert state.read(settings, kept, findings) == {}
    assert codes(findings) == ["STATE_DAMAGED"]
    assert str(path) in findings[0]["message"]
    assert os.path.lexists(f"{path}.damaged"), "it is kept for whoever wants to look"
    assert state.read(settings, kept, findings) == {}
    assert codes(findings) == ["STATE_DAMAGED"], "and told once"


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_remembered_takes_its_place(settings, name, content):
    kept = EVERY[name]
    for change in (False, True):
        path = damage(settings, name, content)
        findings = []
        if change:
            with state.changing(settings, kept, findings) as found:
                assert found == {}
            assert codes(findings) == ["STATE_DAMAGED"]
        else:
            findings += state.write(settings, kept, {})
            assert "STATE_NOT_WRITTEN" not in codes(findings)
        assert json.loads(path.read_text()) == {}
        shutil.rmtree(settings.state_dir)


def test_of_each_file_one_damaged_one_is_kept(settings):
    for text in ("[1]", "[2]", "[3]"):
        damage(settings, NOTED.name, "another shape").write_text(text)
        state.read(settings, NOTED)
    assert os.listdir(settings.state_dir) == ["noted.json.damaged"]
    assert Path(settings.state_dir, "noted.json.damaged").read_text() == "[3]"
    assert len(troubles(settings)) == 1, "the same words once"


def test_a_file_just_made_by_another_is_no_damage(settings):
    Path(state.directory(settings), NOTED.name).touch()
    findings = []
    assert state.read(settings, NOTED, findings) == {}
    assert findings == []


def test_what_is_written_at_this_moment_is_waited_for(settings):
    """A file that is read half while it is written is not put aside."""
    with state.changing(settings, NOTED) as found:
        Path(settings.state_dir, NOTED.name).write_bytes(b'{"a"')
        read = []
        thread = threading.Thread(target=lambda: read.append(state.read(settings, NOTED)))
        thread.start()
        thread.join(0.3)
        assert read == []
        found["a"] = "whole"
    thread.join(5)
    assert read == [{"a": "whole"}]
    assert troubles(settings) == []


def test_a_change_is_written_also_where_the_block_raised(settings):
    def change_and_fail():
        with state.changing(settings, NOTED) as found:
            found["a"] = "b" * 10_000
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        change_and_fail()
    assert state.read(settings, NOTED) == {"a": "b" * 10_000}
    with state.changing(settings, NOTED) as found:
        found["a"] = "b"
    assert state.read(settings, NOTED) == {"a": "b"}, "and a shorter one leaves no rest"


def test_any_letter_is_read_as_it_was_written(settings):
    """A message may quote bytes that are no letters."""
    state.write(settings, NOTED, {"a": "x\0\udcff"})
    assert state.read(settings, NOTED) == {"a": "x\0\udcff"}
    assert troubles(settings) == []


def test_who_changes_waits_for_who_is_changing(settings):
    begun = threading.Event()

    def work():
        begun.set()
        with state.changing(settings, NOTED) as found:
            found["second"] = "first" in found

    thread = threading.Thread(target=work)
    with state.changing(settings, NOTED) as found:
        thread.start()
        assert begun.wait(5)
        thread.join(0.3)
        found["first"] = True
    thread.join(5)
    assert state.read(settings, NOTED) == {"first": True, "second": True}


def test_many_count_at_once_and_nothing_is_lost(settings):
    def work():
        for _ in range(20):
            assert counters.failed(settings, "crm", "store") == []

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counters.failed(settings, "crm", "clock")
    counters.removed(settings, "crm", 3)
    assert state.read(settings, counters.COUNTERS) == {
        "failures": {"crm": {"store": 80, "clock": 1}},
        "pruned": {"crm": 3},
    }


def test_a_place_that_cannot_be_written_is_told_and_the_work_goes_on(settings, tmp_path):
    (tmp_path / "state").write_text("a file")
    (told,) = state.write(settings, DOWN, {})
    assert told["code"] == "STATE_NOT_WRITTEN"
    findings = []
    with state.changing(settings, DOWN, findings) as found:
        found["a"] = 1
    assert codes(findings) == ["STATE_NOT_WRITTEN"]
    assert str(tmp_path / "state") in findings[0]["message"]


def test_what_can_be_read_and_not_be_written_still_counts(settings, tmp_path):
    """A disk that was mounted read-only: an alarm that was told before is not told again."""
    state.write(settings, DOWN, {"a": 1})
    findings = []

    def change() -> None:
        with state.changing(settings, DOWN, findings) as found:
            assert found == {"a": 1}
            found["a"] = 2

    os.chmod(Path(settings.state_dir, DOWN.name), 0o400)
    os.chmod(settings.state_dir, 0o500)
    try:
        if not os.access(settings.state_dir, os.W_OK):  # root may
            change()
            assert codes(findings) == ["STATE_NOT_WRITTEN"]
            assert state.read(settings, DOWN, findings) == {"a": 1}
    finally:
        os.chmod(settings.state_dir, 0o700)
    findings.clear()
    if not os.access(Path(settings.state_dir, DOWN.name), os.W_OK):
        change()
        assert (findings, state.read(settings, DOWN)) == ([], {"a": 2}), "the folder is ours"


def test_a_folder_that_is_named_with_a_slash_at_its_end_is_the_same(settings):
    damage(settings, NOTED.name, "zeros")
    named = dataclasses.replace(settings, state_dir=f"{settings.state_dir}/")
    assert state.read(named, NOTED) == {}
    assert codes(troubles(named)) == codes(troubles(settings)) == ["STATE_DAMAGED"]
