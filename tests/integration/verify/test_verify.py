"""Every way in which an object may be less than what was uploaded, each found and called by its
name.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from demo import sample
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, PostgresBackupError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.verify.verify import verify_backup
from tests.integration import engine
from tests.services.signing import forget_signed, put_signed

NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def config(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there: proving a plain backup needs none."""
    return new_config(engine.NO_SERVER, s3, bucket)


def as_it_should_be(client, bucket: str) -> str:
    return engine.forge(client, bucket, NOW - timedelta(hours=1))


def put(client, bucket: str, name: str, body: bytes, *, manifest_too: bool = False) -> None:
    """Replace a backup's object; with ``manifest_too`` its manifest tells size and hash of the new
    one.
    """
    client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body)
    if manifest_too:
        change_manifest(
            client, bucket, name, bytes=len(body), sha256=hashlib.sha256(body).hexdigest()
        )


def change_manifest(client, bucket: str, name: str, **changes: object) -> None:
    key = f"postgres-backup/manifests/{name.split('.')[0]}.json"
    found = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    if "bytes" in changes:  # whoever makes a manifest fit names no pieces that do not
        found.pop("parts", None)
    put_signed(client, bucket, key, json.dumps(found | changes).encode())


def found_in(settings, name: str = "latest") -> set[str]:
    with pytest.raises(BadBackupError) as caught:
        verify_backup(Job(settings), name)
    assert caught.value.exit_status == 4
    return {f["code"] for f in caught.value.findings}


@pytest.mark.parametrize(
    "variables",
    [{}, {"BACKUP_COMPRESSION": "zstd"}, {"BACKUP_FORMAT": "custom"}],
    ids=["gzip", "zstd", "custom"],
)
def test_a_good_backup_is_proven(sample_database, new_config, s3, s3_client, bucket, variables):
    server = sample_database.server
    config = new_config(
        sample_database,
        s3,
        bucket,
        **sample_database.as_superuser,
        **variables,
    )
    taken = create_backup(Job(config.settings))
    looked = verify_backup(Job(config.settings, check=True), "latest")
    written = engine.manifest_of(s3_client, bucket, taken)
    assert engine.proofs_of(s3_client, bucket, taken) == []
    result = verify_backup(Job(config.settings), "latest")
    assert (result["changed"], looked["changed"]) == (True, True)
    for key in ("backup", "database", "key", "bytes", "dump_bytes", "rows", "sha256"):
        assert result[key] == taken[key] == looked[key]
    [proof] = engine.proofs_of(s3_client, bucket, taken)
    assert (proof["backup"], proof["kind"], proof["by"], proof["server"], proof["database"]) == (
        taken["backup"], "read", "test-server", "test-server", sample_database.name,
    )  # fmt: skip
    assert verify_backup(Job(config.settings), taken["backup"])["changed"] is False
    assert engine.manifest_of(s3_client, bucket, taken) == written
    assert engine.keys(s3_client, bucket, "postgres-backup/partial") == []
    sample.fingerprint(server.dsn(sample_database.name))


@pytest.mark.parametrize("at", [0, 1, 11, 60, -30, -6, -2])
def test_one_flipped_bit_anywhere(config, s3_client, bucket, at):
    name = as_it_should_be(s3_client, bucket)
    body = bytearray(
        s3_client.get_object(Bucket=bucket, Key=f"postgres-backup/{name}")["Body"].read()
    )
    body[at] ^= 1
    put(s3_client, bucket, name, bytes(body))
    assert found_in(config.settings) <= {
        "COMPRESSION_CORRUPT",
        "COMPRESSION_TRUNCATED",
        "OBJECT_ALTERED",
        "TRAILING_GARBAGE",
        "DATA_DIFFERS",
    }


def test_a_flipped_bit_that_decompresses(config, s3_client, bucket):
    """Stored blocks have no structure to break, and this gzip's own sum is right: only the manifest
    knows.
    """
    dump = engine.SMALL_DUMP.replace(b"\n1\n", b"\n3\n")
    name = as_it_should_be(s3_client, bucket)
    body = gzip.compress(dump, compresslevel=0, mtime=0)
    put(s3_client, bucket, name, body)
    change_manifest(s3_client, bucket, name, bytes=len(body))
    assert found_in(config.settings) == {"OBJECT_ALTERED"}
    put(s3_client, bucket, name, body, manifest_too=True)
    assert found_in(config.settings) == {"DATA_DIFFERS"}


@pytest.mark.parametrize("kept", [0, 9, 50, -9, -1])
def test_an_object_that_was_cut(config, s3_client, bucket, kept):
    name = as_it_should_be(s3_client, bucket)
    body = s3_client.get_object(Bucket=bucket, Key=f"postgres-backup/{name}")["Body"].read()
    put(s3_client, bucket, name, body[:kept])
    assert found_in(config.settings) == {"SIZE_DIFFERS"}
    put(s3_client, bucket, name, body[:kept], manifest_too=True)
    assert found_in(config.settings) == {"COMPRESSION_TRUNCATED"}


def test_a_custom_archive_that_was_cut(sample_database, new_config, s3, s3_client, bucket):
    """``pg_restore --list`` takes any of these for whole; only reading it to its end tells."""
    server = sample_database.server
    config = new_config(
        sample_database,
        s3,
        bucket,
        **sample_database.as_superuser,
        BACKUP_FORMAT="custom",
    )
    taken = create_backup(Job(config.settings))
    forget_signed(config.settings)
    body = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    for kept in (len(body) - 1, len(body) * 3 // 4, len(body) // 2):
        put(s3_client, bucket, taken["backup"], body[:kept], manifest_too=True)
        listed = subprocess.run(
            [server.bin_dir / "pg_restore", "--list"],
            input=body[:kept],
            capture_output=True,
            check=False,
        )
        assert (listed.returncode, b"TABLE DATA public messages" in listed.stdout) == (0, True)
        with pytest.raises(PostgresBackupError):
            verify_backup(Job(config.settings), "latest")
        with pytest.raises(PostgresBackupError):
            restore_database(Job(config.settings), "latest")
    assert engine.proofs_of(s3_client, bucket, taken) == []
    put(s3_client, bucket, taken["backup"], body, manifest_too=True)
    verify_backup(Job(config.settings), "latest")


def cut_rows(dump: bytes) -> bytes:
    """The field's favourite: rows are missing, and the end is where it belongs."""
    return dump.replace(b"\n2\n", b"\n")


LESS = {
    "a row less, and a right end": (cut_rows, "ROWS_DIFFER"),
    "cut inside the data": (lambda dump: dump[: dump.index(b"2\n")], "COPY_UNFINISHED"),
    "cut after the data": (lambda dump: dump[: dump.index(b"\\.\n") + 3], "TRAILER_MISSING"),
    "cut within the end": (lambda dump: dump[: dump.rindex(b" complete")], "TRAILER_MISSING"),
    "the end is data": (
        lambda dump: dump[: dump.index(b"2\n")] + b"--\n-- PostgreSQL database dump complete\n--\n",
        "COPY_UNFINISHED",
    ),
    "no table": (
        lambda dump: dump[: dump.index(b"COPY")] + dump[dump.index(b"\\.\n") + 3 :],
        "TABLE_MISSING",
    ),
    "two of them": (
        lambda dump: dump.replace(
            b"COPY public.t ", b"COPY public.u (id) FROM stdin;\n\\.\n\nCOPY public.t "
        ),
        "TABLE_UNEXPECTED",
    ),
    "empty": (lambda _: b"", "TRAILER_MISSING"),
}


@pytest.mark.parametrize("kind", LESS)
def test_a_whole_gzip_of_less_than_the_dump(config, s3_client, bucket, kind):
    harm, code = LESS[kind]
    name = as_it_should_be(s3_client, bucket)
    put(s3_client, bucket, name, gzip.compress(harm(engine.SMALL_DUMP)), manifest_too=True)
    assert code in found_in(config.settings)
    done = (
        engine.run(config.path, "verify", name, "--json") if kind == "cut inside the data" else None
    )
    if done:
        text = engine.failed_well(done, 4, code, name)
        assert {f["code"] for f in engine.answer(done)["findings"]} >= {code}
        assert "postgres-backup list" in text


def test_swapped_for_another_backup(config, s3_client, bucket):
    name = as_it_should_be(s3_client, bucket)
    other = engine.forge(
        s3_client,
        bucket,
        NOW - timedelta(hours=2),
        dump=engine.SMALL_DUMP.replace(b"\n1\n", b"\n7\n"),
    )
    body = s3_client.get_object(Bucket=bucket, Key=f"postgres-backup/{other}")["Body"].read()
    put(s3_client, bucket, name, body)
    assert found_in(config.settings, name) <= {"OBJECT_ALTERED", "SIZE_DIFFERS"}
    assert verify_backup(Job(config.settings), other)["rows"] == 2


def test_more_than_the_dump(config, s3_client, bucket):
    name = as_it_should_be(s3_client, bucket)
    body = s3_client.get_object(Bucket=bucket, Key=f"postgres-backup/{name}")["Body"].read()
    put(s3_client, bucket, name, body + b"garbage behind the end", manifest_too=True)
    assert found_in(config.settings) & {"TRAILING_GARBAGE", "COMPRESSION_CORRUPT"}
    put(s3_client, bucket, name, body + gzip.compress(b"DROP TABLE public.t;\n"), manifest_too=True)
    assert found_in(config.settings)


def test_a_failed_proof_writes_nothing(config, s3_client, bucket):
    name = as_it_should_be(s3_client, bucket)
    put(s3_client, bucket, name, b"x" * 100, manifest_too=True)
    key = f"postgres-backup/manifests/{name.split('.')[0]}.json"
    before = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    found_in(config.settings)
    assert s3_client.get_object(Bucket=bucket, Key=key)["Body"].read() == before


def test_one_without_a_manifest_gets_one_and_stays_unadopted(config, s3_client, bucket):
    from postgres_backup.backup.prune import prune_backups
    from postgres_backup.health import listing
    from postgres_backup.nightly.adopt import adopt_backups

    name = engine.forge(s3_client, bucket, NOW - timedelta(days=30), with_manifest=False)
    done = engine.run(config.path, "verify", name, "--json")
    assert done.returncode == 0, done.stderr
    assert engine.answer(done)["rows"] == 2
    found = engine.manifest_of(s3_client, bucket, engine.answer(done))
    assert (found["adopted"], found["server"], found["database"], found["postgresql_version"]) == (
        False,
        {"name": ""},
        "crm",
        "16.3",
    )
    line = listing.look(config.settings)["backups"][0]
    assert (line["state"], line["ours"], line["keep"]) == ("proven", False, True)
    assert listing.look(config.settings)["waiting"] == 1
    assert prune_backups(Job(config.settings), allow_many=True)["deleted"] == []
    job = Job(config.settings)
    assert adopt_backups(job)["adopted"] == []  # the live database has none of its tables
    assert adopt_backups(job, [name])["adopted"] == [name]


def test_a_damaged_manifest_is_replaced_when_the_backup_is_whole(config, s3_client, bucket):
    name = as_it_should_be(s3_client, bucket)
    key = f"postgres-backup/manifests/{name.split('.')[0]}.json"
    s3_client.put_object(Bucket=bucket, Key=key, Body=b'{"schema": 1, "na')
    with pytest.raises(BadBackupError) as caught:  # of what is signed nobody makes a new one
        verify_backup(Job(config.settings), name)
    assert [f["code"] for f in caught.value.findings] == ["SIGNATURE_WRONG"]
    s3_client.delete_object(Bucket=bucket, Key=f"{key}.sig")
    assert verify_backup(Job(config.settings, check=True), name)["findings"] == []
    result = verify_backup(Job(config.settings), name)
    assert [f["code"] for f in result["findings"]] == ["MANIFEST_DAMAGED"]
    assert json.loads(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())["rows"] == 2
    assert verify_backup(Job(config.settings), name)["findings"] == []


def test_an_encrypted_one_wants_the_right_key(
    sample_database, new_config, s3, s3_client, bucket, tmp_path
):
    import pyrage

    right, wrong = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    for kind, pair in (("right", right), ("wrong", wrong)):
        (tmp_path / kind).write_text(f"# made for a test\n{pair}\n")
    config = new_config(
        sample_database,
        s3,
        bucket,
        **sample_database.as_superuser,
        AGE_RECIPIENTS=str(right.to_public()),
    )
    create_backup(Job(config.settings))
    engine.failed_well(engine.run(config.path, "verify", "latest"), 2, "encrypted", "--identity")
    text = engine.failed_well(
        engine.run(config.path, "verify", "latest", "--identity", str(tmp_path / "wrong")), 2, "key"
    )
    assert str(wrong) not in text
    engine.failed_well(
        engine.run(config.path, "verify", "latest", "--identity", str(tmp_path / "none")),
        2,
        "Failed to read",
    )
    done = engine.run(
        config.path, "verify", "latest", "--identity", str(tmp_path / "right"), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert str(right) not in done.stdout + done.stderr
