"""Statistics that are gathered while foreign keys are looked through: of each table once, and of
all.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from postgres_backup.postgresql.connection import connect
from postgres_backup.postgresql.statistics import Statistics
from tests.integration.restoring import run_sql
from tests.waiting import wait_for

MADE = (
    "CREATE TABLE plain AS SELECT n AS id, n % 7 AS kind FROM generate_series(1, 5000) n",
    "CREATE INDEX plain_twice ON plain ((id * 2))",
    "CREATE STATISTICS both_ (dependencies) ON id, kind FROM plain",
    "CREATE TABLE parent (id integer)",
    "CREATE TABLE heir () INHERITS (parent)",
    "INSERT INTO heir SELECT n FROM generate_series(1, 5000) n",
    "CREATE TABLE parts (id integer) PARTITION BY RANGE (id)",
    "CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000)",
    "CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (1000) TO (10000)",
    "INSERT INTO parts SELECT n FROM generate_series(1, 5000) n",
    "CREATE MATERIALIZED VIEW seen AS SELECT * FROM plain WITH NO DATA",
)
#: tables that belong to nobody else's server
COUNTS = """SELECT relname::text, analyze_count FROM pg_stat_user_tables
    WHERE analyze_count > 0 ORDER BY 1"""
KNOWN = """SELECT DISTINCT tablename::text FROM pg_stats
    WHERE schemaname = current_schema() ORDER BY 1"""
HALVES = """CREATE OR REPLACE FUNCTION halves(n integer) RETURNS integer IMMUTABLE
    LANGUAGE plpgsql AS $$BEGIN RETURN 4 / %s; END$$"""
FAILS = (
    HALVES % "n",
    "CREATE TABLE odd (id integer)",
    "CREATE INDEX odd_halves ON odd (halves(id))",
    "INSERT INTO odd SELECT n FROM generate_series(1, 100) n",
    HALVES % "(n - 1)",
)


@pytest.fixture
def made(database):
    run_sql(database.server, database.name, "SET ROLE {owner}", *MADE, owner=database.owner)
    return database


@pytest.mark.every_major
def test_each_table_is_analysed_once_and_what_is_filled_later_too(made, config):
    with Statistics(config.settings, made.name) as statistics:
        statistics.begin()
        # plain, parent, heir, parts and its parts
        wait_for("all that can be", lambda: len(statistics.gathered) == 6)
        run_sql(made.server, made.name, "REFRESH MATERIALIZED VIEW seen")
        with statistics.rest() as findings:
            assert findings == []
    assert findings == []
    once = [(name, 1) for name in ("heir", "parent", "part_1", "part_2", "parts", "plain", "seen")]
    wait_for("the counts", lambda: made.execute(COUNTS) == once)
    known = {name for (name,) in made.execute(KNOWN)}
    assert known >= {"heir", "parent", "part_1", "part_2", "parts", "plain", "plain_twice", "seen"}
    assert made.execute("SELECT count(*) FROM pg_stats_ext WHERE dependencies IS NOT NULL") == [
        (1,)
    ]


def test_what_was_changed_since_is_analysed_once_more(made, config):
    with Statistics(config.settings, made.name) as statistics:
        statistics.begin()
        wait_for("all that can be", lambda: len(statistics.gathered) == 6)
        changed = made.execute("SELECT 'plain'::regclass::oid")[0]
        with statistics.rest(changed) as findings:
            pass
    assert findings == []
    wait_for("the counts", lambda: {("plain", 2), ("heir", 1)} <= set(made.execute(COUNTS)))


def test_without_foreign_keys_all_are_gathered_at_the_end(made, config):
    with Statistics(config.settings, made.name) as statistics, statistics.rest() as findings:
        assert findings == []
    assert statistics.gathered == []
    assert {"plain", "parts", "parent"} <= {name for (name,) in made.execute(KNOWN)}


def test_what_the_load_has_locked_comes_when_it_has_not(made, config):
    """And a load that wants more locks meanwhile is not ended for its sake."""
    locks = "BEGIN; LOCK TABLE plain IN SHARE ROW EXCLUSIVE MODE"
    with (
        made.server.connect(made.name) as load,
        Statistics(config.settings, made.name) as statistics,
    ):
        load.execute(locks)
        load.execute("LOCK TABLE part_1 IN ACCESS EXCLUSIVE MODE")
        statistics.begin()
        wait_for("the free ones", lambda: len(statistics.gathered) >= 2)
        load.execute("LOCK TABLE parts IN ACCESS EXCLUSIVE MODE")
        assert "plain" not in {name for (name,) in made.execute(KNOWN)}
        load.execute("COMMIT")
        wait_for("all", lambda: len(statistics.gathered) == 6)
        with statistics.rest() as findings:
            pass
    assert findings == []


def test_what_fails_on_the_way_is_tried_again_and_told(made, config):
    run_sql(made.server, made.name, "SET ROLE {owner}", *FAILS, owner=made.owner)
    with Statistics(config.settings, made.name) as statistics:
        statistics.begin()
        wait_for("all others", lambda: len(statistics.gathered) == 6)
        with statistics.rest() as findings:
            pass
    assert [finding["code"] for finding in findings] == ["STATISTICS_NOT_GATHERED"]
    assert "division by zero" in findings[0]["message"]


def test_it_leaves_the_last_session_to_others(made, config):
    """They have it while it begins, and still as the load ends."""
    names = {"owner": made.owner}
    run_sql(made.server, "postgres", "ALTER ROLE {owner} CONNECTION LIMIT 1", **names)
    try:
        with Statistics(config.settings, made.name) as statistics:
            with ExitStack() as other:
                other.enter_context(connect(config.settings, made.name))
                statistics.begin()
                rest = ExitStack()
                findings = rest.enter_context(statistics.rest())
                wait_for("its end", lambda: statistics._ended)
            assert (statistics.gathered, findings) == ([], [])
            rest.close()
        assert findings == []
        assert {"plain", "parts", "parent"} <= {name for (name,) in made.execute(KNOWN)}
    finally:
        run_sql(made.server, "postgres", "ALTER ROLE {owner} CONNECTION LIMIT -1", **names)


def test_a_load_that_fails_waits_for_none_and_leaves_no_session(made, config):
    """A session that waits looks within the time of one lock whether it should end."""
    with made.server.connect(made.name) as load:
        load.execute("BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        with Statistics(config.settings, made.name) as statistics:
            statistics.begin()
            wait_for("others", lambda: len(statistics.gathered) == 5)
        assert statistics._thread is not None
        statistics._thread.join(60)
        assert not statistics._thread.is_alive()
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ANALYZE%'"
        wait_for("its end", lambda: made.execute(sessions) == [(0,)])
