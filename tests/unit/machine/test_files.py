"""A file is replaced whole or not at all, and a failure leaves nothing beside it."""

import fcntl
import os
import stat

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.machine.files import (
    create_file,
    held,
    read_bounded,
    replace_file,
    sweep_halves,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    return path


def names(file) -> list[str]:
    return sorted(os.listdir(file.parent))


def test_the_new_content_is_there_and_nothing_beside_it(file):
    replace_file(str(file), b"new")
    assert file.read_bytes() == b"new"
    assert names(file) == ["state.json"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(file, umask):
    before = os.umask(umask)
    try:
        replace_file(str(file), b"new", mode=0o644)
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        replace_file(str(file), b"new")
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_content_and_nothing_beside_it(file, step, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(str(file), b"new", sync=True)
    assert file.read_bytes() == b"old"
    assert names(file) == ["state.json"]


def test_it_is_on_the_disk_before_it_takes_the_place(file, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(("fsync", file.read_bytes())))
    replace_file(str(file), b"new", sync=True)
    assert done == [("fsync", b"old")]


def test_a_link_that_somebody_laid_out_is_not_followed(file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    os.symlink(victim, f"{file}.{os.getpid()}")
    replace_file(str(file), b"new")
    assert (file.read_bytes(), victim.read_bytes()) == (b"new", b"untouched")
    assert not file.is_symlink()


def test_what_the_killed_have_left_is_swept_and_nothing_else(file):
    dead = 2**22 + 1  # Linux gives out no such id (proc(5), pid_max)
    kept = [f"state.json.{os.getpid()}", "state.json.bak", f"other.json.{dead}"]
    for name in [*kept, f"state.json.{dead}"]:
        (file.parent / name).write_bytes(b"half")
    sweep_halves(str(file))
    assert names(file) == sorted([*kept, "state.json"])


def test_a_file_is_made_where_there_is_none_and_no_other_is_touched(file):
    made = file.with_name("made")
    assert create_file(str(made), b"ours", 0o640)
    assert (made.read_bytes(), stat.S_IMODE(made.stat().st_mode)) == (b"ours", 0o640)
    assert not create_file(str(file), b"ours", 0o600)
    assert file.read_bytes() == b"old"
    link = file.with_name("link")
    link.symlink_to("nowhere")
    assert not create_file(str(link), b"ours", 0o600)
    assert names(file) == ["link", "made", "state.json"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_file_that_cannot_be_made_is_not_there_and_nothing_beside_it(file, step, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        create_file(f"{file}.new", b"new", 0o600)
    assert names(file) == ["state.json"]


def test_it_is_whole_and_on_the_disk_before_it_has_its_name(file, monkeypatch):
    path, done = f"{file}.new", []
    real = os.fsync

    def fsync(handle):
        there = os.path.exists(path)
        done.append((stat.S_ISREG(os.fstat(handle).st_mode), os.fstat(handle).st_size > 2, there))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    create_file(path, b"new", 0o600)
    assert done[0] == (True, True, False)
    assert done[1][::2] == (False, True)  # and then the folder


def test_who_waited_while_a_file_was_replaced_holds_the_new_one(file, monkeypatch):
    real, calls = fcntl.flock, []

    def flock(handle, how):
        if not calls:
            replace_file(str(file), b"new")
        calls.append(how)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(str(file)) as owner, open(file, "rb") as other:
        assert owner == os.geteuid()
        with pytest.raises(BlockingIOError):
            real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(calls) == 2
    with open(file, "rb") as other:
        real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is let go of


def test_what_is_no_file_or_too_long_is_not_read(file, tmp_path):
    file.chmod(0o640)
    assert read_bounded(str(file), 3) == (b"old", 0o640)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, limit in ((file, 2), (tmp_path, 9), (pipe, 9)):
        with pytest.raises(UsageError, match="it is no file, or longer than"):
            read_bounded(str(path), limit)
