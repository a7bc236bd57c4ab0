"""A plain dump into a database, and what is said where it does not load."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest

from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.machine import signals
from postgres_backup.postgresql.load import Load
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


def test_a_load_that_is_not_finished_leaves_nothing_in_a_transaction(dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    with Load(config.settings, database.name, transaction=True) as load:
        load.feed(dump)
        assert load.inspect().complete
    assert database.execute("SELECT to_regclass('users')::text") == [(None,)]


def loaded(config, name: str, dump: bytes) -> None:
    with Load(config.settings, name, transaction=True) as load:
        load.feed(dump)
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
            loaded(config, database.name, altered)
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
        (rows, "line 7: duplicate key .*SQLSTATE 23505"),
        (b"SELECT 1;\n\nSELECT\n  nothing();\n", "line 8: function nothing.* does not exist"),
        (b"INSERT INTO public.t VALUES (1,'x');\n" * 2, "line 6: duplicate key"),
    ):
        with Load(config.settings, database.name) as load:
            with pytest.raises(DatabaseError, match=said) as caught:
                load.feed(HEADER + text + TRAILER)
                load.finish()
            assert "private matter" not in str(caught.value)
            assert caught.value.hint


def test_an_error_is_noticed_while_it_is_fed(database, config):
    with (
        Load(config.settings, database.name) as load,
        pytest.raises(DatabaseError, match="line 5: .*no_such_function"),
    ):
        load.feed(HEADER + b"SELECT no_such_function();\n" + b"SELECT 1;\n" * 2000)


def test_rows_of_a_copy_that_failed_are_nothing_but_rows(database, config):
    """However many come, and whatever they say."""
    as_owner(database, "CREATE TABLE t (id int)")
    with Load(config.settings, database.name) as load:
        with pytest.raises(DatabaseError, match='line 6: invalid input syntax .*"DROP TABLE t;"'):
            load.feed(HEADER + b"COPY t (id) FROM stdin;\nDROP TABLE t;\n")
            for _ in range(100):
                load.feed(b"DROP TABLE t;\n" * 10_000)
            load.feed(b"\\.\n" + TRAILER)
    assert database.execute("SELECT count(*) FROM t") == [(0,)]


def test_large_objects_stay_open_as_long_as_the_dump_keeps_them(database, config):
    """Their writes are more than a transaction of ours takes."""
    write = b"SELECT pg_catalog.lowrite(0, '\\x%s');\n" % (b"41" * 100)
    text = b"SELECT pg_catalog.lo_create('7');\nBEGIN;\nSELECT pg_catalog.lo_open('7', 131072);\n"
    for transaction in (False, True):
        with Load(config.settings, database.name, transaction=transaction) as load:
            load.feed(HEADER + text + write * 2500 + b"SELECT pg_catalog.lo_close(0);\nCOMMIT;\n")
            load.finish()
        assert database.execute("SELECT length(lo_get(7)), lo_unlink(7)") == [(250_000, 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"VACUUM;\n", "line 5: VACUUM cannot"),
        (b"SELECT 1;\nCREATE INDEX CONCURRENTLY i ON t (id);\n", "line 6: CREATE INDEX"),
    ],
)
def test_what_cannot_run_in_a_transaction(text, words, database, config):
    as_owner(database, "CREATE TABLE t (id int)")
    with Load(config.settings, database.name) as load:
        with pytest.raises(DatabaseError, match=words) as caught:
            load.feed(HEADER + text + TRAILER)
            load.finish()
        assert "run it by hand afterwards" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"SELECT 1;\nROLLBACK;\n", "TRANSACTION_STATEMENT"),
        (b"BEGIN;\nSELECT 1;\n", "TRANSACTION_STATEMENT"),
        (b"RESET ALL; SET NAMES 'SJIS';\n", "READS_DIFFERENTLY"),
        (b"SET NAMES 'SJIS';\n", "READS_DIFFERENTLY"),
        (b'SET "standard_conforming_strings" = off;\n', "READS_DIFFERENTLY"),
        (
            b"DO $$BEGIN PERFORM set_config('standard_conforming_' || 'strings', 'off', false);"
            b"END$$;\n",
            "READS_DIFFERENTLY",
        ),
        (b"CREATE TABLE t (id int);\nSELECT '\0';\n", "NUL_BYTE"),
    ],
)
@pytest.mark.parametrize("transaction", [False, True])
def test_what_bends_the_load_is_refused_by_name(transaction, text, code, database, config):
    with Load(config.settings, database.name, transaction=transaction) as load:
        with pytest.raises(BadBackupError) as caught:
            load.feed(HEADER + b"CREATE TABLE gone (id int);\n" + text + TRAILER)
            load.finish()
        assert [finding["code"] for finding in caught.value.findings] == [code]
    assert database.execute("SELECT to_regclass('gone')::text") == [(None,)]


def test_two_commands_where_the_guard_sees_one(database, config):
    """Should it ever: the server refuses."""
    as_owner(database, "CREATE TABLE t (id int)")
    with Load(config.settings, database.name) as load:
        load.statement(Statement(b"SELECT 1; DROP TABLE t", 3))
        with pytest.raises(DatabaseError, match="line 3: cannot insert multiple commands"):
            load.finish()


def test_an_answer_that_would_fill_the_memory(database, config):
    with (
        Load(config.settings, database.name) as load,
        pytest.raises(DatabaseError, match="line 5: the statement returns more than any"),
    ):
        load.feed(HEADER + b"SELECT repeat('x', 40000000);\n")
        load.finish()


def test_remarks_of_the_server_go_nowhere(database, config, capfd):
    text = b"DO $$BEGIN FOR i IN 1..40000 LOOP RAISE WARNING '%', repeat('x', 900); END LOOP; END$$;\n"
    with Load(config.settings, database.name) as load:
        load.feed(HEADER + text + TRAILER)
        load.finish()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("standard", [b"on", b"off"])
def test_a_dump_whose_characters_hide_backslashes(standard, database, config):
    """In SJIS \x95\\ is one character; after it a quote counts."""
    strings = b"SET standard_conforming_strings = %s;\n" % standard
    quoted = (b"" if standard == b"off" else b"E") + b"'\x95\\;'"
    with Load(config.settings, database.name) as load:
        load.feed(
            HEADER + b"SET client_encoding = 'SJIS';\n" + strings + b"CREATE TABLE t (a text);\n"
            b"COMMENT ON TABLE t IS " + quoted + b";\nCOPY t (a) FROM stdin;\n\x95\\\\\n\\.\n"
            b"INSERT INTO t VALUES (" + quoted + b");\n" + TRAILER
        )
        load.finish()
    assert database.execute("SELECT obj_description('t'::regclass)") == [("\u8868;",)]
    assert ("\u8868;",) in database.execute("SELECT a FROM t")


def test_what_is_dropped_first_may_be_missing_and_nothing_else(database, config):
    dropping = (
        b"SET no_such_setting_of_a_newer_server = 0;\nALTER TABLE ONLY public.a DROP CONSTRAINT b;\n"
        b"DROP TABLE public.a;\nDROP SCHEMA s;\nDROP FUNCTION s.f(integer);\n"
        b"SELECT pg_catalog.lo_unlink('77');\n"
        b"CREATE OR REPLACE VIEW public.v AS SELECT 1 AS a;\nDROP VIEW public.w;\nDROP VIEW v;\n"
    )
    making = b"CREATE TABLE public.a (b integer);\n"
    with Load(config.settings, database.name, cleaning=True) as load:
        load.feed(HEADER + dropping + making + TRAILER)
        load.finish()
    for text, line in ((b"DROP TABLE;\n", 5), (making.replace(b".a", b".c") + b"DROP TABLE d;\n", 6)):
        with (
            Load(config.settings, database.name, cleaning=True) as load,
            pytest.raises(DatabaseError, match=f"line {line}: "),
        ):
            load.feed(HEADER + text + TRAILER)
            load.finish()
    assert database.execute("SELECT to_regclass('a')::text, to_regclass('c')::text") == [("a", None)]


def test_asked_to_end_a_load_ends_within_a_moment(database, config):
    """In the thread of pg_restore's output no signal arrives."""
    began = time.monotonic()
    caught = []

    def wait_long() -> None:
        try:
            with Load(config.settings, database.name) as load:
                load.feed(HEADER + b"SELECT pg_sleep(60);\n")
                load.finish()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait_long)
    thread.start()
    wait_for(
        "the sleep",
        lambda: database.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_asked", True)
        thread.join(10)
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    assert isinstance(caught[0], signals.Interrupted)
    assert time.monotonic() - began < 10
