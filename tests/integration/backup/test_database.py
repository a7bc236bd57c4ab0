"""A backup on real servers: what it holds, whatever it is named."""

from __future__ import annotations

import gzip
import hashlib
import subprocess

import psycopg
import pytest
from psycopg import sql

from demo import sample
from postgres_backup.backup import database as backup_room
from postgres_backup.catalog.names import BackupName
from postgres_backup.job import Job
from postgres_backup.stream import codec
from tests.integration import engine


def shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


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
