"""The name of a run's sessions: the lock's and the run's."""

from __future__ import annotations

import re

from postgres_backup.machine import lock, run_mark
from postgres_backup.settings import Settings


def names(folder, server: str, database: str) -> tuple[str, str]:
    """Of a run: how it is called, and how those are that it may end."""
    where = ("https://s3.example.org", "bucket", "key", "x")
    settings = Settings(server, (database,), "crm", *where, state_dir=str(folder))
    with lock.hold(settings, database, "backup"):
        return run_mark.name(), run_mark.of_the_dead()


def test_it_is_the_lock_s_and_the_run_s(tmp_path):
    first, pattern = names(tmp_path / "a", "db1", "crm")
    again, _ = names(tmp_path / "a", "db1", "crm")
    assert re.search(pattern, again), "who held this lock before is dead"
    assert not re.search(pattern, first), "we ourselves are not"
    for folder, *whose in [("b", "db1", "crm"), ("a", "db2", "crm"), ("a", "db1", "shop")]:
        assert not re.search(pattern, names(tmp_path / folder, *whose)[0]), whose


def test_without_a_place_for_the_lock_s_file_it_is_the_state_s(tmp_path):
    """The lock is then a name of this machine's."""
    (tmp_path / "file").touch()
    first, pattern = names(tmp_path / "file/a", "db1", "crm")
    assert re.search(pattern, names(tmp_path / "file/a", "db1", "crm")[0])
    assert not re.search(pattern, first)
    assert not re.search(pattern, names(tmp_path / "file/b", "db1", "crm")[0])


def test_postgresql_keeps_all_of_it(tmp_path):
    """It cuts what is longer than 63 bytes, and the mark with it; and replaces other letters."""
    long, _ = names(tmp_path, "сервер" * 20, "база данных" * 9)
    assert long.isascii()
    assert len(long) <= 63


def test_where_no_lock_is_held_there_is_no_run():
    assert (run_mark.name(), run_mark.of_the_dead()) == ("postgres-backup", "")
