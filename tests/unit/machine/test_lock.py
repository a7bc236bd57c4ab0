"""One run per server and database; the second one is told who is at work."""

import multiprocessing
import os
import signal

import pytest

from postgres_backup.errors import LockedError, UsageError
from postgres_backup.machine import lock
from postgres_backup.settings import Settings


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(
        "db1",
        ("crm", "a/b"),
        "crm",
        "https://s3.example.org",
        "bucket",
        "key",
        "secret",
        state_dir=str(tmp_path / "state"),
    )


def held_elsewhere(settings: Settings, database: str, ready, leave) -> None:
    with lock.hold(settings, database, "backup"):
        ready.set()
        leave.wait(30)


@pytest.fixture
def other(settings):
    """Another process that holds the lock of ``crm``."""
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=held_elsewhere, args=(settings, "crm", ready, leave))
    process.start()
    assert ready.wait(30)
    yield process
    leave.set()
    process.join(30)


def test_the_second_one_is_told_who_is_at_work(settings, other):
    with (
        pytest.raises(LockedError, match=rf"backup since .* UTC \(process {other.pid}\)"),
        lock.hold(settings, "crm", "prune"),
    ):
        pytest.fail("two hold the lock")
    with lock.hold(settings, "a/b", "prune"):
        """Another database is another lock."""


def test_a_process_that_is_killed_leaves_nothing_to_clean_up(settings, other):
    os.kill(other.pid, signal.SIGKILL)
    other.join(30)
    with lock.hold(settings, "crm", "prune"):
        pass
    with lock.hold(settings, "crm", "prune"):
        """Given back, and taken again."""


def test_a_place_that_cannot_be_written_is_named(settings, tmp_path):
    (tmp_path / "state").write_text("a file")
    with (
        pytest.raises(UsageError, match="STATE_DIR"),
        lock.hold(settings, "crm", "backup"),
    ):
        pytest.fail("there is no lock")
