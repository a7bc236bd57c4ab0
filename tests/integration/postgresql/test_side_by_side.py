"""Indexes that several sessions build at once: what stands then, and what is said where it does not
work, is what one session makes and says.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.machine import signals
from postgres_backup.postgresql import side_by_side
from postgres_backup.postgresql.effort import Effort
from postgres_backup.postgresql.load import Load
from tests.integration.restoring import run_sql
from tests.waiting import wait_for

HEADER = b"--\n-- PostgreSQL database dump\n--\n\n"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"
#: whatever depends on an index or builds one in another way than most
ZOO = """
CREATE SCHEMA "Odd; schema";
CREATE FUNCTION public.twice(n integer) RETURNS integer IMMUTABLE LANGUAGE sql
    AS 'SELECT 2 * n';
CREATE TABLE plain (id integer NOT NULL, name text NOT NULL, during int4range);
INSERT INTO plain SELECT n, md5(n::text), int4range(n, n + 1) FROM generate_series(1, 2000) n;
ALTER TABLE plain ADD PRIMARY KEY (id);
ALTER TABLE plain ADD CONSTRAINT named UNIQUE (name) INCLUDE (id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE plain ADD CONSTRAINT apart EXCLUDE USING gist (during WITH &&);
CREATE INDEX plain_twice ON plain (twice(id)) WHERE id > 10;
COMMENT ON INDEX plain_twice IS 'a comment; on an index';
COMMENT ON CONSTRAINT named ON plain IS 'and on a constraint';
ALTER INDEX plain_twice ALTER COLUMN 1 SET STATISTICS 400;
ALTER TABLE plain CLUSTER ON plain_pkey;
CREATE TABLE "Odd; schema"."In ""dex"" ON" (id integer NOT NULL, " USING " text);
CREATE UNIQUE INDEX "ON ; x" ON "Odd; schema"."In ""dex"" ON" (id);
CREATE INDEX ON "Odd; schema"."In ""dex"" ON" USING hash (" USING ");
ALTER TABLE "Odd; schema"."In ""dex"" ON" REPLICA IDENTITY USING INDEX "ON ; x";
CREATE TABLE parent (id integer NOT NULL, part integer NOT NULL, PRIMARY KEY (id, part))
    PARTITION BY LIST (part);
CREATE TABLE child_1 PARTITION OF parent FOR VALUES IN (1);
CREATE TABLE child_2 PARTITION OF parent FOR VALUES IN (2);
INSERT INTO parent SELECT n, 1 + n % 2 FROM generate_series(1, 2000) n;
CREATE INDEX ON parent (twice(part), id);
CREATE INDEX one_child ON child_2 (part);
CREATE TABLE heir (more integer, UNIQUE (id)) INHERITS (plain);
CREATE TABLE refers (id integer PRIMARY KEY, plain integer REFERENCES plain,
    self integer REFERENCES refers, name text UNIQUE);
INSERT INTO refers SELECT n, n, n, md5(n::text) FROM generate_series(1, 500) n;
CREATE MATERIALIZED VIEW seen AS SELECT id, name FROM plain;
CREATE UNIQUE INDEX ON seen (id);
CREATE STATISTICS told ON id, name FROM plain;
"""
TRIGRAMS = """
CREATE EXTENSION pg_trgm;
CREATE INDEX plain_like ON plain USING gin (name gin_trgm_ops);
"""


@pytest.fixture
def always(monkeypatch) -> Effort:
    """However few rows there are; three sessions."""
    monkeypatch.setattr(side_by_side, "WORTH_STATEMENTS", 2)
    return Effort(sessions=3, processors=3, memory_kb=70_000)


def dumped(database) -> bytes:
    text = subprocess.run(
        [database.server.bin_dir / "pg_dump"],
        env=database.server.environment(database.name),
        capture_output=True,
        check=True,
    ).stdout
    return re.sub(rb"\\(un)?restrict .*\n", b"", text)


def loaded(config, name: str, dump: bytes, **how) -> int:
    """How many statements other sessions have done."""
    with Load(config.settings, name, **how) as load:
        load.feed(dump)
        load.inspect()
        load.finish()
    return load.built_aside


def sessions(database) -> int:
    [(count,)] = database.server.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", params=(database.name,)
    )
    return count


@pytest.mark.every_major
def test_what_stands_is_what_one_session_makes(database, new_database, config, always):
    server = database.server
    run_sql(server, database.name, "SET ROLE {owner}", ZOO, owner=database.owner)
    there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'"
    if server.execute(there) == [(1,)]:
        run_sql(server, database.name, TRIGRAMS)
    whole = dumped(database)
    for how, least, most in (
        ({}, 0, 0),
        ({"effort": always}, 9, 99),
        ({"effort": always, "transaction": True}, 0, 0),
    ):
        other = new_database()
        run_sql(server, "postgres", "ALTER DATABASE {name} OWNER TO {owner}",
                name=other.name, owner=database.owner)  # fmt: skip
        assert least <= loaded(config, other.name, whole, **how) <= most
        assert dumped(other) == whole
        server.execute(f"DROP DATABASE {other.name}")


def tables(*names: str, rows: bytes = b"1\n2\n3\n") -> bytes:
    made = (
        b"CREATE TABLE public.%s (id integer);\nCOPY public.%s (id) FROM stdin;\n%s\\.\n"
        % (name.encode(), name.encode(), rows)
        for name in names
    )
    return HEADER + b"".join(made)


def index(table: str, what: str, unique: str = "") -> bytes:
    return f"CREATE {unique}INDEX {table}_i ON public.{table} USING btree ({what});\n".encode()


def test_what_fails_in_one_session_is_named_as_in_one_alone(database, config, always):
    dump = tables("a", "b") + tables("c", rows=b"1\n1\n").removeprefix(HEADER)
    failing = b"".join(index(name, "id", "UNIQUE ") for name in "abc") + TRAILER
    for effort in (Effort(), always):
        with pytest.raises(DatabaseError, match=r"line 24: could not create unique") as caught:
            loaded(config, database.name, dump + failing, effort=effort)
        assert caught.value.hint
        wait_for("the end of all sessions", lambda: not sessions(database))
        for name in "abc":
            database.execute(f"DROP TABLE IF EXISTS {name}")


def test_other_sessions_are_told_what_the_dump_says(database, config, always):
    """In its own encoding; settings that are no server's, of which nobody tells, are its alone."""
    run_sql(database.server, database.name, "GRANT CREATE ON DATABASE {name} TO {owner}",
            name=database.name, owner=database.owner)  # fmt: skip
    path = (
        b"SET client_encoding = 'LATIN1';\nCREATE SCHEMA \"\xe9\";\n"
        b"SELECT pg_catalog.set_config('search_path', '\"\xe9\"', false);\n"
        b"CREATE FUNCTION times(n integer) RETURNS integer IMMUTABLE LANGUAGE sql AS\n"
        b"'SELECT n * coalesce(pg_catalog.current_setting(''app.factor'', true)::int, 1)';\n"
    )
    own = b"SELECT pg_catalog.set_config('app.factor', '-1', false);\n"
    lowest = "SELECT id FROM {} WHERE times(id) < 100 ORDER BY times(id) LIMIT 1"
    for text, aside, first in ((path, 2, 1), (path + own, 0, 3)):
        dump = tables("a", "b") + text + index("a", "times(id)") + index("b", "times(id)")
        assert loaded(config, database.name, dump + TRAILER, effort=always) == aside
        with database.server.connect(database.name) as connection:
            connection.execute('SET search_path TO "\u00e9", public; SET enable_seqscan TO off')
            connection.execute("SET enable_sort TO off")
            for table in "ab":  # in the order of the index
                assert connection.execute(lowest.format(table)).fetchall() == [(first,)]
            connection.execute('DROP SCHEMA "\u00e9" CASCADE; DROP TABLE a, b')


def test_another_users_indexes_are_built_by_who_loads(database, new_database, config, always):
    other = new_database()
    run_sql(database.server, database.name, "GRANT {other} TO {owner}",
            "GRANT CREATE ON SCHEMA public TO {other}",
            other=other.owner, owner=database.owner)  # fmt: skip
    dump = b"SET ROLE %s;\n" % other.owner.encode() + tables("a", "b").removeprefix(HEADER)
    dump = HEADER + dump + index("a", "id") + index("b", "id") + TRAILER
    assert loaded(config, database.name, dump, effort=always) == 0
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('a', 'b')"
    assert database.execute(owners) == [(other.owner,)]


def test_sessions_that_wait_for_each_other_are_no_failure(database, config, always):
    """Each has its table for itself, and its function reads the other's."""
    reads = "".join(
        f"""CREATE FUNCTION public.of_{one}(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_sleep(0.3); PERFORM FROM public.{other}; RETURN n; END$$;\n"""
        for one, other in (("a", "b"), ("b", "a"))
    )
    excludes = "".join(
        f"ALTER TABLE ONLY public.{one}\n    ADD CONSTRAINT {one}_x EXCLUDE USING btree"
        f" (public.of_{one}(id) WITH =);\n\n"
        for one in "ab"
    )
    dump = tables("a", "b", rows=b"1\n") + reads.encode() + excludes.encode() + TRAILER
    assert loaded(config, database.name, dump, effort=always) < 2
    made = "SELECT count(*) FROM pg_constraint WHERE conname IN ('a_x', 'b_x') AND convalidated"
    assert database.execute(made) == [(2,)]


def test_where_the_server_has_room_for_no_more_sessions_one_does_it(database, config, always):
    dump = tables("a", "b") + index("a", "id") + index("b", "id") + TRAILER
    run_sql(database.server, "postgres", "ALTER ROLE {owner} CONNECTION LIMIT 1",
            owner=database.owner)  # fmt: skip
    assert loaded(config, database.name, dump, effort=always) == 0
    assert database.execute("SELECT count(*) FROM pg_indexes WHERE tablename ~ '^[ab]$'") == [(2,)]


def test_asked_to_end_all_sessions_end_within_a_moment(database, config, always):
    slow = (
        b"CREATE FUNCTION public.slow(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS\n"
        b"$$BEGIN PERFORM pg_sleep(60); RETURN n; END$$;\n"
    )
    dump = tables("a", "b") + slow + index("a", "public.slow(id)") + index("b", "public.slow(id)")
    caught = []

    def wait_long() -> None:
        try:
            loaded(config, database.name, dump + TRAILER, effort=always)
        except signals.Interrupted as error:
            caught.append(error)

    asleep = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    thread = threading.Thread(target=wait_long)
    thread.start()
    wait_for("both", lambda: database.execute(f"SELECT count(*) {asleep}") == [(2,)])
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_asked", True)
        thread.join(20)
    assert caught
    assert time.monotonic() - began < 20
    assert not [one for one in threading.enumerate() if one.name == "index-builder"]
    with contextlib.suppress(Exception):
        database.execute(f"SELECT pg_terminate_backend(pid) {asleep}")
