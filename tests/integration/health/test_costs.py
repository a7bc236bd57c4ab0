"""The estimate of requests against what a real store was really asked."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from postgres_backup.catalog import history, journal, manifest
from postgres_backup.catalog.backups import layout_for
from postgres_backup.catalog.kits import list_kits
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.clock import format_time
from postgres_backup.health import costs
from postgres_backup.health import status as status_room
from postgres_backup.health.server_facts import describe_server
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.run import run_night
from postgres_backup.nightly.watch import look_around
from postgres_backup.s3 import calls
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy
from tests.services.signing import put_signed


def ago(days: float) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days)


@pytest.fixture
def counted(config, database, s3, s3_client, bucket):
    """A config whose store is asked through a proxy that counts, a week of backups, the oldest of
    which is past its time.
    """
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url, **database.as_superuser)
        Path(config.settings.state_dir).mkdir(exist_ok=True)
        for day in range(1, 8):
            engine.forge(s3_client, bucket, ago(day + 0.001), database=database.name)
        read = s3_client.list_objects_v2(Bucket=bucket, Prefix="postgres-backup/manifests/")
        last = max(one["Key"] for one in read["Contents"] if one["Key"].endswith(".json"))
        described = s3_client.get_object(Bucket=bucket, Key=last)["Body"].read()
        name, layout = BackupName.parse(json.loads(described)["name"]), Layout("postgres-backup")
        engine.forge_proof(s3_client, bucket, layout, name, ago(1), described)
        status_room.status(config.settings)  # as every hour
        between.requests.clear()
        yield config, between


def per_night(settings) -> float:
    """Requests of a night as the estimate has them, looks of the watch left out."""
    database = status_room.status(settings)["databases"][settings.databases[0]]
    last = database["last"]
    return costs.night_requests(settings, last["bytes"], last["dump_bytes"], 7)


@pytest.mark.parametrize("megabytes", [0, 30])
def test_a_night(counted, database, megabytes):
    """In one piece, and in several."""
    config, between = counted
    if megabytes:
        engine.fill_with_noise(database.server, database.name, megabytes)
    settings = config.settings
    found = run_night(settings, Progress())
    asked = len(between.requests)
    assert found["exit_status"] == 0
    one = found["databases"][database.name]
    assert len(one["deleted"]) == 1, "as every night once the retention has run its length"
    assert (one["backup"]["bytes"] > 2 * 8 * 1024 * 1024) == bool(megabytes)
    assert asked == pytest.approx(per_night(settings), rel=0.1), between.requests


def test_a_night_of_several_databases(config, database, s3, monkeypatch):
    """What each takes: questions to PostgreSQL beside pg_dump's, and requests as estimated."""
    names = [database.name, f"{database.name}_b", f"{database.name}_c"]
    for name in names[1:]:
        database.server.execute(f'CREATE DATABASE "{name}"')
    Path(config.settings.state_dir).mkdir(exist_ok=True)
    asked, execute = list[str](), psycopg.Cursor.execute

    def counting(self, query, *more, **options):
        asked.append(str(query))
        return execute(self, query, *more, **options)

    try:
        with FaultProxy(s3.endpoint_url) as between, monkeypatch.context() as patch:
            settings = config.change(
                S3_ENDPOINT_URL=between.endpoint_url,
                **database.as_superuser,
                DB_NAME=None,
                DB_NAMES=" ".join(names),
            )
            assert run_night(settings, Progress())["exit_status"] == 0
            between.requests.clear()
            patch.setattr(psycopg.Cursor, "execute", counting)
            assert run_night(settings, Progress())["exit_status"] == 0
            requests = list(between.requests)
        assert len(asked) <= 60 * len(names), asked
        each = costs.night_requests(settings, 1, 1, 1) - (4 + 3)  # nothing goes
        assert len(requests) == pytest.approx(each * len(names), rel=0.1), requests
    finally:
        for name in names[1:]:
            database.server.execute(f'DROP DATABASE "{name}"')


def test_a_night_with_a_kit(counted, database, tmp_path, s3_client, bucket):
    """A week of them lies there, and the oldest is past its time."""
    config, between = counted
    (tmp_path / "compose.yml").write_text("services: {}\n")
    settings = config.change(BACKUP_PATHS=str(tmp_path / "compose.yml"), KIT_PLAIN="true")
    store = Store(settings)
    for day in range(1, 8):
        name = f"postgres-backup-kit-{format_time(ago(day + 0.001))}"
        store.put(calls.PROOF, f"postgres-backup/kit/{name}.tar.gz", b"x")
        facts = {
            "name": f"{name}.tar.gz",
            "server": {"name": "test-server"},
            "bytes": 1,
            "sha256": "0" * 64,
        }
        key = f"postgres-backup/kit/{name}.json"
        put_signed(s3_client, bucket, key, manifest.dump_kit(facts))
    assert len(list_kits(settings, store)) == 7  # as every night
    between.requests.clear()
    found = run_night(settings, Progress())
    asked = len(between.requests)
    assert found["exit_status"] == 0
    assert len(found["kit"]["deleted"]) == 1
    assert asked == pytest.approx(per_night(settings), rel=0.1), between.requests


def test_a_look(counted, database):
    config, between = counted
    settings = config.settings
    assert run_night(settings, Progress())["exit_status"] == 0
    kept = status_room.status(settings)["databases"][database.name]["kept"]
    look_around(settings, Progress())  # writes what waits for the journal
    between.requests.clear()
    assert look_around(settings, Progress())["made_up"] is None
    assert len(between.requests) == pytest.approx(costs.look_requests(settings, kept), rel=0.1), (
        between.requests
    )


def test_what_others_have_done_is_not_read_and_what_we_did_once(counted, database):
    """A journal of eight servers, a month long: `history`, and what a server tells the page."""
    config, between = counted
    nights, servers = 30, ["test-server", *(f"db{number}" for number in range(7))]
    for server in servers:
        settings = config.change(SERVER_NAME=server)
        store, layout = Store(settings), layout_for(settings, database.name)
        for day in range(nights):
            journal.record(store, layout, ago(day), "backup", {"database": database.name})
    settings = config.change(SERVER_NAME="test-server")
    for seen in Path(settings.state_dir).glob("seen-*"):
        seen.unlink()
    for asked, expected in (
        (lambda: history.history(settings, nights + 1)["events"], 2 * nights + 3),
        (lambda: history.history(settings, nights + 1)["events"], 3),
        (lambda: describe_server(settings)["server"], 6 + 2 * (7 + 1)),
        (lambda: describe_server(settings)["server"], 6),
    ):
        between.requests.clear()
        assert asked()
        assert len(between.requests) <= expected, between.requests
