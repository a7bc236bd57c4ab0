"""A side database: filled, compared, and made live, or removed."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.manifest import TableRecord
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.postgresql import early
from postgres_backup.postgresql.early import EarlyComparison
from postgres_backup.postgresql.effort import Effort
from postgres_backup.postgresql.pg_dump import Dump
from postgres_backup.restore import side_database
from postgres_backup.restore.preflight import make_plan
from tests.integration.restoring import databases_of, rows_of, run_sql
from tests.waiting import wait_for


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


#: whatever stands between rows, or behind them, in a dump
AROUND = """
CREATE SCHEMA "Каталог; %";
CREATE TABLE "Каталог; %"."My ""goods" (id serial PRIMARY KEY, name text UNIQUE,
    twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO "Каталог; %"."My ""goods" (name) SELECT md5(n::text) FROM generate_series(1, 999) n;
CREATE TABLE parts (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT n, 1 + n % 2 FROM generate_series(1, 9999) n;
CREATE TABLE heir (more text DEFAULT 'none') INHERITS (goods);
INSERT INTO heir SELECT n FROM generate_series(1, 2000) n;
CREATE INDEX goods_name_lower ON "Каталог; %"."My ""goods" (lower(name));
ALTER TABLE heir ENABLE ROW LEVEL SECURITY;
CREATE TABLE small (id int REFERENCES "Каталог; %"."My ""goods");
INSERT INTO small VALUES (1);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER nothing BEFORE INSERT ON heir FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE MATERIALIZED VIEW seen AS SELECT * FROM parts;
SELECT lo_from_bytea(0, 'large');
"""
LARGE = {'"Каталог; %"."My ""goods"', "public.parts_1", "public.parts_2", "public.heir"}


@pytest.mark.every_major
def test_large_tables_are_compared_while_others_are_loaded_and_not_again(shop, config, monkeypatch):
    """And the definitions read as they did."""
    database, _ = shop
    run_sql(database.server, database.name, "SET ROLE {owner}", AROUND, owner=database.owner)
    taken = create_backup(Job(config.settings))
    compared, dumps, ended = [], [], EarlyComparison.compared

    def all_of_them(comparison):
        wait_for("all", lambda: not comparison._waiting and not comparison._at_work)
        compared.append(ended(comparison))
        return compared[-1]

    class Seen(Dump):
        def __init__(self, *arguments, **how):
            super().__init__(*arguments, **how)
            dumps.append(self)

    monkeypatch.setattr(early, "WORTH_BYTES", 1)
    monkeypatch.setattr(early, "_WORTH_DUMP_BYTES", 1)
    monkeypatch.setattr(EarlyComparison, "compared", all_of_them)
    monkeypatch.setattr(side_database, "Dump", Seen)
    monkeypatch.setattr(side_database, "effort_of", lambda _: Effort(2, 2))
    job = Job(config.settings)
    loaded = side_database.load_side_database(job, make_plan(job, taken["backup"]))
    assert (set(*compared), loaded.rows) == (LARGE, taken["rows"])
    assert "SCHEMA_DIFFERS" not in [finding["code"] for finding in loaded.findings]
    assert {"public.goods", "public.small"} == {*dumps[0].report.tables} - {"public.sold"}
    assert rows_of(database.server, loaded.side_database) == rows_of(database.server, database.name)
    known = "SELECT DISTINCT tablename::text FROM pg_stats WHERE null_frac IS NOT NULL"
    analysed = {name for (name,) in database.execute(known, loaded.side_database)}
    everywhere = {
        "goods",
        'My "goods',
        "goods_name_lower",
        "parts",
        "parts_1",
        "heir",
        "small",
        "seen",
    }
    assert everywhere | {"pg_class"} <= analysed
    side_database.discard_side_database(job, loaded.side_database)


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
