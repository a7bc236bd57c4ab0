"""Memory and disk do not grow with the database."""

from __future__ import annotations

import gzip
import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.verify.ranges import apart, ranges
from tests.integration import engine

#: MB of dump; long rows of one letter leave PostgreSQL's storage quickly, because they are kept
#: compressed there
DUMP_MB = 3000
#: bytes of the longest row: PostgreSQL's programs hold a row (libpq does, twice), we never do
LONG_ROW = 200_000_000


@pytest.fixture
def wide(database):
    """A table whose dump has three gigabytes and which takes 38 MB on the server's disk; one of its
    rows has 200 MB.
    """
    database.execute(
        "CREATE TABLE wide AS SELECT i AS id, repeat(md5((i % 7)::text), 31250) AS body"
        " FROM generate_series(1, 300) i"
    )
    database.execute(
        "INSERT INTO wide SELECT id + 300 * k, body FROM wide, generate_series(1, 9) k"
    )
    database.execute(f"INSERT INTO wide VALUES (0, repeat('x', {LONG_ROW}))")
    return database


@pytest.mark.alone
def test_three_gigabytes_in_bounded_memory(wide, new_config, s3, bucket, tmp_path):
    config = new_config(wide, s3, bucket, **wide.as_superuser)
    began = time.monotonic()
    done = engine.measured_apart(config, "backup", "--json")
    seconds = time.monotonic() - began
    assert done["status"] == 0, done["err"]
    taken = json.loads(done["out"])
    print(
        f"backup: {taken['dump_bytes'] / 1e6:.0f} MB of dump, {taken['bytes'] / 1e6:.0f} MB stored,"
        f" {seconds:.1f} s, peak {done['own_kb'] / 1024:.0f} MiB, "
        f"pg_dump {done['programs_kb'] / 1024:.0f} MiB"
    )
    assert taken["dump_bytes"] > DUMP_MB * 1_000_000
    assert taken["rows"] == 3001
    assert done["own_kb"] < 200 * 1024
    assert (
        sum(
            path.stat().st_size
            for path in Path(config.settings.state_dir).rglob("*")
            if path.is_file()
        )
        < 10_000
    )

    began = time.monotonic()
    read = engine.measured(config, "verify", "latest", "--json")
    print(f"verify: {time.monotonic() - began:.1f} s, peak {read['peak_kb'] / 1024:.0f} MiB")
    assert read["status"] == 0, read["err"]
    assert read["peak_kb"] < 200 * 1024


@pytest.mark.alone
def test_rows_in_two_sessions_in_bounded_memory(database, new_config, s3, s3_client, bucket):
    """Two that read the object, and a comparison beside them; each table is six pieces."""
    for number in range(4):
        database.execute(
            f"CREATE TABLE letters_{number} AS SELECT n AS id, (SELECT string_agg("
            "md5((n * 31 + k)::text), ' ') FROM generate_series(1, 24) k) AS body"
            " FROM generate_series(1, 110000) n"
        )
    config = new_config(database, s3, bucket, **database.as_superuser)
    taken = engine.answer(engine.run(config.path, "backup", "--json"))
    assert len(apart(ranges(engine.manifest_of(s3_client, bucket, taken)))) == 2
    done = engine.measured_apart(config, "restore", "latest", "--json")
    assert done["status"] == 0, done["err"]
    print(f"{taken['dump_bytes'] / 1e6:.0f} MB: peak {done['own_kb'] / 1024:.0f} MiB")
    assert done["own_kb"] * 1024 < 150_000_000


@pytest.mark.alone
def test_the_longest_statements_in_bounded_memory(database, new_config, s3, s3_client, bucket):
    """libpq keeps two copies of a statement until it is done, beside ours; one that is longer than
    64 MiB is refused before it gets there.
    """
    config = new_config(database, s3, bucket, **database.as_superuser)
    key = "postgres-backup/postgres-backup-2020-01-01_00-00-00.sql.gz"
    head = b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a text);\n"
    tail = b"--\n-- PostgreSQL database dump complete\n--\n\n"
    for megabytes, status, most in ((40, 0, 200), (63, 0, 300), (200, 4, 200)):
        value = b"x" * (megabytes << 20)
        row = b"INSERT INTO public.t VALUES ('" + value + b"');\n"
        s3_client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(head + row + row + tail, 1))
        done = engine.measured(
            config, "restore", key.rpartition("/")[2], "--trust-unsigned", "--json"
        )
        print(f"{megabytes} MiB: peak {done['peak_kb'] / 1024:.0f} MiB")
        assert done["status"] == status, done["err"]
        assert done["peak_kb"] < most * 1024
    assert "longer than 64 MiB" in done["err"]
    # a row of COPY may be as long as PostgreSQL takes it
    rows = b"COPY public.t (a) FROM stdin;\n" + b"x" * LONG_ROW + b"\n\\.\n"
    s3_client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(head + rows + tail, 1))
    done = engine.measured(
        config, "restore", key.rpartition("/")[2], "--trust-unsigned", "--in-place", "--json"
    )
    print(f"a row of 200 MB: peak {done['peak_kb'] / 1024:.0f} MiB")
    assert done["status"] == 0, done["err"]
    assert done["peak_kb"] < 200 * 1024


@pytest.mark.alone
@pytest.mark.gameday
def test_a_look_at_many_tables_in_bounded_memory(new_config, s3, s3_client, bucket):
    """90 backups of 20,000 tables: the first look, and one that has read them before."""
    config = new_config(engine.NO_SERVER, s3, bucket)
    Path(config.settings.state_dir).mkdir(exist_ok=True)
    record = {"bytes": 1000, "sha256": "0" * 64}
    for night in range(90):
        tables = {f"public.table_{n}": {"rows": n + night, **record} for n in range(20_000)}
        taken_at = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=night)
        engine.forge(s3_client, bucket, taken_at, change={"tables": tables})
    for what in ("first", "later"):
        done = engine.measured(config, "list", "--json")
        print(f"{what} look: peak {done['peak_kb'] / 1024:.0f} MiB")
        assert done["status"] == 0, done["err"]
        assert {one["state"] for one in json.loads(done["out"])["backups"]} == {"good"}
        assert done["peak_kb"] < 200 * 1024
