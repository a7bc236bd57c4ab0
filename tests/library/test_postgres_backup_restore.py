"""Restore, and undo it, through the modules."""

from __future__ import annotations

NAME, UNDO = "postgres_backup_restore", "postgres_backup_undo_restore"


def databases(server):
    return {name for (name,) in server.execute("SELECT datname FROM pg_database")}


def test_check_mode_then_restore_then_undo(run_module, says_what_it_returns, config, filled):
    made = run_module("postgres_backup_create", config=config.path)
    filled.execute("DELETE FROM users WHERE id > 10")
    before = databases(filled.server)

    plan = run_module(NAME, check=True, config=config.path, backup="latest")
    says_what_it_returns(NAME, plan, check=True)
    assert plan["changed"]
    assert plan["backup"] == made["backup"]
    assert databases(filled.server) == before
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]

    done = run_module(NAME, config=config.path, backup=made["backup"])
    says_what_it_returns(NAME, done)
    assert done["rows"] == 1000
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]
    assert databases(filled.server) == before | {done["kept_database"]}
    assert filled.execute("SELECT count(*) FROM users", done["kept_database"]) == [(10,)]

    would_undo = run_module(UNDO, check=True, config=config.path)
    says_what_it_returns(UNDO, would_undo, check=True)
    assert would_undo["restored_database"] == done["kept_database"]
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]

    undone = run_module(UNDO, config=config.path)
    says_what_it_returns(UNDO, undone)
    assert undone["restored_database"] == done["kept_database"]
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]


def test_a_name_that_does_not_exist_names_the_nearest(run_module, config, filled):
    made = run_module("postgres_backup_create", config=config.path)
    answer = run_module(NAME, config=config.path, backup="postgres-backup-2020-01-01_00-00-00.sql.gz")
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert made["backup"] in answer["msg"]


def test_nothing_to_undo(run_module, config, filled):
    answer = run_module(UNDO, config=config.path)
    assert answer["failed"]
    assert "Nothing to undo" in answer["msg"]
