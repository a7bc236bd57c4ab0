"""Rows that a second session loads: what stands then is what one session makes, and what cannot be
one's own order is loaded anew, or refused.
"""

from __future__ import annotations

import contextlib
import threading

import pytest

from postgres_backup.backup import cuts
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql.effort import Effort
from postgres_backup.postgresql.helper import RowsAside
from postgres_backup.postgresql.load import Load
from postgres_backup.postgresql.ways import AnewError, Way
from postgres_backup.restore import side_database
from postgres_backup.restore.preflight import make_plan
from postgres_backup.verify import ranges
from tests.integration.postgresql.test_side_by_side import HEADER, TRAILER
from tests.integration.restoring import databases_of, rows_of, run_sql
from tests.waiting import wait_for

TABLES = (
    b"CREATE TABLE public.a (id integer);\nCREATE TABLE public.b (id integer);\n"
    b"SET client_min_messages = warning;\n"
)
#: of a table that a helper loads, this is all that is fed
EMPTY = b"COPY public.b (id) FROM stdin;\n\\.\n"
ROWS = b"COPY public.%s (id) FROM stdin;\n%s\\.\n"
NUMBERS = b"".join(b"%d\n" % number for number in range(9000))
MANY = """
CREATE TABLE a AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 3000) n;
CREATE TABLE "B; %x
COPY public.b (id) FROM stdin;" AS SELECT n AS "FROM stdin;
", md5(n::text) AS name FROM generate_series(1, 9000) n;
CREATE TABLE c (id serial PRIMARY KEY, name text);
INSERT INTO c (name) SELECT md5(n::text) FROM generate_series(1, 4000) n;
ALTER TABLE a ADD PRIMARY KEY (id);
ALTER TABLE c ADD FOREIGN KEY (id) REFERENCES a NOT VALID;
CREATE TABLE small (id int);
INSERT INTO small VALUES (1);
"""


@pytest.fixture
def always(monkeypatch):
    """However few rows there are."""
    monkeypatch.setattr(cuts, "LARGE_BYTES", 64 * 1024)
    monkeypatch.setattr(ranges, "_WORTH_BYTES", 1)
    monkeypatch.setattr(side_database, "effort_of", lambda _: Effort(2, 2))


class Told(Progress):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def step(self, message: str) -> None:
        self.steps.append(message)


def told_anew(progress: Told) -> bool:
    return any("begins anew" in step for step in progress.steps)


def restored(config, taken, progress: Told) -> side_database.Loaded:
    job = Job(config.settings, progress=progress)
    return side_database.load_side_database(job, make_plan(job, taken["backup"]))


@pytest.mark.every_major
def test_what_stands_then_is_what_one_session_makes(database, config, always, monkeypatch):
    """Names of tables and columns that look like the beginning of rows among them."""
    run_sql(database.server, database.name, "SET ROLE {owner}", MANY, owner=database.owner)
    taken = create_backup(Job(config.settings))
    begun, begin = [], RowsAside.begin

    def seen(helper, *told):
        begun.append(helper.tables)
        begin(helper, *told)

    monkeypatch.setattr(RowsAside, "begin", seen)
    progress = Told()
    loaded = restored(config, taken, progress)
    assert begun == [{'public."B; %x\nCOPY public.b (id) FROM stdin;"'}]
    assert not told_anew(progress)
    assert (loaded.rows, loaded.sha256) == (taken["rows"], taken["sha256"])
    assert {one["code"] for one in loaded.findings} <= {"DISK_NOT_CHECKED"}
    assert loaded.read_bytes == taken["bytes"]
    assert rows_of(database.server, loaded.side_database) == rows_of(database.server, database.name)
    side_database.discard_side_database(Job(config.settings), loaded.side_database)


def test_a_table_that_must_come_after_another_is_loaded_after_it(database, config, always):
    """The rows of the first wait until those of the other were tried."""
    run_sql(
        database.server,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE a AS SELECT n AS id FROM generate_series(1, 3) n",
        """CREATE FUNCTION public.there() RETURNS boolean LANGUAGE plpgsql AS $$
           BEGIN RETURN (SELECT count(*) = 3 FROM public.a); END$$""",
        """CREATE FUNCTION public.slow() RETURNS boolean LANGUAGE plpgsql AS $$
           DECLARE came boolean := false; BEGIN
           FOR i IN 1..150 LOOP
               PERFORM pg_catalog.pg_stat_clear_snapshot(), pg_catalog.pg_sleep(0.01);
               EXIT WHEN came AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                   WHERE state = 'active' AND query LIKE 'COPY public.b %');
               came := came OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                   WHERE state = 'active' AND query LIKE 'COPY public.b %');
           END LOOP; RETURN true; END$$""",
        "ALTER TABLE a ADD CHECK (id < 3 OR public.slow())",
        "CREATE TABLE b AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 9000) n",
        "ALTER TABLE b ADD CHECK (id % 1000 > 0 OR public.there())",
        owner=database.owner,
    )
    taken = create_backup(Job(config.settings))
    progress = Told()
    loaded = restored(config, taken, progress)
    assert (told_anew(progress), loaded.rows) == (True, 9003)
    assert "CHECKS_LAST" not in [one["code"] for one in loaded.findings]
    side_database.discard_side_database(Job(config.settings), loaded.side_database)


class Site:
    """A load with a helper, by hand."""

    def __init__(self, config, database) -> None:
        self.config, self.database = config, database

    def load(self, dump: bytes, *given: tuple[str, bytes], tables: frozenset[str]) -> Load:
        """:param given: what the helper is given for which table."""

        def rows():
            for table, text in given:
                yield table, iter([text])

        settings, name = self.config.settings, self.database.name
        helper = RowsAside(settings, name, tables, rows, 1 << 20)
        with helper, Load(settings, name, helper=helper) as load:
            load.feed(dump)
            assert load.inspect().complete
            load.finish()
        return load

    def rows(self, table: str) -> int:
        [(count,)] = self.database.execute(f"SELECT count(*) FROM {table}")
        return count


@pytest.fixture
def site(config, database) -> Site:
    return Site(config, database)


DUMP = HEADER + TABLES + ROWS % (b"a", NUMBERS) + EMPTY + b"CREATE INDEX ON public.b (id);\n"
ONE = frozenset({"public.b"})


def test_its_rows_are_counted_with_the_others_and_lines_too(site):
    load = site.load(DUMP + TRAILER, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    assert (site.rows("public.a"), site.rows("public.b")) == (9000, 9000)
    tables = load.inspect().tables
    assert tables["public.b"] == tables["public.a"]
    site.database.execute("DROP TABLE a, b")
    wrong = DUMP + b"CREATE INDEX ON public.b (nothing);\n" + TRAILER
    with pytest.raises(DatabaseError) as error:
        site.load(wrong, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    line = wrong.replace(EMPTY, ROWS % (b"b", NUMBERS)).split(b"nothing")[0].count(b"\n") + 1
    assert f"line {line}" in error.value.message


@pytest.mark.parametrize(
    "given",
    [
        (),
        (("public.b", ROWS % (b"a", NUMBERS)),),
        (("public.b", ROWS % (b"b", NUMBERS) + b"DROP TABLE public.a;\n"),),
        (("public.b", ROWS % (b"b", NUMBERS) + b"BEGIN;\n"),),
        (("public.b", (ROWS % (b"b", NUMBERS))[:-3]),),
    ],
)
def test_what_is_not_the_rows_of_its_table_is_refused(site, given):
    with pytest.raises(BadBackupError) as error:
        site.load(DUMP + TRAILER, *given, tables=ONE)
    assert [one["code"] for one in error.value.findings] == ["MANIFEST_DAMAGED"]
    assert not [one for one in threading.enumerate() if one.name == "rows-aside"]


def test_rows_that_do_not_go_in_are_tried_one_by_one(site):
    """And so are those of the other session meanwhile: the cause may be the order."""
    with pytest.raises(AnewError) as error:
        site.load(DUMP + TRAILER, ("public.b", ROWS % (b"b", b"no number\n" * 9000)), tables=ONE)
    assert error.value.way == Way.ONE_BY_ONE
    site.database.execute("DROP TABLE a, b")
    dump = DUMP.replace(NUMBERS, b"no number\n" * 9000) + TRAILER
    with pytest.raises(AnewError) as error:
        site.load(dump, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    assert error.value.way == Way.ONE_BY_ONE


def test_what_no_order_mends_is_not_tried_again(site):
    """A server without room is not filled twice; and one without a session more does it alone."""
    full = b"""CREATE FUNCTION public.full() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'no room'; END$$;\n"""
    tables = TABLES.replace(b"b (id integer)", b"b (id integer CHECK (id < 5 OR public.full()))")
    dump = DUMP.replace(TABLES, full + tables) + TRAILER
    with pytest.raises(DatabaseError) as error:
        site.load(dump, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    assert not isinstance(error.value, AnewError)
    assert error.value.message == "Failed to load the dump: no room (SQLSTATE 53100)"


def test_where_no_session_more_can_be_had_one_does_it_alone(site):
    run_sql(site.database.server, "postgres", "ALTER ROLE {owner} CONNECTION LIMIT 1",
            owner=site.database.owner)  # fmt: skip
    with pytest.raises(AnewError) as error:
        site.load(DUMP + TRAILER, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    assert error.value.way == Way.ONE_BY_ONE


def test_a_session_that_cannot_be_told_is_not_asked_for_help(site):
    dump = HEADER + TABLES + b"BEGIN;\n" + ROWS % (b"a", NUMBERS) + EMPTY + b"COMMIT;\n" + TRAILER
    with pytest.raises(AnewError) as error:
        site.load(dump, ("public.b", ROWS % (b"b", NUMBERS)), tables=ONE)
    assert error.value.way == Way.ONE_BY_ONE


def test_a_load_that_ends_before_it_takes_it_along(config, database):
    """Whether it waits for the store or for the server."""
    asked, come = threading.Event(), threading.Event()

    def rows():
        def late():
            yield (ROWS % (b"b", NUMBERS))[:-10]
            asked.set()
            come.wait(60)

        yield "public.b", late()

    settings, name = config.settings, database.name
    before = databases_of(database.server)
    helper = RowsAside(settings, name, ONE, rows, 1 << 20)
    load = Load(settings, name, helper=helper)
    with contextlib.suppress(KeyError), helper, load:
        load.feed(HEADER + TABLES + ROWS % (b"a", NUMBERS))
        assert asked.wait(30)
        raise KeyError
    assert not [one for one in threading.enumerate() if one.name == "rows-aside"]
    come.set()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    wait_for("its session", lambda: database.execute(sessions) == [(1,)])
    assert databases_of(database.server) == before
