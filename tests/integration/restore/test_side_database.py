"""A side database: filled, compared, and made live, or removed."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.manifest import TableRecord
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore import side_database
from postgres_backup.restore.preflight import make_plan
from tests.integration.restoring import databases_of, rows_of, run_sql


@pytest.fixture
def shop(database, config):
    """A backed-up database, damaged since."""
    run_sql(
        database.server,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 100) n",
        "CREATE TABLE sold (id int)",
        owner=database.owner,
    )
    taken = create_backup(Job(config.settings))
    database.execute("DELETE FROM goods WHERE id > 10")
    return database, taken


def test_it_is_filled_and_swapped_in(shop, config):
    database, taken = shop
    server, name, job = database.server, database.name, Job(config.settings)
    before = databases_of(server)
    loaded = side_database.load_side_database(job, make_plan(job, "latest"))
    assert (loaded.rows, loaded.sha256) == (100, taken["sha256"])
    assert loaded.side_database.startswith(f"{name}_restore_")
    assert databases_of(server) == before | {loaded.side_database}
    assert database.execute("SELECT count(*) FROM goods") == [(10,)]
    assert database.execute("SELECT count(*) FROM goods", loaded.side_database) == [(100,)]
    known = "SELECT reltuples FROM pg_class WHERE relname = 'goods'"
    assert database.execute(known, loaded.side_database) == [(100,)]
    swapped = side_database.swap_in(job, loaded.side_database)
    assert 0 < swapped.downtime_seconds < 5
    assert database.execute("SELECT count(*) FROM goods") == [(100,)]
    assert database.execute("SELECT count(*) FROM goods", swapped.kept_database) == [(10,)]
    with pytest.raises(UsageError, match="There is no side database"):
        side_database.swap_in(job, loaded.side_database)
    # it is live by now, and nothing that could be discarded
    side_database.discard_side_database(job, name)
    side_database.discard_side_database(job, loaded.side_database)
    assert database.execute("SELECT count(*) FROM goods") == [(100,)]


def test_one_that_is_not_wanted_is_removed(shop, config):
    database, _ = shop
    before, rows = databases_of(database.server), rows_of(database.server, database.name)
    job = Job(config.settings)
    for _ in range(2):  # the second load removes what the first one left
        loaded = side_database.load_side_database(job, make_plan(job, "latest"))
        assert databases_of(database.server) == before | {loaded.side_database}
    side_database.discard_side_database(job, loaded.side_database)
    assert databases_of(database.server) == before
    assert rows_of(database.server, database.name) == rows


def test_a_row_that_went_in_and_did_not_come_out_is_a_failure(shop, config, monkeypatch):
    """And leaves no side database."""
    database, _ = shop
    before, job = databases_of(database.server), Job(config.settings)
    inspect = side_database.Load.inspect

    def lose_one(load):
        report = inspect(load)
        goods = report.tables["public.goods"]
        lost = {"public.goods": dataclasses.replace(goods, rows=goods.rows + 1)}
        return dataclasses.replace(report, tables=report.tables | lost)

    monkeypatch.setattr(side_database.Load, "inspect", lose_one)
    monkeypatch.setattr(side_database, "require_whole", lambda *_: None)
    with pytest.raises(BadBackupError, match="is not what went in") as caught:
        side_database.load_side_database(job, make_plan(job, "latest"))
    assert [finding["code"] for finding in caught.value.findings] == ["ROWS_DIFFER"]
    assert databases_of(database.server) == before


def test_of_scripts_only_rows_are_compared():
    """Tables that only one side names (through the partitioned table) are added up."""

    def table(rows: int) -> TableRecord:
        return {"rows": rows, "bytes": rows, "sha256": f"of {rows}"}

    went_in = {"a": table(1), "parted": table(5)}
    came_out = {"a": table(1), "part_1": table(2), "part_2": table(3)}
    assert side_database._only_rows(went_in, came_out) == side_database._only_rows(
        came_out, went_in
    )
    less = side_database._only_rows({**came_out, "part_2": table(2)}, went_in)
    assert less != side_database._only_rows(went_in, came_out)
