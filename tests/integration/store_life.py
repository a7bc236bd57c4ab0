"""The whole life of backups on one store, and what was found that the store can do."""

from __future__ import annotations

import json
import os
import secrets
from datetime import timedelta
from pathlib import Path

import pytest

from postgres_backup.clock import utc_now
from postgres_backup.errors import StoreError
from postgres_backup.s3.bucket import make_ready
from postgres_backup.s3.canaries import Probing
from postgres_backup.s3.client import S3
from postgres_backup.s3.errors import Refused
from postgres_backup.s3.probe import refused
from postgres_backup.s3.probe_promises import TRIES
from tests.documents import ROOT
from tests.integration import engine
from tests.integration.round_trip import dump_of
from tests.integration.s3.places import Place
from tests.services.stores import Served

#: what store-check has found, for docs/stores.md; `make stores` writes it
RECORDS = ROOT / "docs/stores"
#: it lets everybody in: nothing of ours is set up there
OPEN = "moto"


def client_of(store: Served):
    return Place(*store[:4], bucket="").client()


def done(config, *arguments: str, status: int = 0) -> dict:
    ended = engine.run(config.path, *arguments, "--json")
    assert ended.returncode == status, (arguments, ended.stdout, ended.stderr)
    return engine.answer(ended)


def live_through(name: str, store: Served, database, new_config, folder: Path) -> None:
    """Set up, look, back up, verify, restore, copy, prune, save and lay a kit, list.

    :param database: empty; it gets enough for an object in two parts.
    """
    database.execute("CREATE TABLE users AS SELECT n, 'user ' || n FROM generate_series(1, 5000) n")
    engine.fill_with_noise(database.server, database.name, 12)
    for table in ("users", "noise"):
        database.execute(f'ALTER TABLE {table} OWNER TO "{database.owner}"')
    bucket, application = f"life-{secrets.token_hex(6)}", folder / "application"
    application.mkdir()
    (application / ".env").write_text("A=1\n")
    config = new_config(database, store, bucket, BACKUP_PATHS=str(application), KIT_PLAIN="true")
    if name == OPEN:
        with pytest.raises(StoreError, match="anybody may list it without a key"):
            make_ready(S3(config.settings), 3)
        _looked(name, store, done(config, "store-check"), new_config, database)
        return
    for changed in (True, False):
        made = make_ready(S3(config.settings), 3)
        assert made["changed"] is changed, made
    _looked(name, store, done(config, "store-check"), new_config, database)

    client, before = client_of(store), dump_of(database.server, database.name)
    old = engine.forge(
        client, bucket, utc_now() - timedelta(days=40), database=database.name, proven=True
    )
    taken = done(config, "backup")
    assert done(config, "verify", "latest")["backup"] == taken["backup"]
    database.execute("DROP TABLE users; TRUNCATE noise")
    assert dump_of(database.server, database.name) != before
    done(config, "restore", "latest")
    assert dump_of(database.server, database.name) == before

    copy = f"copy_{secrets.token_hex(4)}"
    done(config, "restore", "latest", "--as", copy)
    assert dump_of(database.server, copy) == before
    database.execute(f"DROP DATABASE {copy}", "postgres")

    kit = done(config, "kit")
    done(config, "restore-kit", "latest", "--to", str(folder / "laid"))
    assert (folder / "laid" / str(application).lstrip("/") / ".env").read_text() == "A=1\n"
    assert kit["changed"]

    gone = done(config, "prune")["deleted"]
    assert [one["backup"] for one in gone] == [old]
    listed = [one["backup"] for one in done(config, "list")["backups"]]
    assert listed == [taken["backup"]]
    assert done(config, "status")["state"] != "not well"
    left = engine.keys(client, bucket)
    assert not [key for key in left if "store-check" in key or old.split(".")[0] in key]
    assert not engine.unfinished(client, bucket) if name != "rclone" else True


def _looked(name: str, store: Served, found: dict, new_config, database) -> None:
    assert found["fit"], found
    assert found["left"] == []
    assert found["seconds"] < 20
    rows = {row["row"]: [row["state"], row["said"]] for row in found["rows"]}
    record, path = {"version": store.version, "rows": rows}, RECORDS / f"{name}.json"
    if os.environ.get("STORES_RECORD"):
        record["locked"] = _where_it_locks(store, new_config, database)
        RECORDS.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["version"] == store.version:
        assert known["rows"] == rows, "docs/stores.md tells otherwise. Type: make stores"


def _where_it_locks(store: Served, new_config, database) -> dict[str, list[str]]:
    """The same two rows of a bucket that is made with object lock, which few can be afterwards."""
    bucket, client = f"locks-{secrets.token_hex(6)}", client_of(store)
    try:
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    except client.exceptions.ClientError as error:
        no = ["lacks", f"such a bucket is refused: {error.response['Error']['Code']}"]
        return {"versions": no, "lock": no}
    probing = Probing(new_config(database, store, bucket).settings)
    found = {}
    for name in ("versions", "lock"):
        try:
            outcome = TRIES[name](probing)
        except Refused as error:
            outcome = refused(error)
        found[name] = [outcome.state, outcome.said]
    probing.clean()
    return found
