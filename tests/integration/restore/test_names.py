"""Databases with names that nobody should have given them, and everybody has one."""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_restore
from postgres_backup.restore.tables import restore_tables
from postgres_backup.verify.verify import verify_backup

NAMES = [
    "My-Shop DB",
    "база данных",
    "it's",
    'a"b',
    "100%",
    "x=y",
    "postgresql://x",
    "a/b",
    "$HOME",
    "a\\b",
    "ИмяБазыДлиннееНекудаИмяБазыДлин",  # 62 bytes: a kept database's name is cut
    "UPPER",
    "-dash",
]


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_and_undone(name, new_database, new_config, s3, bucket):
    made = new_database(name=name)
    made.execute("CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)")
    made.execute(f'ALTER TABLE t OWNER TO "{made.owner}"')
    config = new_config(made, s3, bucket)
    taken = create_backup(Job(config.settings))
    assert (taken["database"], verify_backup(Job(config.settings), "latest")["rows"]) == (name, 1)
    made.execute("INSERT INTO t VALUES (2)")
    restored = restore_database(Job(config.settings), "latest")
    assert (restored["rows"], made.execute("SELECT i FROM t")) == (1, [(1,)])
    undone = undo_restore(Job(config.settings))
    assert undone["restored_database"] == restored["kept_database"]
    assert made.execute("SELECT i FROM t ORDER BY i") == [(1,), (2,)]
    repaired = restore_tables(Job(config.settings), "latest", ["t"])
    assert (repaired["tables"][0]["deleted"], made.execute("SELECT i FROM t")) == (1, [(1,)])
