"""A table counts as compared early only where it is at the end what it was then."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from postgres_backup.postgresql import early, programs, side_by_side
from postgres_backup.postgresql.early import EarlyComparison
from postgres_backup.postgresql.effort import Effort
from postgres_backup.postgresql.load import Load
from postgres_backup.postgresql.statistics import gather_statistics
from postgres_backup.stream.guard import Guard
from postgres_backup.stream.inspector import TableFacts
from tests.integration.postgresql.test_side_by_side import HEADER, TRAILER, index
from tests.integration.restoring import run_sql
from tests.waiting import wait_for

#: more than what is put into one page unseen
ROWS = b"".join(b"%d\t%s\n" % (number, b"x" * 40) for number in range(500))
WRITES = b"""
CREATE FUNCTION public.writes(n integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF n = 1 THEN %s; END IF;
    RETURN true;
END$$;
"""


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """However few rows there are."""
    monkeypatch.setattr(early, "WORTH_BYTES", 1)
    monkeypatch.setattr(early, "_WORTH_DUMP_BYTES", 1)


@pytest.fixture
def tools(database, config):
    return programs.find(config.settings, database.server.major)


def table(name: str, check: str = "") -> bytes:
    return f"CREATE TABLE public.{name} (id integer, filler text{check});\n".encode()


def rows(name: str) -> bytes:
    return b"COPY public.%s (id, filler) FROM stdin;\n%s\\.\n" % (name.encode(), ROWS)


def compared(
    config, tools, database, *pieces: bytes, analysed: list[int] | None = None
) -> set[str]:
    """The names of those that were compared early, each piece of the dump coming when all tables
    before it were read.

    :param analysed: gets the numbers of those of which there are statistics.
    """
    with (
        EarlyComparison(tools, database.name) as comparison,
        Load(
            config.settings,
            database.name,
            effort=Effort(sessions=2, processors=2),
            comparison=comparison,
        ) as load,
    ):
        for piece in pieces:
            load.feed(piece)
            wait_for("all so far", lambda: not comparison._waiting and not comparison._at_work)
        assert load.inspect().complete
        load.finish()
        names = set(comparison.compared())
        if analysed is not None:
            analysed.extend(comparison.analysed)
        return names


def test_what_is_equal_is_compared_while_others_are_loaded(database, config, tools):
    dump = HEADER + table("a") + table('"B; %x"') + rows("a") + rows('"B; %x"')
    behind = index("a", "id") + b"SELECT pg_catalog.set_config('a.b', 'c', false);\n"
    found = compared(config, tools, database, dump, behind + TRAILER)
    assert found == {"public.a", 'public."B; %x"'}


def test_it_is_analysed_too_and_again_only_where_that_tells_more(database, config, tools):
    """Statistics of an index's expressions can be there only once it is."""
    names = "abcd"
    dump = HEADER + b"".join(map(table, names)) + b"".join(map(rows, names))
    behind = index("a", "id") + index("b", "(id + 1)")
    behind += b"CREATE STATISTICS public.both_ ON id, filler FROM public.c;\n"
    behind += b"DELETE FROM public.d;\n"
    done: list[int] = []
    compared(config, tools, database, dump, behind + TRAILER, analysed=done)
    assert done == []  # whatever follows a statement of which nobody knows what it did
    database.execute("DROP TABLE a, b, c, d")
    behind = behind.replace(b"DELETE FROM public.d;\n", b"")
    assert len(compared(config, tools, database, dump, behind + TRAILER, analysed=done)) == 4
    assert len(done) == 4
    assert gather_statistics(config.settings, database.name, done) == []
    counts = """SELECT relname::text, analyze_count FROM pg_stat_all_tables
        WHERE relname IN ('a', 'b', 'c', 'd') ORDER BY 1"""
    expected = [("a", 1), ("b", 2), ("c", 2), ("d", 1)]
    wait_for("the counts", lambda: database.execute(counts) == expected)
    known = "SELECT count(*) FROM pg_stats_ext WHERE statistics_name = 'both_'"
    assert database.execute(known) == [(1,)]


def test_a_table_with_heirs_is_analysed_when_they_are_there(database, config, tools):
    heir = b"CREATE TABLE public.b () INHERITS (public.a);\n"
    dump = HEADER + table("a") + heir + rows("a") + rows("b")
    done: list[int] = []
    assert len(compared(config, tools, database, dump, TRAILER, analysed=done)) == 2
    assert done == [oid for (oid,) in database.execute("SELECT 'b'::regclass::oid")]


def test_statistics_that_do_not_come_are_left_to_the_end(database, config, tools):
    """Somebody else holds the table when its rows have come."""
    first, rest = rows("a")[:9000], rows("a")[9000:]
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'"
    with (
        database.server.connect(database.name) as holder,
        EarlyComparison(tools, database.name) as comparison,
        Load(config.settings, database.name, comparison=comparison) as load,
    ):
        load.feed(HEADER + b"SET lock_timeout = 200;\n" + table("a") + first)
        lock = threading.Thread(
            target=holder.execute, args=["BEGIN; LOCK TABLE a IN SHARE MODE"], daemon=True
        )
        lock.start()
        wait_for("the lock", lambda: database.execute(waiting) == [(1,)])
        load.feed(rest + TRAILER)
        assert load.inspect().complete
        load.finish()
        assert (set(comparison.compared()), comparison.analysed) == ({"public.a"}, [])
        lock.join()


@pytest.mark.parametrize(
    "behind",
    [
        b"UPDATE public.a SET id = 0 WHERE id = 1;\n",
        b"ALTER TABLE public.a ADD COLUMN more integer DEFAULT 3;\n",
        b"SELECT public.writes(1);\n",
        b"CREATE MATERIALIZED VIEW public.v AS SELECT public.writes(1);\n",
        b"ALTER TABLE ONLY public.b\n    ADD CONSTRAINT c CHECK (public.writes(id));\n",
    ],
)
def test_what_was_changed_since_is_not_told_as_equal(database, config, tools, behind):
    dump = HEADER + WRITES % b"UPDATE public.a SET id = 0 WHERE id = 1"
    dump += table("a") + table("b") + rows("a") + rows("b")
    assert "public.a" not in compared(config, tools, database, dump, behind + TRAILER)


@pytest.mark.parametrize(
    "statement",
    [
        b"DELETE FROM public.a WHERE id = 1",
        b"CREATE TEMPORARY TABLE held AS TABLE public.a; TRUNCATE public.a",
    ],
)
def test_nor_what_the_rows_of_another_have_changed(database, config, tools, statement):
    dump = HEADER + WRITES % statement + table("a")
    dump += table("b", ", CHECK (public.writes(id))") + rows("a")
    assert compared(config, tools, database, dump, rows("b") + TRAILER) == {"public.b"}


def test_nor_what_a_session_that_builds_indexes_has_changed(database, config, tools, monkeypatch):
    monkeypatch.setattr(side_by_side, "WORTH_STATEMENTS", 2)
    dump = HEADER + WRITES % b"UPDATE public.a SET id = 0 WHERE id = 1"
    dump += (
        b"CREATE FUNCTION public.told(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$\n"
        b"BEGIN PERFORM public.writes(n); RETURN n; END$$;\n"
    )
    dump += b"".join(table(name) for name in "abc") + b"".join(rows(name) for name in "abc")
    behind = index("b", "public.told(id)") + index("c", "id") + TRAILER
    assert compared(config, tools, database, dump, behind) == {"public.b", "public.c"}


def test_nor_what_gets_more_rows(database, config, tools):
    dump = HEADER + table("a") + table("b") + rows("a") + rows("b")
    assert compared(config, tools, database, dump, rows("a") + TRAILER) == {"public.b"}


def test_nor_what_came_out_otherwise(database, config, tools, monkeypatch):
    told = Guard.facts_of

    def one_more(guard, name):
        facts = told(guard, name)
        return dataclasses.replace(facts, rows=facts.rows + (name == "public.a"))

    monkeypatch.setattr(Guard, "facts_of", one_more)
    dump = HEADER + table("a") + table("b") + rows("a") + rows("b") + TRAILER
    assert compared(config, tools, database, dump) == {"public.b"}


def test_one_that_waits_for_a_lock_is_ended_with_the_load(database, config, tools):
    """And the table is none of those that were compared."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock'"
    name = database.name
    run_sql(database.server, name, "SET ROLE {owner}", "CREATE TABLE a (id integer)",
            owner=database.owner)  # fmt: skip
    with database.server.connect(name) as holder, EarlyComparison(tools, name) as comparison:
        holder.execute("BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        comparison.offer("public.a", TableFacts(0, 1, "", ""), b"1 1", "UTF8")
        wait_for("the lock", lambda: database.execute(waiting) == [(1,)])
    assert not [one for one in threading.enumerate() if one.name == "early-comparison"]
    wait_for("its session", lambda: database.execute(waiting) == [(0,)])
