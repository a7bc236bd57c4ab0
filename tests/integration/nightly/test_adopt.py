"""Backups of older scripts are taken over, those that are whole, and only those."""

from __future__ import annotations

import gzip
import re
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from psycopg import sql

from postgres_backup.backup.prune import prune_backups
from postgres_backup.errors import StoreError
from postgres_backup.job import Job
from postgres_backup.nightly.adopt import adopt_backups
from tests.integration import engine
from tests.integration.restoring import as_superuser
from tests.services.proxy import FaultProxy


def days_ago(days: float) -> datetime:
    """A little more than so many days ago."""
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days, minutes=5)


@pytest.fixture
def crm(new_database):
    """A database ``crm`` with the table of ``engine.SMALL_DUMP``."""
    database = new_database("crm")
    database.execute("CREATE TABLE t (id integer)")
    return database


@pytest.fixture
def config(crm, new_config, s3, bucket):
    return new_config(crm, s3, bucket)


def names_of(lines: list[dict]) -> list[str]:
    return [line["backup"] for line in lines]


def without_journal(client, bucket: str) -> set[str]:
    return {key for key in engine.keys(client, bucket) if "/journal/" not in key}


def test_adoption_reads_to_the_end_and_refuses_what_is_cut(config, s3_client, bucket):
    whole = [
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False) for day in (1, 9, 10)
    ]
    packed = gzip.compress(engine.SMALL_DUMP)
    cut_dump = engine.SMALL_DUMP[: engine.SMALL_DUMP.index(b"2\n")]
    bodies = (
        (packed[:-20], "COMPRESSION_TRUNCATED"),
        (gzip.compress(cut_dump), "COPY_UNFINISHED"),
        (b"", "COMPRESSION_TRUNCATED"),
        (b"<html>" * 100, "COMPRESSION_CORRUPT"),
        (gzip.compress(b""), "TRAILER_MISSING"),
    )
    refused = {
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False, body=body): code
        for day, (body, code) in enumerate(bodies, 11)
    }
    empty = engine.forge(
        s3_client, bucket, days_ago(16), with_manifest=False, suffix=".sql", body=b""
    )
    refused[empty] = "TRAILER_MISSING"
    foreign = engine.forge(s3_client, bucket, days_ago(17), server="other-server")
    before = without_journal(s3_client, bucket)
    assert names_of(prune_backups(Job(config.settings), allow_many=True)["deleted"]) == []

    planned = adopt_backups(Job(config.settings, check=True))
    assert without_journal(s3_client, bucket) == before
    result = adopt_backups(Job(config.settings))
    assert (
        (result["adopted"], names_of(result["refused"]))
        == (planned["adopted"], names_of(planned["refused"]))
        == (whole, list(refused))
    )
    assert {f["code"] for f in result["findings"]} >= set(refused.values())
    assert foreign not in str(result)
    again = adopt_backups(Job(config.settings))
    assert (again["changed"], again["adopted"]) == (False, [])

    pruned = prune_backups(Job(config.settings), allow_many=True)
    assert names_of(pruned["deleted"]) == whole[1:]
    assert {f"postgres-backup/{name}" for name in refused} <= set(engine.keys(s3_client, bucket))


def test_adoption_says_what_it_did(config, s3_client, bucket):
    good = engine.forge(s3_client, bucket, days_ago(1), with_manifest=False)
    bad = engine.forge(s3_client, bucket, days_ago(2), with_manifest=False, body=b"")
    offered = engine.run(config.path, "adopt")
    assert (offered.returncode, f"offered  {good}  " in offered.stdout) == (2, True)
    done = engine.run(config.path, "adopt", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"adopted  {good}, restored: 1 of its 1 tables are in crm" in done.stdout
    assert f"refused  {bad}: " in done.stdout
    listed = engine.run(config.path, "list").stdout
    assert re.search(rf"{good} .* proven ", listed)
    assert re.search(rf"{bad} .* unproven .*postgres-backup adopt", listed)


def test_a_store_that_goes_away_is_no_reason_to_refuse_a_backup(config, s3, s3_client, bucket):
    engine.forge(s3_client, bucket, days_ago(1), with_manifest=False)
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan(
            "status", "GET", "postgres-backup-", times=1000, status=403, code="AccessDenied"
        )
        with pytest.raises(StoreError):
            adopt_backups(Job(settings))


# --- whose is it? ---


def dump_of(crm, *arguments: str, database: str = "") -> bytes:
    """What a script's pg_dump writes."""
    server = crm.server
    program = server.bin_dir / "pg_dump"
    return subprocess.run(
        [program, *arguments, database or crm.name],
        check=True,
        capture_output=True,
        env=server.environment(),
    ).stdout


def test_a_dump_that_names_another_database_stays_unadopted(crm, config, s3_client, bucket):
    """By CREATE DATABASE and ``\\connect``, also of an odd name, and by the head of an archive."""
    as_superuser(config, crm.server)
    odd = 'o\'dd "name"'
    for name in ("shop", odd):
        crm.server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        crm.server.execute("CREATE TABLE t (id integer)", name)  # even the same tables
    create, archive = ("--create",), ("--format=custom",)
    wanted = {
        (1, ".sql", create, ""): "",
        (2, ".dump", archive, ""): "",
        (3, ".sql", create, "shop"): "shop",
        (4, ".dump", archive, "shop"): "shop",
        (5, ".sql", create, odd): odd,
        (6, ".dump", archive, odd): odd,
        (7, ".sql", ("--create", "--clean"), "shop"): "shop",
    }
    expected = {
        engine.forge(
            s3_client,
            bucket,
            days_ago(day),
            with_manifest=False,
            suffix=suffix,
            body=dump_of(crm, *arguments, database=database),
        ): named
        for (day, suffix, arguments, database), named in wanted.items()
    }
    result = adopt_backups(Job(config.settings))
    assert result["adopted"] == [name for name, other in expected.items() if not other]
    assert result["compared"] == []
    refused = {line["backup"]: line["reason"] for line in result["refused"]}
    for name, other in expected.items():
        assert not other or f"of the database {other}, and says so itself" in refused[name]
    assert {f["code"] for f in result["findings"]} == {"OTHER_DATABASE"}
    # nor does naming it help
    name = next(name for name, other in expected.items() if other)
    assert adopt_backups(Job(config.settings), [name])["adopted"] == []


def test_a_dump_that_names_none_is_held_against_the_live_tables(crm, config, s3_client, bucket):
    as_superuser(config, crm.server)
    crm.server.execute("CREATE DATABASE foreign_one")
    for table in ("invoices", '"Odd one"', "t"):
        crm.server.execute(f"CREATE TABLE {table} (id integer)", "foreign_one")
    crm.execute("CREATE TABLE users (id integer); CREATE TABLE gone (id integer)")
    crm.execute("INSERT INTO users VALUES (1)")
    ours = [dump_of(crm), dump_of(crm, "--inserts")]
    crm.execute("DROP TABLE gone")
    theirs = [
        dump_of(crm, database="foreign_one"),
        dump_of(crm, "--inserts", database="foreign_one"),
    ]
    names = [
        engine.forge(
            s3_client, bucket, days_ago(day), with_manifest=False, suffix=".sql", body=body
        )
        for day, body in enumerate([*ours, *theirs], 1)
    ]
    result = adopt_backups(Job(config.settings))
    assert result["adopted"] == names[:2]
    assert result["compared"] == [
        {"backup": name, "tables": 3, "live": 2, "missing": ["public.gone"]} for name in names[:2]
    ]
    assert names_of(result["refused"]) == names[2:]
    assert {f["code"] for f in result["findings"]} == {"TABLES_DIFFER"}
    reason = result["refused"][0]["reason"]
    assert 'only 1 of its 3 tables are in crm; not there: public."Odd one", public.inv' in reason
    assert f"postgres-backup adopt {names[2]}" in reason
    done = engine.run(config.path, "adopt", "--yes", names[2])
    assert (
        f"adopted  {names[2]}, restored: 1 of its 3 tables are in crm; not there: " in done.stdout
    )
    engine.failed_well(engine.run(config.path, "adopt", "x"), 2, "No backup x waits", "adopt")


def test_without_the_server_nothing_is_adopted_that_does_not_name_its_database(
    new_config, s3, s3_client, bucket
):
    config = new_config(engine.NO_SERVER, s3, bucket)
    created = b"CREATE DATABASE crm;\n\n\\connect crm\n\nSET"
    named = engine.SMALL_DUMP.replace(b"SET", created, 1)
    with_name, without = (
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False, dump=dump)
        for day, dump in enumerate((named, engine.SMALL_DUMP))
    )
    # which pg_restore would read it is not known either
    archive = engine.forge(
        s3_client, bucket, days_ago(3), with_manifest=False, suffix=".dump", body=b"PGDMP\1\16"
    )
    result = adopt_backups(Job(config.settings))
    assert (result["adopted"], names_of(result["refused"])) == ([with_name], [without, archive])
    for line in result["refused"]:
        assert "Failed to reach PostgreSQL" in line["reason"]
