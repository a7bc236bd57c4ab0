"""A restore inside the live database: one transaction, so all of it or nothing."""

from __future__ import annotations

import dataclasses
import gzip
import subprocess

import psycopg
import pytest

from demo import sample
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql, state_of


@pytest.mark.every_major
def test_the_database_becomes_what_it_was(sample_database, config):
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    run_sql(server, name, *extensions_for(server))
    whole = state_of(server, name)
    schema = schema_of(server, name)
    taken = create_backup(Job(settings))
    sample.destroy(server.dsn(name))
    run_sql(
        server,
        name,
        "CREATE SCHEMA later",
        "CREATE TABLE later.t (x int)",
        "CREATE PUBLICATION later_p FOR ALL TABLES",
        "CREATE CAST (public.user_role AS int) WITH INOUT",
        "SELECT lo_from_bytea(0, 'later')",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    )
    before = databases_of(server)
    result = restore_database(Job(settings), "latest", in_place_wanted=True)
    assert (result["in_place"], result["kept_database"], result["rows"]) == (
        True,
        None,
        taken["rows"],
    )
    assert state_of(server, name) == whole
    assert schema_of(server, name) == schema
    assert databases_of(server) == before


@pytest.mark.parametrize(("encoding", "name"), [("WIN1251", "жук"), ("LATIN1", "straße")])
def test_names_in_the_letters_of_the_databases_own_encoding(config, new_database, encoding, name):
    """What is sent behind the dump is counted in the same tables."""
    made = new_database(options=f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    settings = dataclasses.replace(as_superuser(config, made.server), databases=(made.name,))
    run_sql(made.server, made.name, f'CREATE TABLE "{name}" AS SELECT generate_series(1, 3) AS x')
    create_backup(Job(settings))
    run_sql(made.server, made.name, f'DELETE FROM "{name}" WHERE x = 2')
    restored = restore_database(Job(settings), "latest", in_place_wanted=True)
    assert restored["rows"] == 3
    assert made.server.execute(f'SELECT x FROM "{name}" ORDER BY x', made.name) == [
        (1,),
        (2,),
        (3,),
    ]


def extensions_for(server) -> list[str]:
    """The wheel's servers bring one extension, Debian's many."""
    available = {name for (name,) in server.execute("SELECT name FROM pg_available_extensions")}
    return [
        f"CREATE EXTENSION {name}" for name in ("pg_trgm", "citext", "vector") if name in available
    ]


def schema_of(server, name: str) -> list[str]:
    """The definitions, without what differs between two dumps of the same."""
    done = subprocess.run(
        [server.bin_dir / "pg_dump", "--schema-only"],
        env=server.environment(name),
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        line
        for line in done.stdout.splitlines()
        if not line.startswith(("\\restrict", "\\unrestrict"))
    ]


@pytest.mark.every_major
def test_its_owner_may_do_it(sample_database, config):
    server, name = sample_database.server, sample_database.name
    # by default nobody but a superuser is allowed to say what others granted
    before = rows_of(server, name)
    run_sql(server, name, "ALTER TABLE billing.orders DISABLE ROW LEVEL SECURITY")
    run_sql(server, "postgres", "ALTER ROLE {owner} NOCREATEDB", owner=sample_database.owner)
    create_backup(Job(config.settings))
    sample.destroy(server.dsn(name))
    restore_database(Job(config.settings), "latest", in_place_wanted=True)
    assert rows_of(server, name) == before


def test_nothing_of_a_cut_backup_stays(sample_database, config, s3_client, bucket):
    """Large objects stand between a BEGIN and a COMMIT of the dump's own; that COMMIT must not be
    ours.
    """
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    taken = create_backup(Job(settings))
    dump = gzip.decompress(s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read())
    assert b"\nBEGIN;\n" in dump
    before = state_of(server, name)
    middle = dump.index(b"\nCOMMIT;\n") + 200
    script = "postgres-backup/postgres-backup-2020-01-01_00-00-00.sql.gz"
    for end in (middle, len(dump) - 20):
        s3_client.put_object(Bucket=bucket, Key=script, Body=gzip.compress(dump[:end], 1))
        with pytest.raises(BadBackupError) as caught:
            restore_database(Job(settings, trust_unsigned=True), script, in_place_wanted=True)
        assert caught.value.findings
        assert state_of(server, name) == before
    broken = dump.replace(
        b"ALTER TABLE ONLY billing.payments", b"ALTER TABLE ONLY billing.nothing", 1
    )
    s3_client.put_object(Bucket=bucket, Key=script, Body=gzip.compress(broken, 1))
    with pytest.raises(DatabaseError, match="does not exist"):
        restore_database(Job(settings, trust_unsigned=True), script, in_place_wanted=True)
    assert state_of(server, name) == before


def test_a_lost_row_rolls_everything_back(sample_database, config, monkeypatch):
    """The rows are counted before the commit."""
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    create_backup(Job(settings))
    before = state_of(server, name)
    from postgres_backup.restore import in_place

    counted = in_place._assertions
    monkeypatch.setattr(
        in_place,
        "_assertions",
        lambda *dump: b"DELETE FROM ONLY public.notes WHERE id = 3;" + counted(*dump),
    )
    with pytest.raises(DatabaseError, match=r"public\.notes has \d+ rows, the backup has \d+"):
        restore_database(Job(settings), "latest", in_place_wanted=True)
    assert state_of(server, name) == before


def test_it_waits_for_nobody(sample_database, config):
    """Whoever sits in a transaction is cut off; there must be a database to restore into."""
    server, name = sample_database.server, sample_database.name
    settings = as_superuser(config, server)
    create_backup(Job(settings))
    before = rows_of(server, name)
    sample.destroy(server.dsn(name))
    with psycopg.connect(server.dsn(name)) as idle:
        idle.execute("SELECT count(*) FROM public.users")
        restore_database(Job(settings), "latest", in_place_wanted=True)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    assert rows_of(server, name) == before
    run_sql(server, "postgres", "DROP DATABASE {name}", name=name)
    for check in (True, False):
        with pytest.raises(DatabaseError, match="no database"):
            restore_database(Job(settings, check=check), "latest", in_place_wanted=True)
