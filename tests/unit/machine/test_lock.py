"""One run per server and database; the second one is told who is at work."""

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from postgres_backup.errors import LockedError
from postgres_backup.machine import lock
from postgres_backup.settings import Settings
from tests.damaged import CONTENTS, damage

HOLD = """
import os, sys
from postgres_backup.machine import lock
from postgres_backup.settings import Settings
settings = Settings(
    "db1", ("crm",), "crm", "https://s3.example.org", "bucket", "key", "x", state_dir=sys.argv[1]
)
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
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
def start(settings):
    """``start(*arguments)``: another process that holds the lock of ``crm``."""
    started = []

    def hold(*arguments: str, folder: str = settings.state_dir) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, folder, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def other(start):
    return start()


def is_locked(settings: Settings, match: str = "Another run holds the lock of crm") -> None:
    with pytest.raises(LockedError, match=match), lock.hold(settings, "crm", "prune"):
        pytest.fail("two hold the lock")


def is_free(settings: Settings) -> None:
    for _ in range(2):
        with lock.hold(settings, "crm", "prune"):
            """Free, given back, and free again."""


def file_of(settings: Settings) -> Path:
    return Path(settings.state_dir, "db1.crm.lock")


def test_the_second_one_is_told_who_is_at_work(settings, other):
    is_locked(settings, rf"backup since .* UTC \(process {other.pid}\)")
    with lock.hold(settings, "a/b", "prune"):
        """Another database is another lock."""
    elsewhere = dataclasses.replace(settings, state_dir=f"{settings.state_dir}-2")
    is_free(elsewhere)


def test_a_process_that_is_killed_leaves_nothing_to_clean_up(settings, other):
    other.kill()
    other.wait(30)
    is_free(settings)


@pytest.mark.parametrize(
    "text", ["", "garbage", "\0" * 64, "{}", "[1]", '{"pid": 1}', '{"open": null}']
)
def test_whatever_the_file_says_the_second_one_is_told(settings, other, text):
    file_of(settings).write_text(text)
    is_locked(settings)
    other.kill()
    other.wait(30)
    is_free(settings)


@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_lies_in_its_place_the_lock_holds(settings, start, content):
    damage(settings, "db1.crm.lock", content)
    process = start()
    is_locked(settings, str(process.pid))
    damage(settings, "db1.crm.lock", content)
    is_locked(settings, str(process.pid))
    process.kill()
    process.wait(30)
    is_free(settings)


def test_it_holds_without_a_state(settings, start):
    Path(settings.state_dir).write_text("a file")
    process = start()
    is_locked(settings, f"process {process.pid}")
    process.kill()
    process.wait(30)
    is_free(settings)


def test_it_holds_between_a_run_with_the_state_and_one_without(settings, other):
    """The disk was mounted anew, or somebody moved the folder."""
    os.rename(settings.state_dir, f"{settings.state_dir}-away")
    is_locked(settings, f"process {other.pid}")
    assert file_of(settings).exists(), "a new one, which tells the third the same"
    is_locked(settings, f"process {other.pid}")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
def test_it_holds_between_root_and_the_owner_of_the_state(settings, start):
    # the folders of pytest are closed to others
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        settings = dataclasses.replace(settings, state_dir=f"{folder}/state")
        os.mkdir(settings.state_dir)
        os.chown(settings.state_dir, 12345, 12345)
        process = start("12345", folder=settings.state_dir)
        assert file_of(settings).stat().st_uid == 12345
        is_locked(settings, rf"process {process.pid}")
        file_of(settings).unlink()
        is_locked(settings, rf"process {process.pid}")


def test_a_stranger_who_takes_the_name_keeps_nobody_from_a_backup(settings, monkeypatch):
    taken = []

    class Spy(socket.socket):
        def bind(self, address):
            super().bind(address)
            taken.append(address)

    with monkeypatch.context() as patched:
        patched.setattr(lock.socket, "socket", Spy)
        is_free(settings)
    with socket.socket(socket.AF_UNIX) as stranger:
        monkeypatch.setattr(lock, "_PATIENCE", 0.1)
        stranger.bind(taken[0])  # and does not listen
        is_free(settings)
        stranger.listen()
        is_locked(settings)
        if os.geteuid() == 0:
            # as if it were another user's: neither ours, nor root's, nor the owner's of the state
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
            monkeypatch.setattr(lock, "_OURS", frozenset())
            os.chown(settings.state_dir, 12345, 12345)
            is_free(settings)
