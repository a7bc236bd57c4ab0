"""Before a restore it is said what is there now, and a backup of far less is refused unless it is
meant.
"""

from __future__ import annotations

import dataclasses

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.backups import Catalog
from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from postgres_backup.restore import database as restore
from postgres_backup.restore import live, row_counts, steps
from postgres_backup.restore.preflight import make_plan
from tests.integration import engine


@pytest.fixture
def grown(config, database):
    """A backup with 10 rows of users; since then there are 25, and a table of 2 rows."""
    database.execute("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 10) n")
    database.execute(f'ALTER TABLE users OWNER TO "{database.owner}"')
    config.change(RESTORE_MIN_PERCENT=50)
    taken = create_backup(Job(config.settings))
    database.execute("INSERT INTO users SELECT generate_series(11, 25)")
    database.execute("CREATE TABLE notes AS SELECT 'x' AS note FROM generate_series(1, 2)")
    database.execute(f'ALTER TABLE notes OWNER TO "{database.owner}"')
    return taken["backup"]


def rows(database) -> int:
    return database.execute("SELECT count(*) FROM users")[0][0]


@pytest.mark.parametrize("check", [True, False])
def test_a_backup_with_less_than_half_of_the_rows_is_refused_and_nothing_touched(
    config, database, grown, check
):
    with pytest.raises(UsageError) as refused:
        restore.restore_database(Job(config.settings, check=check), grown)
    error = refused.value
    assert error.message == (
        f"{grown} has 10 rows, {database.name} has 27 now: "
        "that is less than 50 percent (backup_restore_min_percent)"
    )
    assert "--smaller (Ansible: -e smaller=true)" in error.hint
    assert [found["code"] for found in error.findings] == ["BACKUP_SMALLER"]
    with pytest.raises(UsageError, match="less than 50 percent"):
        steps.perform_step(Job(config.settings, check=check), stage="load", backup=grown)
    assert rows(database) == 25


def test_said_that_it_is_meant_it_is_restored_and_what_is_gone_was_said_first(
    config, database, grown
):
    planned = engine.run(config.path, "restore", grown, "--smaller", "--check")
    assert planned.returncode == 0, planned.stderr
    assert f"old: 10 rows then, 27 in {database.name} now" in planned.stdout
    newer = "Rows that are newer, in the kept database alone afterwards: public.users 15, "
    assert f"{newer}public.notes 2\n" in planned.stdout
    assert "To take it back: ansible-playbook playbooks/undo_restore.yml" in planned.stdout
    refused = engine.run(config.path, "restore", grown)
    assert refused.returncode == 2
    done = engine.run(config.path, "restore", grown, "--smaller")
    assert done.returncode == 0, done.stderr
    assert "10 rows then, 27" in done.stderr, "before anything is done"
    assert rows(database) == 10


@pytest.mark.parametrize(("percent", "refused"), [(38, True), (37, False), (0, False)])
def test_the_percent_is_the_users(config, grown, percent, refused):
    settings = config.change(RESTORE_MIN_PERCENT=percent)
    plan = make_plan(Job(settings), grown)
    if refused:
        with pytest.raises(UsageError, match="less than 38 percent"):
            live.hold_against(Job(settings), plan)
    else:
        assert live.hold_against(Job(settings), plan)["live"]["now_rows"] == 27


def test_a_large_database_is_estimated_and_one_that_may_not_be_read_too(
    config, database, grown, monkeypatch
):
    job = Job(config.settings, smaller=True)
    plan = make_plan(job, grown)
    database.execute("ANALYZE")
    monkeypatch.setattr(live, "_COUNTED", 0)
    found = live.hold_against(job, plan)["live"]
    assert (found["now_rows"], found["exact"]) == (27, False)
    assert "about 27 in" in live.lines(database.name, {"live": found}, False)[0]
    monkeypatch.undo()
    database.execute("CREATE TABLE secret AS SELECT 1 AS x")
    assert live.hold_against(job, plan)["live"]["exact"] is False


def test_of_a_backup_without_a_manifest_the_bytes_are_held_against_those_of_the_tables(
    config, database, grown
):
    job = Job(config.settings)
    bare = dataclasses.replace(
        make_plan(job, grown),
        backup=dataclasses.replace(_backup(job, grown), described=None, read=None),
    )
    assert live.hold_against(job, bare)["live"]["then_rows"] is None, "too little to tell"
    database.execute(
        "CREATE TABLE pages AS SELECT repeat(md5(n::text), 30) AS page"
        " FROM generate_series(1, 12000) n"
    )
    with pytest.raises(UsageError, match=r"has \d+ B, the tables of .* have 1\d\.\d MB now"):
        live.hold_against(job, bare)


def _backup(job: Job, name: str):
    return Catalog(job.settings, job.store, job.database).resolve(name)


def test_a_locked_table_holds_no_restore_up(config, database, grown, monkeypatch):
    job = Job(config.settings, smaller=True)
    plan = make_plan(job, grown)
    database.execute("ANALYZE")
    impatient = "SET lock_timeout = '50ms'"
    monkeypatch.setattr(row_counts, "_IMPATIENT", impatient)
    with psycopg.connect(database.server.dsn(database.name)) as hung:
        hung.execute("LOCK TABLE users")
        found = live.hold_against(job, plan)["live"]
    assert (found["now_rows"], found["exact"]) == (27, False)


def test_where_there_is_no_database_nothing_is_compared(config, database, grown):
    job = Job(config.settings)
    plan = dataclasses.replace(make_plan(job, grown), live=None)
    assert live.hold_against(job, plan) == {}
    assert live.lines(database.name, {}, False) == []
