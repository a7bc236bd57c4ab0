"""Parts of backups: listed, verified, restored and pruned."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.clock import format_time, utc_now
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.health import listing, status
from postgres_backup.job import Job
from postgres_backup.restore.copy import restore_copy
from postgres_backup.restore.tables import restore_tables
from postgres_backup.verify.verify import verify_backup
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.services.signing import put_signed

SHOP = (
    "CREATE SCHEMA shop",
    "CREATE TABLE users (id int PRIMARY KEY, place text)",
    "CREATE TABLE shop.orders (id serial PRIMARY KEY, user_id int REFERENCES users)",
    "INSERT INTO users SELECT n, '[' || n || ']' FROM generate_series(1, 20) n",
    "INSERT INTO shop.orders (user_id) SELECT n FROM generate_series(1, 20) n",
)


@pytest.fixture
def shop(database):
    run_sql(database.server, database.name, *SHOP)
    for table in ("users", "shop.orders"):
        database.server.execute(f'ALTER TABLE {table} OWNER TO "{database.owner}"', database.name)
    run_sql(database.server, database.name, "ALTER SCHEMA shop OWNER TO {o}", o=database.owner)
    return database


def listed(config) -> list[dict]:
    return engine.answer(engine.run(config.path, "list", "--partial", "--json"))["backups"]


def test_a_part_is_listed_verified_and_brought_back(shop, config):
    job = Job(config.settings)
    whole = create_backup(job)
    part = create_backup(job, tables=["shop.orders"])
    [line] = listed(config)
    assert (line["backup"], line["partial"], line["rows"]) == (part["backup"], "shop.orders", 20)
    assert (line["ours"], line["state"], line["signature"]) == (True, "good", "trusted")
    assert [b["backup"] for b in listing.look(config.settings)["backups"]] == [whole["backup"]]
    assert part["backup"] in engine.run(config.path, "list", "--partial").stdout

    proven = verify_backup(job, part["backup"])
    assert (proven["rows"], proven["changed"]) == (20, False)
    assert verify_backup(job, "latest")["backup"] == whole["backup"]

    seen = status.status(config.settings, counting=True)
    assert seen["databases"][shop.name]["partial"] == {"kept": 1, "bytes": part["bytes"]}
    assert seen["costs"]["storage_bytes"] == whole["bytes"] + part["bytes"]
    assert any("parts of backups: 1, " in told for told in status.lines(seen))

    shop.server.execute("DELETE FROM shop.orders WHERE id > 5", shop.name)
    done = restore_tables(job, part["backup"], ["shop.orders"])
    assert [table["inserted"] for table in done["tables"]] == [15]
    assert "PART_LEFT_OUT" in [one["code"] for one in done["findings"]]
    for stages in ("restore", "drill"):
        refused = engine.run(config.path, stages, part["backup"])
        engine.failed_well(refused, 2, "is a part of a database", "--as NAME")


def test_a_copy_of_a_part_says_what_it_is_without(shop, config):
    more = "ALTER TABLE users ALTER place TYPE vector(1) USING place::vector"
    run_sql(shop.server, shop.name, "CREATE EXTENSION vector", more)
    job = Job(as_superuser(config, shop.server))
    part = create_backup(job, tables=["shop.orders"])
    look = f"{shop.name}_look"
    done = restore_copy(job, part["backup"], look)
    [told] = [one for one in done["findings"] if one["code"] == "PART_LEFT_OUT"]
    assert "FOREIGN KEY (user_id) REFERENCES public.users(id)" in told["message"]
    assert shop.server.execute("SELECT count(*) FROM shop.orders", look) == [(20,)]
    both = create_backup(job, tables=["shop.orders", "users"])
    done = restore_copy(job, both["backup"], f"{look}_both")
    assert "PART_LEFT_OUT" not in [one["code"] for one in done["findings"]]
    assert shop.server.execute("SELECT id FROM users WHERE place = '[7]'", f"{look}_both")
    empty = create_backup(job, schema_only=True)
    assert restore_copy(job, empty["backup"], f"{look}_empty")["rows"] == 0


def test_a_part_that_was_altered_is_found_bad(shop, config, s3_client, bucket):
    job = Job(config.settings)
    part = create_backup(job, tables=["users"])
    whole = s3_client.get_object(Bucket=bucket, Key=part["key"])["Body"].read()
    spoiled = whole[:-1] + bytes([whole[-1] ^ 1])
    s3_client.put_object(Bucket=bucket, Key=part["key"], Body=spoiled)
    with pytest.raises(BadBackupError, match="is not the object that was uploaded"):
        verify_backup(job, part["backup"])
    s3_client.put_object(Bucket=bucket, Key=part["key"], Body=whole[:-1])
    [line] = listed(config)
    assert (line["state"], line["ours"]) == ("bad", True)
    before = databases_of(shop.server)
    with pytest.raises(BadBackupError, match="is not whole"):
        restore_copy(job, part["backup"], f"{shop.name}_look")
    assert databases_of(shop.server) == before
    with pytest.raises(UsageError, match="There is no backup"):
        verify_backup(job, part["backup"].replace("users", "orders"))


def age(client, bucket: str, part: dict, days: float) -> str:
    """Make a part one that is so old, signed; its name."""
    moment = utc_now() - timedelta(days=days)
    stem = part["backup"].partition(".")[0]
    name = part["backup"].replace(stem, f"postgres-backup-{format_time(moment)}")
    key = part["key"].replace(part["backup"], name)
    described = client.get_object(Bucket=bucket, Key=part["key"] + ".json")["Body"].read()
    body = client.get_object(Bucket=bucket, Key=part["key"])["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=body)
    older = json.dumps(json.loads(described) | {"name": name}).encode()
    put_signed(client, bucket, key + ".json", older)
    for gone in (part["key"], part["key"] + ".json", part["key"] + ".json.sig"):
        client.delete_object(Bucket=bucket, Key=gone)
    return name


def test_parts_go_after_the_same_days_and_never_count_as_a_backup(shop, config, s3_client, bucket):
    job = Job(config.settings)
    old = age(s3_client, bucket, create_backup(job, tables=["users"]), 9)
    alone = prune_backups(job)
    assert [line["reason"] for line in alone["partial_kept"]] == [
        "no good backup of the whole database is newer"
    ]
    whole = create_backup(job)
    young = create_backup(job, schema_only=True)
    would = prune_backups(dataclasses.replace(job, check=True))
    assert [line["backup"] for line in would["partial_deleted"]] == [old]
    assert [line["backup"] for line in listed(config)] == [young["backup"], old]
    done = prune_backups(job)
    assert [line["backup"] for line in done["partial_deleted"]] == [old]
    assert [line["backup"] for line in done["partial_kept"]] == [young["backup"]]
    assert [line["backup"] for line in done["kept"]] == [whole["backup"]]
    assert done["deleted"] == []
    keys = engine.keys(s3_client, bucket, "postgres-backup/partial")
    assert keys == [young["key"] + end for end in ("", ".json", ".json.sig")]
    again = prune_backups(job)
    assert (again["changed"], again["partial_deleted"]) == (False, [])


def test_what_others_left_stays_and_a_prune_cut_short_is_ended(shop, config, s3_client, bucket):
    job = Job(config.settings)
    create_backup(job)
    parts = [create_backup(job, tables=["users"]) for _ in range(2)]
    folder = "postgres-backup/partial/"
    theirs = f"{folder}postgres-backup-2020-01-01_00-00-00.users.sql.gz"
    s3_client.put_object(Bucket=bucket, Key=theirs, Body=b"x")
    for name in ("readme.txt", "postgres-backup-2020-01-01_00-00-00.sql.gz", "x/y.json"):
        s3_client.put_object(Bucket=bucket, Key=folder + name, Body=b"x")
    s3_client.delete_object(Bucket=bucket, Key=parts[0]["key"])
    done = prune_backups(job)
    assert done["changed"]
    assert [(line["backup"], line["reason"]) for line in done["partial_kept"]] == [
        (parts[1]["backup"], "not older than 7 days"),
        (theirs.rpartition("/")[2], "not known whose it is: it has no manifest"),
    ]
    left = engine.keys(s3_client, bucket, folder)
    assert not [key for key in left if parts[0]["backup"] in key]
    assert {theirs, f"{folder}readme.txt", f"{folder}x/y.json"} <= set(left)
