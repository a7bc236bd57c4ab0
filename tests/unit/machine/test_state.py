"""What a server remembers of its own runs."""

import threading

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.machine import state
from postgres_backup.settings import Settings


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


def test_what_was_written_is_read_and_what_was_not_is_empty(settings):
    assert state.read(settings, state.LAST_RUN) == {}
    state.write(settings, state.LAST_RUN, {"started_at": "2026-01-27T00:00:00Z"})
    state.write(settings, state.LAST_RUN, {"started_at": "2026-01-28T00:00:00Z"})
    assert state.read(settings, state.LAST_RUN) == {"started_at": "2026-01-28T00:00:00Z"}


@pytest.mark.parametrize("text", ["", '{"a": ', "[1]", "\0\0"])
def test_what_a_power_loss_cut_short_counts_as_empty(settings, tmp_path, text):
    state.directory(settings)
    (tmp_path / "state" / state.LAST_RUN).write_text(text)
    assert state.read(settings, state.LAST_RUN) == {}
    with state.changing(settings, state.LAST_RUN) as found:
        found["a"] = 1
    assert state.read(settings, state.LAST_RUN) == {"a": 1}


def test_a_change_is_written_also_where_the_block_raised(settings):
    def change_and_fail():
        with state.changing(settings, "x.json") as found:
            found["a"] = "b" * 10_000
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        change_and_fail()
    assert state.read(settings, "x.json") == {"a": "b" * 10_000}
    with state.changing(settings, "x.json") as found:
        found["a"] = "b"
    assert state.read(settings, "x.json") == {"a": "b"}, "and a shorter one leaves no rest"


def test_many_count_at_once_and_nothing_is_lost(settings):
    def work():
        for _ in range(20):
            assert state.count(settings, "failures", "crm", "store") == []

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.count(settings, "failures", "crm", "clock")
    state.count(settings, "pruned", "crm", number=3)
    assert state.read(settings, state.COUNTERS) == {
        "failures": {"crm": {"store": 80, "clock": 1}},
        "pruned": {"crm": 3},
    }


def test_a_place_that_cannot_be_written_is_named(settings, tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(UsageError, match="STATE_DIR"):
        state.write(settings, state.LAST_RUN, {})
    assert [one["code"] for one in state.count(settings, "pruned", "crm")] == ["STATE_NOT_WRITTEN"]
