"""What shell scripts have put into the bucket: plain dumps without a manifest, made in every way
that scripts make them.
"""

from __future__ import annotations

import subprocess

import pytest
from psycopg import sql

from demo import sample
from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.verify.verify import verify_backup
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql, state_of

PREFIX = "postgres-backup/postgres-backup-2020-01-{day:02}_00-00-00.sql.gz"


def dumped(server, name: str, *options: str, **environment: str) -> bytes:
    return subprocess.run(
        [server.bin_dir / "pg_dump", *options],
        env=server.environment(name) | environment,
        capture_output=True,
        check=True,
    ).stdout


def packed(dump: bytes, *options: str) -> bytes:
    return subprocess.run(["gzip", *options], input=dump, capture_output=True, check=True).stdout


def codes(result: dict) -> set[str]:
    return {finding["code"] for finding in result["findings"]}


def test_dumps_as_scripts_make_them(sample_database, config, s3_client, bucket):
    """Each is loaded beside the live database, and is what it was; that it cannot be proven is
    said.
    """
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    before = rows_of(server, name)
    plain = dumped(server, name)
    half = len(plain) // 2
    ways = {
        "plain": packed(plain),
        "gzip -9": packed(plain, "-9"),
        "two members": packed(plain[:half]) + packed(plain[half:]),
        "--clean --if-exists --create": packed(
            dumped(server, name, "--clean", "--if-exists", "--create")
        ),
        "--clean": packed(dumped(server, name, "--clean")),
        "--create": packed(dumped(server, name, "--create")),
        "--no-owner --no-acl": packed(dumped(server, name, "--no-owner", "--no-acl")),
        "in another time zone": packed(dumped(server, name, PGTZ="Asia/Almaty")),
        "through the partitioned table": packed(dumped(server, name, "--load-via-partition-root")),
        "--inserts": packed(dumped(server, name, "--inserts", "--rows-per-insert=50")),
        "with a verbose pg_dump": packed(
            dumped(server, name, "--verbose", "--quote-all-identifiers")
        ),
    }
    comment = server.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        params=(name,),
    )
    live = server.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(name,))
    for day, (way, body) in enumerate(ways.items(), 1):
        key = PREFIX.format(day=day)
        s3_client.put_object(Bucket=bucket, Key=key, Body=body)
        result = restore_database(Job(settings, trust_unsigned=True), key.rpartition("/")[2])
        wanted = {"UNPROVEN", "UNSIGNED"} | ({"ROWS_NOT_COMPARED"} if way == "--inserts" else set())
        assert codes(result) == wanted, way
        assert rows_of(server, name) == before, way
        # the live database itself was not touched: it is the one that is kept
        assert (
            server.execute(
                "SELECT oid FROM pg_database WHERE datname = %s", params=(result["kept_database"],)
            )
            == live
        ), way
        live = server.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(name,))
        assert (
            server.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
                params=(name,),
            )
            == comment
        )
        run_sql(server, "postgres", "DROP DATABASE {kept}", kept=result["kept_database"])
    restore_database(Job(settings, trust_unsigned=True), PREFIX.format(day=8).rpartition("/")[2])


def test_one_that_was_verified_first(sample_database, config, s3_client, bucket):
    """Its manifest has hashes of rows as another time zone writes them; read back in UTC they
    differ, and are no damage.
    """
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    before = rows_of(server, name)
    key = PREFIX.format(day=1)
    s3_client.put_object(
        Bucket=bucket, Key=key, Body=packed(dumped(server, name, PGTZ="Asia/Almaty"))
    )
    verify_backup(Job(settings), key.rpartition("/")[2])
    sample.destroy(server.dsn(name))
    result = restore_database(Job(settings, trust_unsigned=True), key.rpartition("/")[2])
    assert codes(result) == {"UNSIGNED"}
    assert rows_of(server, name) == before


def test_what_is_no_whole_dump_stays_outside(sample_database, config, s3_client, bucket):
    """psql alone would take the cut ones for good."""
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    before, all_databases = state_of(server, name), databases_of(server)
    plain = dumped(server, name)
    middle_of_rows = plain.index(b"COPY public.messages ") + 5000
    assert b"\\." not in plain[middle_of_rows - 4000 : middle_of_rows]
    other = f"{name}_other"
    run_sql(server, "postgres", "CREATE DATABASE {other}", other=other)
    cluster = subprocess.run(
        [server.bin_dir / "pg_dumpall"], env=server.environment(), capture_output=True, check=True
    ).stdout
    cases = {
        "an empty gzip, as a dead pg_dump leaves": (packed(b""), ""),
        "cut in the rows": (packed(plain[:middle_of_rows]), ""),
        "cut at a line of the rows": (packed(plain[: plain.index(b"\n", middle_of_rows) + 1]), ""),
        "cut between statements": (packed(plain[: plain.rindex(b"\nALTER TABLE") + 1]), ""),
        "cut as gzip": (packed(plain)[:-1000], ""),
        "two databases": (packed(plain + f"\\connect {other}\n".encode() + plain), ""),
        "all of a server": (packed(cluster), "pg_dumpall"),
        "a shell in it": (
            packed(
                plain.replace(
                    b"SET row_security = off;", b"SET row_security = off;\n\\! touch /tmp/never", 1
                )
            ),
            "psql command",
        ),
        "a role for all": (
            packed(
                plain.replace(b"SET row_security = off;", b"CREATE ROLE intruder SUPERUSER;", 1)
            ),
            "server",
        ),
        "no dump at all": (packed(b"<html>Sign in</html>"), ""),
        "not even packed": (b"<html>Sign in</html>", ""),
    }
    for day, (what, (body, words)) in enumerate(cases.items(), 1):
        key = PREFIX.format(day=day)
        s3_client.put_object(Bucket=bucket, Key=key, Body=body)
        with pytest.raises((BadBackupError, DatabaseError)) as caught:
            restore_database(Job(settings, trust_unsigned=True), key.rpartition("/")[2])
        assert words in str(caught.value), (what, str(caught.value))
        assert caught.value.hint, what
        assert "Traceback" not in str(caught.value)
    assert state_of(server, name) == before
    assert databases_of(server) == all_databases | {other}


def test_a_role_that_nobody_saved(sample_database, config, s3_client, bucket):
    """The error has the statement that helps."""
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    app = sample.role_names(sample_database.role_prefix)["app"]
    key = PREFIX.format(day=1)
    dump = dumped(server, name).replace(app.encode(), b"role_that_went")
    s3_client.put_object(Bucket=bucket, Key=key, Body=packed(dump))
    before, all_databases = rows_of(server, name), databases_of(server)
    with pytest.raises(DatabaseError, match='role "role_that_went" does not exist') as caught:
        restore_database(Job(settings, trust_unsigned=True), key.rpartition("/")[2])
    assert caught.value.hint == 'Create it first: CREATE ROLE "role_that_went";'
    assert (rows_of(server, name), databases_of(server)) == (before, all_databases)
    server.execute(sql.SQL("CREATE ROLE role_that_went"))
    restore_database(Job(settings, trust_unsigned=True), key.rpartition("/")[2])


def test_roles_that_a_script_did_not_save_are_named_all_at_once(
    database, config, s3_client, bucket
):
    server, name = database.server, database.name
    settings = as_superuser(config, server)
    dump = dumped(server, name).replace(
        b"\n--\n-- PostgreSQL database dump complete",
        b"""
CREATE TABLE public.t (i int);
CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$ SELECT 1; -- no
ALTER TABLE public.t OWNER TO nobody;
$$;
ALTER TABLE public.t OWNER TO clerk;
GRANT SELECT ON TABLE public.t TO "B o""s" WITH GRANT OPTION;
GRANT SELECT ON TABLE public.t TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE gone IN SCHEMA public GRANT SELECT ON TABLES TO reader;
CREATE POLICY p ON public.t TO one, "t,wo" USING ((i > 0));
CREATE POLICY q ON public.t FOR SELECT TO three;

--
-- PostgreSQL database dump complete""",
    )
    assert b"clerk" in dump
    key = PREFIX.format(day=1)
    s3_client.put_object(Bucket=bucket, Key=key, Body=packed(dump))
    before = databases_of(server)
    for in_place in (False, True):
        with pytest.raises(DatabaseError) as caught:
            restore_database(
                Job(settings, trust_unsigned=True), key.rpartition("/")[2], in_place_wanted=in_place
            )
        assert 'lacks the roles B o"s, clerk, gone, one, reader, t,wo, three, which' in str(
            caught.value.message
        )
        assert 'CREATE ROLE "B o""s"; CREATE ROLE "clerk";' in caught.value.hint
    assert databases_of(server) == before
