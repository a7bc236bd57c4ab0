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
