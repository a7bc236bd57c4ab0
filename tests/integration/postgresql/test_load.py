"""A plain dump into a database, and what is said where it does not load."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.machine import signals
from postgres_backup.postgresql.load import Load
from postgres_backup.postgresql.ways import AnewError, Way
from postgres_backup.stream.guard import Statement
from tests.integration.restoring import rows_of, run_sql
from tests.waiting import wait_for


@pytest.fixture
def dump(database) -> bytes:
    run_sql(
        database.server,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n",
        owner=database.owner,
    )
    return subprocess.run(
        [database.server.bin_dir / "pg_dump"],
        env=database.server.environment(database.name),
        capture_output=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("transaction", [False, True], ids=["by table", "in one transaction"])
def test_what_was_dumped_stands_in_another_database(
    transaction, dump, database, new_database, config
):
    other = new_database(owner=f"{database.owner}_too")
    run_sql(
        other.server,
        "postgres",
        "ALTER DATABASE {name} OWNER TO {owner}",
        name=other.name,
        owner=database.owner,
    )
    with Load(config.settings, other.name, transaction=transaction) as load:
        for start in range(0, len(dump), 1000):
            load.feed(dump[start : start + 1000])
        report = load.inspect()
        load.finish()
    assert (report.complete, report.rows) == (True, 1000)
    assert rows_of(other.server, other.name) == rows_of(database.server, database.name)


@pytest.mark.parametrize("transaction", [False, True], ids=["by table", "in one transaction"])
def test_rows_of_a_table_that_is_made_new_are_written_frozen(transaction, dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    rows = b"".join(b"%d\n" % number for number in range(1, 5001))
    dump = re.sub(rb"(?<=FROM stdin;\n)[\d\n]+", lambda _: rows, dump)
    loaded(config, database.name, dump, transaction=transaction)
    database.execute("ANALYZE users")
    told = "SELECT relpages > 1, relallvisible > 0, reltuples FROM pg_class WHERE relname = 'users'"
    assert database.execute(told) == [(True, not transaction, 5000)]


def test_a_load_that_is_not_finished_leaves_nothing_in_a_transaction(dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    with Load(config.settings, database.name, transaction=True) as load:
        load.feed(dump)
        assert load.inspect().complete
    assert database.execute("SELECT to_regclass('users')::text") == [(None,)]


def loaded(config, name: str, *pieces: bytes, **kinds: bool) -> None:
    with Load(config.settings, name, **kinds) as load:
        for piece in pieces:
            load.feed(piece)
        load.inspect()
        load.finish()


def test_a_statement_that_fails_is_told_with_what_helps(dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    for altered, message, hint in (
        (
            dump.replace(database.owner.encode(), b"nobody_of_that_name"),
            'role "nobody_of_that_name" does not exist',
            'Create it first: CREATE ROLE "nobody_of_that_name";',
        ),
        (
            dump.replace(b"CREATE TABLE", b"CREATE EXTENSION no_such_extension;\nCREATE TABLE", 1),
            'extension "no_such_extension" is not available',
            "Install the package that brings the extension no_such_extension",
        ),
    ):
        with pytest.raises(DatabaseError, match=message) as caught:
            loaded(config, database.name, altered, transaction=True)
        assert caught.value.hint.startswith(hint)
    assert database.execute("SELECT to_regclass('users')::text") == [(None,)]


def as_owner(database, *statements: str) -> None:
    run_sql(database.server, database.name, "SET ROLE {owner}", *statements, owner=database.owner)


HEADER = b"--\n-- PostgreSQL database dump\n--\n\n"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"


def test_what_was_not_read_to_its_end_is_not_done(database, config):
    """Half a statement may be a whole one; a whole one is nothing before the commit."""
    as_owner(database, "CREATE TABLE t AS SELECT 1 AS id UNION SELECT 2")
    for text in (b"DELETE FROM t", b"DELETE FROM t;\nSELECT 1"):  # ... WHERE id = 1;
        with Load(config.settings, database.name) as load:
            load.feed(HEADER + text)
        assert database.execute("SELECT count(*) FROM t") == [(2,)]


def test_an_error_names_the_cause_and_its_line_and_never_a_row(database, config):
    as_owner(database, "CREATE TABLE t (id int PRIMARY KEY, who text)")
    rows = b"COPY public.t (id, who) FROM stdin;\n1\tprivate matter\n1\tprivate matter\n\\.\n\n"
    for text, said in (
        (rows, r"line 7: duplicate key .*SQLSTATE 23505"),
        (b"SELECT 1;\n\nSELECT\n  nothing();\n", r"line 8: function nothing.* does not exist"),
        (b"INSERT INTO public.t VALUES (1,'x');\n" * 2, r"line 6: duplicate key"),
        (b"VACUUM;\n", r"line 5: VACUUM cannot .*\n.* run it by hand afterwards"),
        (b"SELECT 1;\nCREATE INDEX CONCURRENTLY i ON t (id);\n", r"line 6: CREATE INDEX"),
        (b"SELECT repeat('x', 100000000);\n", r"line 5: the statement returns more than any"),
    ):
        with pytest.raises(DatabaseError) as caught:
            loaded(config, database.name, HEADER + text + TRAILER)
        assert re.search(said, str(caught.value)), str(caught.value)
        assert "private matter" not in str(caught.value)
        assert caught.value.hint


def test_an_error_is_noticed_while_it_is_fed(database, config):
    with (
        Load(config.settings, database.name) as load,
        pytest.raises(DatabaseError, match=r"line 5: .*no_such_function"),
    ):
        load.feed(HEADER + b"SELECT no_such_function();\n" + b"SELECT 1;\n" * 2000)


def test_rows_of_a_copy_that_failed_are_nothing_but_rows(database, config):
    """However many come, and whatever they say."""
    as_owner(database, "CREATE TABLE t (id int)")
    begin, row = b"COPY t (id) FROM stdin;\n", b"DROP TABLE t;\n"
    dump = [HEADER + begin + row, *[row * 10_000] * 100, b"\\.\n" + TRAILER]
    with pytest.raises(DatabaseError, match=r'line 6: invalid input syntax .*"DROP TABLE t;"'):
        loaded(config, database.name, *dump)
    assert database.execute("SELECT count(*) FROM t") == [(0,)]


def test_large_objects_stay_open_as_long_as_the_dump_keeps_them(database, config):
    """Their writes are more than a transaction of ours takes."""
    write = b"SELECT pg_catalog.lowrite(0, '\\x%s');\n" % (b"41" * 100)
    dump = (
        b"SELECT pg_catalog.lo_create('7');\nBEGIN;\nSELECT pg_catalog.lo_open('7', 131072);\n"
        + write * 2500
        + b"SELECT pg_catalog.lo_close(0);\nCOMMIT;\n"
    )
    for transaction in (False, True):
        loaded(config, database.name, HEADER + dump + TRAILER, transaction=transaction)
        assert database.execute("SELECT length(lo_get(7)), lo_unlink(7)") == [(250_000, 1)]


def test_what_bends_the_load_is_refused_by_name(database, config):
    for text, code in (
        (b"SELECT 1;\nROLLBACK;\n", "TRANSACTION_STATEMENT"),
        (b"BEGIN;\nSELECT 1;\n", "TRANSACTION_STATEMENT"),
        (b"RESET ALL; SET NAMES 'SJIS';\n", "READS_DIFFERENTLY"),
        (b'SET "standard_conforming_strings" = off;\n', "READS_DIFFERENTLY"),
        (
            b"DO $$BEGIN PERFORM set_config('client_' || 'encoding', 'BIG5', false); END$$;\n",
            "READS_DIFFERENTLY",
        ),
        (b"CREATE TABLE t (id int);\nSELECT '\0';\n", "NUL_BYTE"),
    ):
        dump = HEADER + b"CREATE TABLE gone (id int);\n" + text + TRAILER
        for transaction in (False, True):
            with pytest.raises(BadBackupError) as caught:
                loaded(config, database.name, dump, transaction=transaction)
            assert [finding["code"] for finding in caught.value.findings] == [code]
            assert caught.value.hint
            assert database.execute("SELECT to_regclass('gone')::text") == [(None,)]


def test_two_commands_where_the_guard_sees_one(database, config):
    """Should it ever: the server refuses."""
    as_owner(database, "CREATE TABLE t (id int)")
    with Load(config.settings, database.name) as load:
        load.statement(Statement(b"SELECT 1; DROP TABLE t", 3))
        with pytest.raises(DatabaseError, match="line 3: cannot insert multiple commands"):
            load.finish()


def test_remarks_of_the_server_go_nowhere(database, config, capfd):
    loop = b"FOR i IN 1..40000 LOOP RAISE WARNING '%', repeat('x', 2000); END LOOP;"
    loaded(config, database.name, HEADER + b"DO $$BEGIN " + loop + b" END$$;\n" + TRAILER)
    assert capfd.readouterr() == ("", "")


def test_a_dump_whose_characters_hide_backslashes(database, config):
    r"""In SJIS \x95\x5c is one character; after it a quote counts."""
    for standard, quoted in ((b"on", b"E'\x95\\;'"), (b"off", b"'\x95\\;'")):
        dump = (
            b"SET client_encoding = 'SJIS';\nSET standard_conforming_strings = " + standard
            + b";\nDROP TABLE IF EXISTS t;\nCREATE TABLE t (a text);\n"
            b"COMMENT ON TABLE t IS " + quoted + b";\nCOPY t (a) FROM stdin;\n\x95\\\\\n\\.\n"
            b"INSERT INTO t VALUES (" + quoted + b");\n"
        )  # fmt: skip
        loaded(config, database.name, HEADER + dump + TRAILER)
        assert database.execute("SELECT obj_description('t'::regclass)") == [("\u8868;",)]
        assert ("\u8868;",) in database.execute("SELECT a FROM t")


def test_what_is_dropped_first_may_be_missing_and_nothing_else(database, config):
    dropping = (
        b"SET no_such_setting_of_a_newer_server = 0;\n"
        b"ALTER TABLE ONLY public.a DROP CONSTRAINT b;\n"
        b"DROP TABLE public.a;\nDROP SCHEMA s;\nDROP FUNCTION s.f(integer);\n"
        b"SELECT pg_catalog.lo_unlink('77');\n"
        b"CREATE OR REPLACE VIEW public.v AS SELECT 1 AS a;\nDROP VIEW public.w;\nDROP VIEW v;\n"
    )
    making = b"CREATE TABLE public.a (b integer);\n"
    loaded(config, database.name, HEADER + dropping + making + TRAILER, cleaning=True)
    another = making.replace(b".a", b".c")
    for text, line in ((b"DROP TABLE;\n", 5), (another + b"DROP TABLE d;\n", 6)):
        with pytest.raises(DatabaseError, match=f"line {line}: "):
            loaded(config, database.name, HEADER + text + TRAILER, cleaning=True)
    found = database.execute("SELECT to_regclass('a')::text, to_regclass('c')::text")
    assert found == [("a", None)]


@contextlib.contextmanager
def waits_forever(database) -> Iterator[psycopg.Connection]:
    """A session of whom another one is ended, where the two wait for each other."""
    with psycopg.connect(database.server.dsn(database.name), autocommit=True) as connection:
        connection.execute("SET deadlock_timeout = '10min'")
        yield connection


@contextlib.contextmanager
def doing(database, connection: psycopg.Connection, statement: str) -> Iterator[None]:
    """It does that meanwhile, and waits for a lock as one enters."""
    waiting = f"SELECT 1 FROM pg_locks WHERE pid = {connection.info.backend_pid} AND NOT granted"
    thread = threading.Thread(target=connection.execute, args=(statement,))
    thread.start()
    try:
        wait_for(statement, lambda: database.execute(waiting))
        yield
        thread.join(30)
    finally:
        connection.cancel_safe()
        thread.join()


PARTS = b"""CREATE TABLE public.orders (id integer NOT NULL);
CREATE TABLE public.parted (id integer NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE public.part (id integer NOT NULL);
ALTER TABLE ONLY public.parted ATTACH PARTITION public.part FOR VALUES FROM (0) TO (99999);
COPY public.part (id) FROM stdin;
%s\\.
ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
CREATE INDEX parted_id ON ONLY public.parted USING btree (id);
CREATE INDEX part_id ON public.part USING btree (id);
COPY public.orders (id) FROM stdin;
%s\\.
ALTER INDEX public.parted_id ATTACH PARTITION public.part_id;
"""
NUMBERS = b"".join(b"%d\n" % number for number in range(5000))


def test_whoever_vacuums_a_partition_is_not_waited_for_in_a_circle(database, config):
    """He has the table, and waits for its index; the load has the index, and a foreign key wants
    the table.
    """
    key = (
        b"ALTER TABLE public.parted\n    ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES orders(id);\n"
    )
    dump = HEADER + PARTS % (NUMBERS, NUMBERS)
    with Load(config.settings, database.name) as load, waits_forever(database) as other:
        load.feed(dump)
        load.send(b"SELECT 1")  # that is done
        with doing(database, other, "VACUUM public.part"):
            load.feed(key + TRAILER)
            load.inspect()
            load.finish()
    [(found,)] = database.execute("SELECT count(*) FROM pg_constraint WHERE contype = 'f'")
    assert found > 1


def test_a_load_that_is_ended_for_the_sake_of_another_session_is_tried_once_more(database, config):
    """Who looks at the tables of a family locks them in another order than a dump does."""
    tables = (
        b"CREATE TABLE public.%b (id integer NOT NULL);\nCOPY public.%b (id) FROM stdin;\n%b\\.\n"
    )
    key = b"ALTER TABLE ONLY public.%b\n    ADD CONSTRAINT %b_pkey PRIMARY KEY (id);\n"

    def meet(**kinds: frozenset[Way]) -> None:
        with Load(config.settings, database.name, **kinds) as load:
            load.feed(HEADER + b"".join(tables % (name, name, NUMBERS) for name in (b"a", b"b")))
            load.send(b"SELECT 1")  # that is done
            with waits_forever(database) as other, other.transaction():
                other.execute("LOCK TABLE b IN SHARE UPDATE EXCLUSIVE MODE")
                load.feed(key % (b"a", b"a"))
                load.send(b"SELECT 1")
                with doing(database, other, "LOCK TABLE a IN ACCESS SHARE MODE"):
                    load.feed(key % (b"b", b"b") + TRAILER)
                    load.inspect()
                    load.finish()

    with pytest.raises(AnewError, match="40P01") as error:
        meet()
    assert error.value.way == Way.ONE_BY_ONE
    database.execute("DROP TABLE a, b")
    with pytest.raises(DatabaseError, match="40P01") as again:
        meet(ways=frozenset({Way.ONE_BY_ONE}))
    assert not isinstance(again.value, AnewError)
    assert "Another session takes locks" in again.value.hint


def test_asked_to_end_a_load_ends_within_a_moment(database, config):
    """In the thread of pg_restore's output no signal arrives."""
    began, caught = time.monotonic(), []

    def wait_long() -> None:
        try:
            loaded(config, database.name, HEADER + b"SELECT pg_sleep(60);\n")
        except signals.Interrupted as error:
            caught.append(error)

    asleep = " FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    thread = threading.Thread(target=wait_long)
    thread.start()
    wait_for("the sleep", lambda: database.execute("SELECT 1" + asleep))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_asked", True)
        thread.join(10)
    database.execute("SELECT pg_terminate_backend(pid)" + asleep)
    assert caught
    assert time.monotonic() - began < 10
