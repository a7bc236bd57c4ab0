"""Restores that fail on the way: the live database has not noticed, and nothing else is left."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, DatabaseError, StoreError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.services.proxy import FaultProxy
from tests.services.signing import forget_signed, put_signed
from tests.waiting import wait_for

SCRIPT = "postgres-backup/postgres-backup-2020-01-01_00-00-00.sql.gz"


@pytest.fixture
def shop(database):
    """A database of a few thousand rows, all its owner's."""
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE goods (id int PRIMARY KEY, name text);"
            "CREATE TABLE sold (id int, at timestamptz)"
        )
        connection.execute(
            "INSERT INTO goods SELECT i, md5(i::text) || md5((-i)::text)"
            " FROM generate_series(1, 5000) i"
        )
        connection.execute(
            "INSERT INTO sold SELECT i, timestamptz '2026-01-01' + i * interval '1 hour'"
            " FROM generate_series(1, 500) i"
        )
    return database


@contextlib.contextmanager
def unnoticed(made: Database):
    """Whatever happens inside: the same databases, the same rows, a connection that stays open."""
    server, name = made.server, made.name
    before, rows = databases_of(server), rows_of(server, name)
    with psycopg.connect(made.dsn(), autocommit=True) as connection:
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()
        yield
        assert connection.execute("SELECT pg_backend_pid()").fetchone() == pid
    assert rows_of(server, name) == rows
    assert databases_of(server) == before


@contextlib.contextmanager
def restoring(config, s3, *arguments: str, seconds: float = 20):
    """The command at work, held up where it reads the object, its side database made and a
    session in it waiting.
    """
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        hang = between.plan("hang", "GET", ".sql.gz", times=100, skip=0, seconds=seconds)
        with engine.started(config.path, "restore", "latest", *arguments) as running:
            wait_for("the download", lambda: hang.done or running.poll() is not None)
            yield running, hang
        config.change(S3_ENDPOINT_URL=s3.endpoint_url)


def ended(running) -> subprocess.CompletedProcess:
    out, err = running.communicate(timeout=60)
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def edit_manifest(s3_client, bucket: str, taken: dict, change) -> None:
    def edited(data: bytes) -> bytes:
        found = json.loads(data)
        change(found)
        return json.dumps(found).encode()

    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    known = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    put_signed(s3_client, bucket, key, edited(known))


def test_an_object_that_is_not_what_it_was(shop, config, s3_client, bucket):
    """Cut, flipped, swapped for another, or described by another manifest: each found before the
    swap.
    """
    taken = create_backup(Job(config.settings))
    forget_signed(config.settings)
    whole = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    manifest = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    proof = s3_client.get_object(Bucket=bucket, Key=manifest)["Body"].read()
    dump = gzip.decompress(whole)

    def says(**facts):
        """Also without pieces, as those of version 0.1.0 are."""
        return lambda found: (found.update(facts), found.pop("parts"))

    def of_goods(**facts):
        return lambda found: found["tables"]["public.goods"].update(facts)

    middle = len(whole) // 2
    odd = whole[:4] + bytes([whole[4] ^ 1]) + whole[5:]
    other = gzip.compress(dump.replace(b"2026-01-01", b"2026-01-02"), 6)
    cases = {
        "cut": (whole[:-100], None, "bytes"),
        "cut, and its size in the manifest": (whole[:-100], says(bytes=len(whole) - 100), ""),
        "a bit flipped": (
            whole[:middle] + bytes([whole[middle] ^ 8]) + whole[middle + 1 :],
            None,
            "",
        ),
        "a bit flipped where gzip does not look": (odd, None, "piece 1 of 1"),
        "the same, and no pieces": (odd, says(), "SHA-256"),
        "another backup": (other, says(bytes=len(other)), ""),
        "another backup and its hash": (
            other,
            says(bytes=len(other), sha256=hashlib.sha256(other).hexdigest()),
            "public.sold",
        ),
        "a manifest of more rows": (whole, of_goods(rows=5001), "5001"),
        "a manifest of other data": (whole, of_goods(sha256="0" * 64), "other data"),
        "a manifest of another table": (
            whole,
            lambda found: found["tables"].update(
                {"public.more": {"rows": 1, "bytes": 1, "sha256": ""}}
            ),
            "public.more",
        ),
        "an empty object": (b"", says(bytes=0), ""),
        "an empty gzip": (gzip.compress(b""), says(bytes=20), ""),
        "something behind it": (whole + b"more", says(bytes=len(whole) + 4), ""),
    }
    with unnoticed(shop):
        for what, (body, change, words) in cases.items():
            s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=body)
            put_signed(s3_client, bucket, manifest, proof)
            if change:
                edit_manifest(s3_client, bucket, taken, change)
            with pytest.raises(BadBackupError) as caught:
                restore_database(Job(config.settings), taken["backup"])
            assert words in caught.value.message, (what, caught.value.message)
            assert caught.value.hint, what
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=whole)
    put_signed(s3_client, bucket, manifest, proof)
    restore_database(Job(config.settings), taken["backup"])


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_told_to_stop_it_clears_up(shop, config, s3, number):
    server, name = shop.server, shop.name
    create_backup(Job(config.settings))
    with unnoticed(shop):
        with restoring(config, s3) as (running, _):
            assert [other for other in databases_of(server) if other.startswith(f"{name}_restore_")]
            running.send_signal(number)
            done = ended(running)
        assert done.returncode == 1
        assert "Nothing was lost, and nothing half-done was left" in done.stderr
        assert "Traceback" not in done.stderr
        assert not engine.programs_at_work(server, name)


def test_killed_outright_the_next_restore_clears_up(shop, config, s3):
    """And only what is ours: a database that a user called likewise is the user's."""
    server, name = shop.server, shop.name
    create_backup(Job(config.settings))
    theirs = [
        f"{name}_restore_x",
        f"{name}_restore_2020-01-01_00-00-00",
        f"{name}_before_2020-01-01_00-00-00",
    ]
    for other in theirs:
        run_sql(server, "postgres", "CREATE DATABASE {other}", other=other)
    rows, before = rows_of(server, name), databases_of(server)
    with restoring(config, s3) as (running, _):
        running.kill()
        running.communicate(timeout=30)
    left = databases_of(server) - before
    assert len(left) == 1
    # killed a moment earlier: made, but without its mark
    begun = f"{name}_restore_2026-01-27_00-00-00"
    run_sql(
        server,
        "postgres",
        "CREATE DATABASE {begun} OWNER {owner} ALLOW_CONNECTIONS false",
        begun=begun,
        owner=shop.owner,
    )
    assert rows_of(server, name) == rows
    wait_for("its session to end", lambda: not sessions_in(server, *left))
    done = engine.run(config.path, "restore", "latest", "--json")
    assert done.returncode == 0, done.stderr
    kept = engine.answer(done)["kept_database"]
    assert databases_of(server) == before | {kept}
    assert all(f"removing {other}" in done.stderr for other in [*left, begun])


def sessions_in(server: BriefPostgresServer, name: str) -> list[int]:
    """The processes of a load."""
    found = server.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s",
        params=(name, "postgres-backup%"),
    )
    return [pid for (pid,) in found]


def test_the_session_of_a_load_is_ended(shop, config, s3):
    server, name = shop.server, shop.name
    create_backup(Job(config.settings))
    with unnoticed(shop):
        with restoring(config, s3, seconds=3) as (running, hang):
            (side,) = [x for x in databases_of(server) if x.startswith(f"{name}_restore_")]
            (pid,) = wait_for("its session", lambda: sessions_in(server, side))
            server.execute("SELECT pg_terminate_backend(%s)", params=(pid,))
            hang.times = hang.done
            done = ended(running)
        engine.failed_well(done, 1, "terminating connection", "ended the connection")


def test_a_second_restore_is_told_who_is_at_work(shop, config, s3):
    create_backup(Job(config.settings))
    with unnoticed(shop), restoring(config, s3) as (running, hang):
        hang.times = hang.done
        for arguments in (("restore", "latest"), ("backup",)):
            engine.failed_well(
                engine.run(config.path, *arguments), 3, "restore since", str(running.pid)
            )
        running.terminate()
        assert ended(running).returncode == 1


def test_a_store_that_dies_on_the_way(shop, config, s3):
    taken = create_backup(Job(config.settings))
    with FaultProxy(s3.endpoint_url) as between:
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("cut_response", "GET", taken["backup"], after=taken["bytes"] // 2)
        with unnoticed(shop):
            between.plan(
                "status", "GET", taken["backup"], status=403, code="AccessDenied", times=100
            )
            with pytest.raises(StoreError):
                restore_database(Job(settings), "latest")
    with FaultProxy(s3.endpoint_url) as between:  # a link that only breaks is taken up again
        settings = config.change(S3_ENDPOINT_URL=between.endpoint_url)
        broken = between.plan("cut_response", "GET", taken["backup"], after=taken["bytes"] // 2)
        restore_database(Job(settings), "latest")
        assert broken.done == 1


def test_the_server_dies_on_the_way(tmp_path, new_config, s3, bucket):
    """It says what happened; when the server is up again, the next restore clears up."""
    with BriefPostgresServer(tmp_path / "own", 16) as server:
        server.execute("CREATE TABLE goods AS SELECT i AS id FROM generate_series(1, 5000) i")
        server.execute("CREATE DATABASE shop TEMPLATE postgres")
        config = new_config(
            Database(server, "shop", server.superuser, server.password, ""), s3, bucket
        )
        create_backup(Job(config.settings))
        before = databases_of(server)
        with restoring(config, s3, seconds=2) as (running, hang):
            server.stop("immediate")
            hang.times = hang.done
            done = ended(running)
        engine.failed_well(done, 1, "SIDE_DATABASE_LEFT")
        server.start()
        assert server.execute("SELECT count(*) FROM goods", "shop") == [(5000,)]
        assert len(databases_of(server) - before) == 1
        # up again within seconds, it clears up by itself
        with restoring(config, s3, seconds=2) as (running, hang):
            server.stop("immediate")
            server.start()
            hang.times = hang.done
            done = ended(running)
        engine.failed_well(done, 1)
        assert databases_of(server) == before


def test_a_disk_too_small_is_seen_before_and_survived(
    small_disk, new_database, new_config, s3, s3_client, bucket
):
    made = new_database(options=f'TABLESPACE "{small_disk}"')
    server, name = made.server, made.name
    run_sql(
        server,
        name,
        "CREATE TABLE wide (id int, text text)",
        "ALTER TABLE wide ALTER text SET STORAGE EXTERNAL",
    )
    server.execute(
        "INSERT INTO wide SELECT i, repeat('x', 7000) FROM generate_series(1, 4200) i", name
    )
    config = new_config(made, s3, bucket)
    settings = as_superuser(config, server)
    taken = create_backup(Job(settings))
    with unnoticed(made):
        with pytest.raises(DatabaseError, match="no room for a second copy") as caught:
            restore_database(Job(settings), "latest")
        assert "backup_restore_in_place" in caught.value.hint
        # nobody noted the size of this one, and 25 MB pack into a few kB
        s3_client.copy_object(
            Bucket=bucket, Key=SCRIPT, CopySource={"Bucket": bucket, "Key": taken["key"]}
        )
        with pytest.raises(DatabaseError, match="No space left on device") as caught:
            restore_database(Job(settings, trust_unsigned=True), SCRIPT)
        assert "make room" in caught.value.hint


def test_the_side_database_is_dropped_however_busy_it_is(shop, config, s3):
    """Monitoring connects to every database that it sees."""
    server, name = shop.server, shop.name
    create_backup(Job(config.settings))
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for other in databases_of(server):
                if other.startswith(f"{name}_restore_"):
                    with (
                        contextlib.suppress(psycopg.Error),
                        psycopg.connect(shop.dsn(other)) as connection,
                    ):
                        connection.execute("SELECT 1")
                        time.sleep(0.05)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        assert restore_database(Job(config.settings), "latest")["downtime_seconds"] < 5
    finally:
        stop.set()
        watcher.join()
    assert not [other for other in databases_of(server) if other.startswith(f"{name}_restore_")]
