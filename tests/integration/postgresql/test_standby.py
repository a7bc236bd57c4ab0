"""A real hot standby: backups are taken from it, and nothing is promised that cannot be made on
it.
"""

from __future__ import annotations

import json
import threading
import time

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.errors import DatabaseError, StandbyError
from postgres_backup.health.status import status
from postgres_backup.job import Job
from postgres_backup.postgresql.pg_dump import Dump
from postgres_backup.restore.database import restore_database, undo_restore
from postgres_backup.restore.tables import restore_tables
from tests.conftest import Database
from tests.integration import engine
from tests.services.brief import BriefPostgresServer
from tests.services.standby import Standby
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A primary with a database ``crm``, and its standby, which waits for nobody."""
    primary = BriefPostgresServer(tmp_path_factory.mktemp("primary"), 16)
    with primary:
        primary.execute("CREATE DATABASE crm")
        primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i", "crm")
        primary.execute("CREATE UNLOGGED TABLE cache AS SELECT 1 AS i", "crm")
        # as after a restore
        standby = Standby(tmp_path_factory.mktemp("standby"), primary)
        standby.settings["max_standby_streaming_delay"] = "0"
        with standby:
            yield primary, standby


@pytest.fixture
def config(pair, new_config, s3, bucket):
    """Of the standby."""
    standby = pair[1]
    wait_for("the standby has caught up", standby.catch_up)
    made = Database(standby, "crm", standby.superuser, standby.password, "")
    return new_config(made, s3, bucket)


def test_a_backup_of_it_is_good_and_a_restore_to_it_is_refused_beforehand(pair, config):
    primary, standby = pair
    job = Job(config.settings)
    taken = create_backup(job)
    assert taken["rows"] == 1000
    [left] = [f for f in taken["findings"] if f["code"] == "UNLOGGED_LEFT_OUT"]
    assert "cache" in left["message"]
    seen = status(config.settings)
    assert seen["healthy"]
    assert seen["databases"]["crm"]["last"]["backup"] == taken["backup"]
    pruned = prune_backups(job)
    assert [line["backup"] for line in pruned["kept"]] == [taken["backup"]]

    for words in (
        ("restore", "latest", "--check"),
        ("restore", "latest"),
        ("restore", "latest", "--tables", "t"),
        ("undo-restore",),
        ("undo-restore", "--check"),
    ):
        done = engine.run(config.path, *words)
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert "is a standby" in done.stderr
        assert "Do it on the primary (backup_db_host" in done.stderr
    seen = json.loads(engine.run(config.path, "status", "--json").stdout)
    assert seen["alarms"] == [], "nothing failed: it was refused"

    # what it was taken of is restored where it can be
    config.change(DB_PORT=primary.port)
    assert restore_database(Job(config.settings), taken["backup"])["rows"] == 1000
    assert primary.execute("SELECT count(*) FROM t", "crm") == [(1000,)]
    # and is seen on the standby, whose prune leaves it to the primary
    wait_for("the standby has caught up", standby.catch_up)
    config.change(DB_PORT=standby.port)
    [kept] = prune_backups(Job(config.settings))["replaced_kept"]
    assert kept["reason"] == "this server is a standby: its primary keeps and drops it"
    config.change(DB_PORT=primary.port)
    undo_restore(Job(config.settings))


def test_each_way_back_is_refused_as_wrong_usage(pair, config):
    job = Job(config.settings)
    name = create_backup(job)["backup"]
    for way in (
        lambda: restore_database(job, name),
        lambda: restore_database(job, name, in_place_wanted=True),
        lambda: restore_tables(job, name, ["t"]),
        lambda: undo_restore(job),
    ):
        with pytest.raises(StandbyError) as caught:
            way()
        assert not caught.value.passes


def test_what_its_primary_did_is_told_by_name_and_may_pass(pair, config, monkeypatch):
    """The dump reads a table whose lock the primary takes meanwhile."""
    primary, standby = pair
    told = threading.Event()
    chunks = Dump.chunks

    def slowly(self):
        for chunk in chunks(self):
            if not told.is_set():
                told.set()
                primary.execute("DROP TABLE IF EXISTS later", "crm")
            elif not standby.catch_up():
                # a session that waits to be read hears of nothing: so it is read, but slowly
                time.sleep(0.05)
            yield chunk

    rows = "INSERT INTO later SELECT repeat(n::text, 300), n FROM generate_series(1, 100000) n"
    primary.execute("CREATE TABLE later (x text, i int)", "crm")
    primary.execute(rows, "crm")
    wait_for("the standby has caught up", standby.catch_up)
    monkeypatch.setattr(Dump, "chunks", slowly)
    with pytest.raises(DatabaseError) as caught:
        create_backup(Job(config.settings))
    assert told.is_set()
    assert caught.value.passes
    assert "max_standby_streaming_delay" in caught.value.hint
