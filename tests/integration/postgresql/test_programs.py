"""PostgreSQL's programs as we call them: the right ones, with a name that is only a name, and no
secret in sight.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from demo.postgres_server import available_majors, find_programs
from postgres_backup.errors import DatabaseError
from postgres_backup.postgresql import programs
from postgres_backup.postgresql.load import Load
from tests.integration.restoring import run_sql


def a_program(folder, name: str, text: str):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.every_major
def test_those_of_the_servers_major(postgres, database, config):
    found = programs.find(config.settings, postgres.major)
    assert (found.directory, found.version.split(".")[0]) == (
        str(find_programs(postgres.major)),
        str(postgres.major),
    )
    assert found.knows_restrict == (
        b"\\restrict"
        in subprocess.run(
            [postgres.bin_dir / "pg_dump", "--schema-only"],
            env=postgres.environment(),
            capture_output=True,
            check=True,
        ).stdout
    )


def test_others_are_refused_with_what_to_install(database, config, tmp_path):
    for major in available_majors():
        if major != 16:
            with pytest.raises(
                DatabaseError, match=f"Failed to find pg_dump {major}: .* installed here: 16"
            ):
                programs.find(config.settings, major)
    a_program(tmp_path, "pg_dump", "echo broken >&2; exit 7")
    with pytest.raises(DatabaseError, match="broken"):
        programs.find(config.change(PG_BIN_DIR=str(tmp_path)), 16)
    a_program(tmp_path, "pg_dump", "echo 'pg_dump (PostgreSQL) 99.1'")
    with pytest.raises(DatabaseError, match=r"99\.1"):
        programs.find(config.settings, 16)
    with pytest.raises(DatabaseError, match="none"):
        programs.find(config.change(PG_BIN_DIR=str(tmp_path / "nothing")), 16)


@pytest.mark.parametrize(
    ("version", "knows"),
    [
        ("15.13", False),
        ("15.14", True),
        ("16.9", False),
        ("16.10", True),
        ("17.5", False),
        ("17.6", True),
        ("18.0", True),
    ],
)
def test_which_psql_knows_restrict(version, knows, config, database):
    assert programs.Programs(config.settings, "/nowhere", version).knows_restrict is knows


@pytest.mark.parametrize(
    "name",
    ["host=127.0.0.1 port=1", "postgresql://x@127.0.0.1:1/y", "it's \\ 'odd' ", "--help", "-x"],
)
def test_a_name_is_only_a_name(name, new_database, new_config, s3, bucket):
    made = new_database(name)
    found = programs.find(new_config(made, s3, bucket).settings, made.server.major)
    done = subprocess.run(
        [*found.argv("psql", name, "-XAtc", "SELECT current_database()")],
        env=found.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (name + "\n", "")


def test_no_secret_in_its_arguments_and_nothing_of_ours_in_its_environment(
    database, config, monkeypatch
):
    monkeypatch.setenv("PGPASSWORD", "not-this-one")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nonsense")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one-either")
    found = programs.find(config.settings, database.server.major)
    assert database.password not in " ".join(found.argv("pg_dump", database.name))
    with found.start("psql", database.name, "-XAtc", "SELECT pg_sleep(20)") as process:
        cmdline, environ = (
            Path(f"/proc/{process.child.pid}/{what}").read_bytes().split(b"\0")
            for what in ("cmdline", "environ")
        )
        assert not [word for word in cmdline if database.password.encode() in word]
        names = {entry.partition(b"=")[0].decode() for entry in environ if entry}
        assert names == {
            "PATH",
            "LC_ALL",
            "HOME",
            "PGTZ",
            "PGCONNECT_TIMEOUT",
            "PGAPPNAME",
            "PGOPTIONS",
            "PGSSLMODE",
            "PGPASSWORD",
        }


def test_settings_of_server_and_role_do_not_reach_the_dump(database, config):
    """Each of these would cut a dump short, refuse a load, or write a value in another way."""
    run_sql(
        database.server,
        "postgres",
        *(
            f"ALTER ROLE {{owner}} SET {setting}"
            for setting in (
                "statement_timeout = '1ms'",
                "lock_timeout = '1ms'",
                "default_transaction_read_only = on",
                "bytea_output = escape",
                "DateStyle = 'German'",
                "IntervalStyle = 'sql_standard'",
                "TimeZone = 'Asia/Almaty'",
                "idle_in_transaction_session_timeout = '1ms'",
            )
        ),
        owner=database.owner,
    )
    found = programs.find(config.settings, database.server.major)
    query = (
        "SELECT '\\x01ff'::bytea, '2026-02-03'::date, '2026-02-03 00:00+00'::timestamptz,"
        " interval '-1 day 2 hours'; CREATE TABLE t (id int)"
    )
    done = subprocess.run(
        found.argv("psql", database.name, "-XAqtc", query),
        env=found.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (
        0,
        "\\x01ff|2026-02-03|2026-02-03 00:00:00+00|-1 days +02:00:00\n",
    ), done.stderr


def test_how_it_ended_is_always_seen(database, config, tmp_path):
    def started(text: str) -> programs.Process:
        return programs.Process("it", [str(a_program(tmp_path, "it", text))], {"PATH": os.defpath})

    with (
        started(
            "echo noise >&2; echo 'it: error: no luck' >&2; echo 'hint: more' >&2; exit 3"
        ) as process,
        pytest.raises(DatabaseError, match="exit status 3"),
    ):
        process.check()
    with started("kill -9 $$") as process, pytest.raises(DatabaseError, match="killed by signal 9"):
        process.check()
    with started("exit 0") as process:
        process.check()
    # more complaints than a pipe holds do not stop it, and only their end is kept
    with started(
        "i=0; while [ $i -lt 20000 ]; do echo line $i of many complaints >&2; i=$((i+1)); done\n"
        "exit 1"
    ) as process:
        assert process.wait() == 1
        assert len(process.complaints) <= programs.Process.KEPT
        assert process.complaints.endswith("line 19999 of many complaints")
    with pytest.raises(DatabaseError, match="Failed to start it"):
        programs.Process("it", [str(tmp_path / "nothing")], {})
    began = time.monotonic()
    with started("exec sleep 60") as process:
        pass
    assert process.child.returncode == -15
    assert time.monotonic() - began < 5


def test_psql_that_is_ended_early_runs_no_half_statement(database, config):
    """At the end of its input psql would run what it has: half a statement may be a whole one."""
    run_sql(
        database.server,
        database.name,
        "CREATE TABLE t (id int)",
        "INSERT INTO t VALUES (1), (2)",
        "ALTER TABLE t OWNER TO {owner}",
        owner=database.owner,
    )
    found = programs.find(config.settings, database.server.major)
    with Load(found, database.name) as load:
        load.send(b"DELETE FROM t")  # ... WHERE id = 1;
        time.sleep(0.5)
    assert database.execute("SELECT count(*) FROM t") == [(2,)]


def test_an_error_names_the_cause_and_never_a_row(database, config):
    run_sql(
        database.server,
        database.name,
        "CREATE TABLE t (id int PRIMARY KEY, who text)",
        "ALTER TABLE t OWNER TO {owner}",
        owner=database.owner,
    )
    found = programs.find(config.settings, database.server.major)
    rows = (
        b"--\n-- PostgreSQL database dump\n--\n\n"
        b"COPY public.t (id, who) FROM stdin;\n1\tprivate matter\n1\tprivate matter\n\\.\n\n"
    )
    with Load(found, database.name) as load:
        load.feed(rows)
        with pytest.raises(DatabaseError, match="duplicate key") as caught:
            load.finish()
    assert "private matter" not in str(caught.value)


def test_psql_that_has_stopped_is_noticed_while_it_is_fed(database, config):
    with Load(programs.find(config.settings, database.server.major), database.name) as load:
        load.send(b"SELECT no_such_function();\n")
        with pytest.raises(DatabaseError, match="no_such_function"):
            load.send(b"SELECT 1;\n" * 200_000)  # until the pipe says that nobody reads
