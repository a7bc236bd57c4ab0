"""Dumps that whoever may write to the bucket could put there: what is restored from them runs
nowhere but in the side database.

The first five passed the guard of 0.1.0, which imitated psql's lexer and was the only barrier. Each
has a canary: a file that a command on the client or on the server would write.
"""

from __future__ import annotations

import contextlib
import gzip
import random
import subprocess
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings

from demo.postgres_server import find_programs
from postgres_backup.errors import BadBackupError, DatabaseError, PostgresBackupError
from postgres_backup.job import Job
from postgres_backup.postgresql.load import Load
from postgres_backup.restore.database import restore_database, undo_restore
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.properties import SHORT

HEADER = b"--\n-- PostgreSQL database dump\n--\n\n"
TRAILER = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"
SHELL = b"\\! touch <canary>\n"
HIDDEN = b"'\n;\n" + SHELL + b"';\n"
DUMPS = {
    "a NUL, behind which psql reads nothing": b"SELECT 1\0 " + HIDDEN,
    "a lead byte that hides a quote": (
        b"SET client_encoding = 'SJIS';\nSELECT '\x95'' ;\n" + SHELL + b"' ;\n"
    ),
    "standard_conforming_strings by a DO block": (
        b"DO $$BEGIN PERFORM set_config('standard_conforming_' || 'strings', 'off', false);"
        b" END$$;\n"
        b"SELECT 'a\\'';\n" + SHELL + b"';\n"
    ),
    "standard_conforming_strings by a computed name": (
        b"SELECT set_config('standard_conforming_' || 'strings', 'off', false);\n"
        b"SELECT 'a\\'';\n" + SHELL + b"';\n"
    ),
    "standard_conforming_strings by a quoted name": (
        b"SET \"standard_conforming_strings\" = off;\nSELECT 'a\\'';\n" + SHELL + b"';\n"
    ),
    "a psql variable filled by RAISE": (
        b"DO $$BEGIN RAISE EXCEPTION ''''; END$$;\nSELECT :LAST_ERROR_MESSAGE " + HIDDEN
    ),
    "rows of a COPY that fails where errors do not count": (
        b"COPY public.nothing (a) FROM stdin;\n" + SHELL + b"\\.\n"
    ),
    "a COPY from a program, behind a nested comment": (
        b"CREATE TABLE public.t (a text);\n"
        b"COPY public.t /* /* */ FROM stdin -- */ FROM PROGRAM 'touch <canary>'\n;\n1\n\\.\n"
    ),
    "a role called mapping": b"CREATE USER mapping SUPERUSER;\n",
    "a library": b"LOAD '/tmp/of_nobody.so';\n",
}


@pytest.fixture
def canary(tmp_path) -> Path:
    """A file that the server may write too."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)
    return tmp_path / "canary"


@pytest.fixture
def live(database):
    run_sql(database.server, database.name, "CREATE TABLE precious AS SELECT 1 AS id")
    return database


def elsewhere(live) -> object:
    """Everything that a dump for a side database must not change."""
    server = live.server
    return [
        databases_of(server),
        server.execute("SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid' FROM pg_database d"),
        server.execute("SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY rolname"),
        server.execute("SELECT * FROM pg_auth_members ORDER BY 1, 2"),
        server.execute("SELECT spcname FROM pg_tablespace"),
        server.execute("SELECT * FROM pg_db_role_setting ORDER BY 1, 2"),
        server.execute("SELECT name, setting FROM pg_file_settings ORDER BY 1"),
        server.execute("SELECT relname FROM pg_class ORDER BY 1", live.name),
        server.execute("SELECT id FROM precious", live.name),
    ]


def as_archive(live, folder: Path, said: bytes) -> bytes:
    """A custom archive in whose table of contents somebody else's statements stand."""
    room = f"COMMENT ON TABLE public.precious IS '{'x' * 600}';\n".encode()
    run_sql(live.server, live.name, room.decode())
    file = folder / "archive"
    dump = [
        find_programs(live.server.major) / "pg_dump",
        "-Fc",
        "-f",
        file,
        live.server.dsn(live.name),
    ]
    subprocess.run(dump, check=True)
    run_sql(live.server, live.name, "COMMENT ON TABLE public.precious IS NULL")
    written = file.read_bytes()
    assert written.count(room) == 1
    return written.replace(room, said.ljust(len(room), b"\n"))


@pytest.mark.every_major
def test_nothing_runs_but_in_the_side_database(live, config, s3_client, bucket, canary):
    """Plain dumps and custom archives, restored by the owner and by a superuser, who could do all
    of it: by turns, and on another major by the other.
    """
    run_sql(live.server, live.name, "ALTER TABLE precious OWNER TO {owner}", owner=live.owner)
    for number, (what, said) in enumerate(DUMPS.items()):
        said = said.replace(b"<canary>", bytes(canary))
        custom, superuser = (number + live.server.major) % 2 == 0, number % 4 < 2
        settings = as_superuser(config, live.server) if superuser else config.settings
        ending, body = ".sql.gz", gzip.compress(HEADER + said + TRAILER)
        if custom:
            ending, body = ".dump", as_archive(live, canary.parent, said)
        name = f"postgres-backup-2020-01-{number + 1:02}_00-00-00{ending}"
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body)
        before = elsewhere(live)
        kept = ""
        with contextlib.suppress(BadBackupError, DatabaseError):
            kept = restore_database(Job(settings, trust_unsigned=True), name)["kept_database"] or ""
        assert not canary.exists(), what
        if kept:
            # what a lexer of psql took for more is here a comment, a text or nothing
            assert live.server.execute("SELECT id FROM precious", kept) == [(1,)], what
            undo_restore(Job(settings))
        since = 2 if kept else 0  # its databases are there
        assert elsewhere(live)[since:] == before[since:], what
        print(what, "custom" if custom else "plain", "restored" if kept else "refused")


# --- statements at random

HARM = [
    SHELL, b"SELECT 1 \\g <canary>\n", b"\\o |touch <canary>\n", b"\\copy t TO '<canary>'\n",
    b"COPY (SELECT 1) TO PROGRAM 'touch <canary>';", b"COPY t FROM PROGRAM 'touch <canary>';",
    b"COPY t TO '<canary>';", b"COPY t (a) FROM PROGRAM $$touch <canary>$$;\n",
    b"DROP DATABASE <live>;", b"ALTER DATABASE <live> RENAME TO gone;", b"DROP ROLE <owner>;",
    b"ALTER DATABASE <live> SET work_mem = '1MB';", b"CREATE ROLE intruder;",
    b"CREATE USER mapping;", b"GRANT pg_execute_server_program TO <owner>;",
    b"ALTER ROLE <owner> SUPERUSER;", b"COMMENT ON DATABASE <live> IS 'x';",
    b"ALTER SYSTEM SET work_mem = '1MB';", b"CREATE DATABASE another;",
    b"ALTER ROLE ALL SET work_mem = '1MB';", b"\\connect <live>\n", b"LOAD 'nothing';",
    b"REASSIGN OWNED BY <owner> TO CURRENT_USER;",
    b"ALTER USER <owner> IN DATABASE <live> RESET ALL;",
]  # fmt: skip
CONFUSION = [
    b"'", b"''", b'"', b"E'", b"U&'", b"$$", b"$a$", b"--", b"/*", b"*/", b"\\", b"\\'", b"\0",
    b"\x95", b"\x81\x5c", b"\xe0'", b";", b";\n", b"\n", b"\r", b"\v", b"(", b")", b"BEGIN",
    b"COMMIT",
    b"COMMIT;\n", b"ROLLBACK;\n", b"BEGIN;\n", b"END", b"CASE", b"BEGIN ATOMIC", b"SAVEPOINT x;",
    b"PREPARE TRANSACTION 'x';", b"COMMIT AND CHAIN;\n", b"\\.\n", b"\n\\.\n", b"\\.", b":x",
    b":LAST_ERROR_MESSAGE", b"FROM stdin", b"COPY t (a) FROM stdin;\n",
    b"COPY nothing FROM stdin;\n",
    b"copy t from stdin", b"SELECT ", b"SELECT 1;\n", b"INSERT INTO t VALUES (1);\n",
    b"COMMENT ON ",
    b"SET client_encoding = 'SJIS';\n", b"SET NAMES 'BIG5';\n", b"SET client_encoding TO gbk;\n",
    b"SET client_encoding = 'UTF8';\n", b"SET standard_conforming_strings = off;\n",
    b"SET \"standard_conforming_strings\" = off;\n", b"RESET ALL;\n", b"\\restrict x\n",
    b"SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);\n",
    b"DO $$BEGIN PERFORM set_config('client_' || 'encoding', 'SJIS', false); END$$;\n",
    b"DO $$BEGIN RAISE EXCEPTION ''''; END$$;\n", b"CREATE TABLE IF NOT EXISTS t (a text);\n",
    b"ALTER TABLE t ", b"CREATE FUNCTION f() RETURNS text LANGUAGE sql ", b"-- Name: x\n",
    b"DROP TABLE nothing;\n", b" ", b"\t", b"1", b"x", b"GRANT ", b"CREATE USER ",
    b"\\unrestrict x\n",
]  # fmt: skip
#: soups in every run, and by ``make fuzz``
SOUPS, MANY_SOUPS = 150, 100_000


@pytest.mark.hypothesis  # part of make fuzz
def test_soups_of_statements_do_nothing_elsewhere(live, config, new_database, canary):
    """Whatever the guard takes them for, and the server."""
    rng = random.Random(20)
    settings, side = as_superuser(config, live.server), new_database()
    names = {b"<canary>": bytes(canary), b"<live>": live.name.encode()}
    names[b"<owner>"] = live.owner.encode()
    loaded = 0
    before = elsewhere(live)
    rounds = SOUPS if hypothesis_settings().max_examples == SHORT else MANY_SOUPS
    for number in range(1, rounds + 1):
        parts = rng.choices(CONFUSION, k=rng.randrange(9)) + rng.choices(HARM, k=rng.randrange(3))
        rng.shuffle(parts)
        soup = rng.choice((b"", b" ", b"\n")).join(parts)
        for name, meant in names.items():
            soup = soup.replace(name, meant)
        dump, kinds = HEADER + soup + b";\n" + TRAILER, {"transaction": rng.random() < 0.3}
        width = rng.choice((1, 3, 1000))
        with (
            contextlib.suppress(PostgresBackupError),
            Load(settings, side.name, cleaning=rng.random() < 0.5, **kinds) as load,
        ):
            for at in range(0, len(dump), width):
                load.feed(dump[at : at + width])
            load.inspect()
            load.finish()
            loaded += 1
        assert not canary.exists(), soup
        if number % 50 == 0 or number == rounds:
            assert elsewhere(live) == before, (number, soup)
    print(f"{rounds} soups, {loaded} of them loaded")
    assert loaded > rounds // 20
    with psycopg.connect(side.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
