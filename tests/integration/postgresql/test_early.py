"""A table counts as compared early only where it is at the end what it was then."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from postgres_backup.postgresql import early, programs, side_by_side
from postgres_backup.postgresql import load as load_room
from postgres_backup.postgresql.early import EarlyComparison
from postgres_backup.postgresql.effort import Effort
from postgres_backup.postgresql.load import Load
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


def compared(config, tools, database, *pieces: bytes) -> set[str]:
    """The names of those that were compared early, each piece of the dump coming when all tables
    before it were read.
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
        return set(comparison.compared())


def test_what_is_equal_is_compared_while_others_are_loaded(database, config, tools):
    dump = HEADER + table("a") + table('"B; %x"') + rows("a") + rows('"B; %x"')
    behind = index("a", "id") + b"SELECT pg_catalog.set_config('a.b', 'c', false);\n"
    found = compared(config, tools, database, dump, behind + TRAILER)
    assert found == {"public.a", 'public."B; %x"'}


def test_it_begins_with_none_while_it_is_held_and_reads_all_at_the_end(database, config, tools):
    names = "abc"
    dump = HEADER + b"".join(map(table, names)) + b"".join(map(rows, names)) + TRAILER
    with (
        EarlyComparison(tools, database.name) as comparison,
        Load(config.settings, database.name, comparison=comparison) as load,
    ):
        comparison.hold(True)
        load.feed(dump)
        assert load.inspect().complete
        load.finish()
        assert (len(comparison._waiting), comparison._at_work) == (3, set())
        assert len(comparison.compared()) == 3


@pytest.mark.parametrize("long", [0, 3600])
def test_a_long_foreign_key_keeps_no_table_from_others(database, config, tools, monkeypatch, long):
    """Whoever gathers statistics meanwhile waits for a lock no longer than a moment. Where many are
    short, no commit is waited for after each.
    """
    monkeypatch.setattr(load_room, "_LONG_KEYS", long)
    holds = """SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    held, before, indexed = [], Load._before_key, []

    def look(load, comparison):
        before(load, comparison)
        load._sync()
        held.append(database.execute(holds)[0][0] > 0)

    def count():
        indexed.append(database.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'a'"))

    monkeypatch.setattr(Load, "_before_key", look)
    key = b"ALTER TABLE ONLY public.%s\n    ADD CONSTRAINT %s FOREIGN KEY (id) "
    key += b"REFERENCES public.a(id) NOT VALID;\n"
    dump = HEADER + b"".join(map(table, "abcde"))
    dump += b"ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_key PRIMARY KEY (id);\n"
    dump += b"".join(key % (name, name + b"_id") for name in (b"b", b"c", b"d", b"e")) + TRAILER
    with (
        EarlyComparison(tools, database.name, count) as comparison,
        Load(config.settings, database.name, comparison=comparison) as load,
    ):
        load.feed(dump)
        assert load.inspect().complete
        load.finish()
    assert indexed == [[(1,)]]
    assert held == [False, False, long > 0, False]


def test_it_tells_what_may_be_another_table_since_all_indexes_were_there(database, config, tools):
    """A statement of which nobody knows what it does may change any; rows before do not count."""
    few = b"COPY public.c (id, filler) FROM stdin;\n1\t\n\\.\n"
    dump = HEADER + b"".join(map(table, "abc")) + rows("a") + rows("b") + few
    key = b"ALTER TABLE ONLY public.b\n    ADD CONSTRAINT b_id FOREIGN KEY (id) "
    dump += b"ALTER TABLE ONLY public.a\n    ADD CONSTRAINT a_key PRIMARY KEY (id);\n"
    dump += key + b"REFERENCES public.a(id) NOT VALID;\n"
    for behind, expected in ((b"", 0), (b"DELETE FROM public.b;\n", 2)):
        with (
            EarlyComparison(tools, database.name) as comparison,
            Load(config.settings, database.name, comparison=comparison) as load,
        ):
            load.feed(dump + behind + TRAILER)
            assert load.inspect().complete
            load.finish()
            names = "SELECT oid::bigint FROM pg_class WHERE relname IN ('a', 'b') ORDER BY 1"
            both = [oid for (oid,) in database.execute(names)]
            assert sorted(comparison.changed_late) == both[:expected]
        database.execute("DROP TABLE a, b, c")


def test_several_are_read_at_once(database, config, tools, monkeypatch):
    """And one that cannot be read keeps no other from it."""
    both, read = threading.Barrier(2, timeout=60), early._read

    def met(dump, batch):
        if batch[0].name != "public.c":
            both.wait()
        return read(dump, batch)

    monkeypatch.setattr(early, "_read", met)
    dump = HEADER + b"".join(map(table, "abc")) + b"".join(map(rows, "cab"))
    behind = b"DROP TABLE public.c;\n" + TRAILER
    with (
        EarlyComparison(tools, database.name) as comparison,
        Load(config.settings, database.name, comparison=comparison) as load,
    ):
        comparison.hold(True)
        load.feed(dump + behind)
        assert load.inspect().complete
        load.finish()
        comparison._touched.clear()  # the statement that nobody knows has made all forgotten
        assert set(comparison.compared()) == {"public.a", "public.b"}


def test_what_nobody_foresaw_is_told(database, config, tools, monkeypatch):
    """Whatever still waits to be read."""

    def fails(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(early, "_read", fails)
    dump = HEADER + b"".join(map(table, "abc")) + b"".join(map(rows, "abc")) + TRAILER
    with (
        EarlyComparison(tools, database.name) as comparison,
        Load(config.settings, database.name, comparison=comparison) as load,
    ):
        load.feed(dump)
        assert load.inspect().complete
        load.finish()
        with pytest.raises(ZeroDivisionError):
            comparison.compared()


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
