"""One run per server and database; the second one is told who is at work."""

import os
import subprocess
import sys

import pytest

from postgres_backup.errors import LockedError, UsageError
from postgres_backup.machine import lock
from postgres_backup.settings import Settings

HOLD = """
import sys
from postgres_backup.machine import lock
from postgres_backup.settings import Settings
settings = Settings(
    "db1", ("crm",), "crm", "https://s3.example.org", "bucket", "key", "x", state_dir=sys.argv[1]
)
with lock.hold(settings, "crm", "backup"):
    print("held", flush=True)
    sys.stdin.read()
"""


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


@pytest.fixture
def other(settings):
    """Another process that holds the lock of ``crm``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.state_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_one_is_told_who_is_at_work(settings, other):
    with (
        pytest.raises(LockedError, match=rf"backup since .* UTC \(process {other.pid}\)"),
        lock.hold(settings, "crm", "prune"),
    ):
        pytest.fail("two hold the lock")
    with lock.hold(settings, "a/b", "prune"):
        """Another database is another lock."""


def test_a_process_that_is_killed_leaves_nothing_to_clean_up(settings, other):
    other.kill()
    other.wait(30)
    for _ in range(2):
        with lock.hold(settings, "crm", "prune"):
            """Free, given back, and free again."""


def test_a_place_that_cannot_be_written_is_named(settings, tmp_path):
    (tmp_path / "state").write_text("a file")
    with (
        pytest.raises(UsageError, match="STATE_DIR"),
        lock.hold(settings, "crm", "backup"),
    ):
        pytest.fail("there is no lock")
