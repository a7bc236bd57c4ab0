"""A server moves into a folder of its own: nothing is lost wherever it is cut short, and what was
signed and proven stays so.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from postgres_backup.catalog import said
from postgres_backup.catalog.names import Layout
from postgres_backup.health import alarms
from postgres_backup.machine.config_file import parse
from postgres_backup.s3 import duplicate
from postgres_backup.s3.store import Store
from tests.integration import engine
from tests.services.proxy import FaultProxy

OLD, NEW = "postgres-backup/", "postgres-backup/test-server/"


@pytest.fixture
def site(config, database, s3, s3_client, bucket, tmp_path):
    """A server that has written one of everything, beside another one, through a proxy."""
    (tmp_path / "app.env").write_text("SECRET=1\n")
    with FaultProxy(s3.endpoint_url) as between:
        config.change(
            S3_ENDPOINT_URL=between.endpoint_url,
            **database.as_superuser,
            BACKUP_PATHS=str(tmp_path / "app.env"),
            KIT_PLAIN="true",
        )
        one = SimpleNamespace(config=config, between=between)

        def typed(*words: str, status: int = 0):
            done = engine.run(config.path, *words)
            assert done.returncode == status, (words, done.stdout, done.stderr)
            return done

        def objects(prefix: str = "") -> dict[str, bytes]:
            return {
                key: s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
                for key in engine.keys(s3_client, bucket, prefix)
            }

        one.typed, one.objects = typed, objects
        one.asked = lambda *words: engine.answer(typed(*words, "--json"))
        one.prefix = lambda: parse(Path(config.path).read_text())["S3_PREFIX"]
        database.server.execute("CREATE TABLE one AS SELECT 1 AS id", database.name)
        one.backup = one.asked("backup")["backup"]
        typed("verify", "latest")
        typed("backup", "--tables", "one")
        typed("kit")
        yesterday = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
        other = engine.forge(s3_client, bucket, yesterday, server="another").partition(".")[0]
        one.others = {key for key in objects() if other in key}
        one.before = objects()
        one.own = one.before.keys() - one.others
        folders = {key.removeprefix(OLD).partition("/")[0] for key in one.own}
        assert folders > {"manifests", "globals", "proofs", "partial", "kit", "journal"}
        yield one


def moved(site) -> dict[str, bytes]:
    """What must lie in the new place."""
    return {NEW + key.removeprefix(OLD): site.before[key] for key in site.own}


def test_all_of_it_is_copied_then_used_and_then_the_old_goes(site, database):
    planned = site.asked("move", "--check")
    assert (planned["copied"], planned["switched"]) == (len(site.own), False)
    assert site.objects() == site.before
    said = Path(site.config.path).read_text()

    site.between.requests.clear()
    done = site.typed("move")
    for method in ("PUT", "HEAD"):  # one copies, one looks, and nothing comes through here
        asked = [one for one in site.between.requests if one.startswith(f"{method} ")]
        assert len([one for one in asked if f"/{NEW}" in one]) == len(site.own), method
    assert f"The config names {NEW.rstrip('/')} now" in done.stdout
    assert site.objects() == site.before | moved(site), "nothing else, and nothing of others"
    assert Path(site.config.path).read_text() == said.replace(
        "S3_PREFIX=postgres-backup\n", f"S3_PREFIX={NEW.rstrip('/')}\n"
    )

    [line] = site.asked("list")["backups"]
    assert (line["backup"], line["state"], line["signature"]) == (site.backup, "proven", "trusted")
    newest = site.asked("backup")
    assert newest["key"].startswith(NEW)
    site.typed("watch")
    assert alarms.open_alarms(site.config.settings) == []
    told = site.asked("history")
    assert told["findings"] == [], "the numbers of its events go on"
    assert {"backup"} <= {event["event"] for event in told["events"]}

    planned = site.asked("move", "--check")
    assert (planned["copied"], planned["removed"]) == (0, len(site.own))
    again = site.asked("move")
    assert (again["copied"], again["removed"], again["left"]) == (0, len(site.own), 0)
    left = site.objects()
    assert {key for key in left if not key.startswith(NEW)} == site.others
    assert moved(site).items() <= left.items()
    third = site.typed("move")
    assert "Nothing of this server lies directly under postgres-backup/" in third.stdout

    site.typed("verify", site.backup)
    database.server.execute("DROP TABLE one", database.name)
    site.typed("restore", site.backup)
    assert database.server.execute("SELECT id FROM one", database.name) == [(1,)]
    site.typed("restore-kit", "latest", "--to", str(Path(site.config.path).parent / "back"))


def test_cut_short_it_is_used_where_it_was_and_the_same_again_goes_on(site):
    site.between.plan("status", "PUT", f"/{NEW}", times=99, skip=9, status=403, code="AccessDenied")
    failed = engine.run(site.config.path, "move")
    engine.failed_well(failed, 1, "Failed to copy")
    assert site.prefix() == "postgres-backup"
    now = site.objects()
    assert site.before.items() <= now.items()
    assert 0 < len(now) - len(site.before) < len(site.own)
    newest = site.asked("backup")  # a night comes in between
    assert not newest["key"].startswith(NEW)
    for fault in site.between._faults:
        fault.times = 0
    later = site.objects(OLD).keys() - now.keys()
    rest = site.asked("move")
    assert rest["copied"] == len(site.own) + len(later) - (len(now) - len(site.before))
    assert rest["switched"]
    assert {line["key"] for line in site.asked("list")["backups"] if line["ours"]} == {
        NEW + site.backup,
        NEW + newest["backup"],
    }


def test_a_removal_that_is_cut_short_is_ended_by_the_same_again(site):
    site.typed("move")
    # each batch of those that are deleted is looked for in a listing
    site.between.plan("status", "POST", "?delete", times=9, skip=1, status=403, code="AccessDenied")
    site.between.plan(
        "status", "DELETE", f"/{OLD}", times=99, skip=3, status=403, code="AccessDenied"
    )
    failed = engine.run(site.config.path, "move")
    assert failed.returncode == 1, failed.stdout
    now = site.objects()
    assert moved(site).items() <= now.items()
    assert len([key for key in site.own if key in now]) < len(site.own)
    for fault in site.between._faults:
        fault.times = 0
    site.typed("move")
    assert {key for key in site.objects() if not key.startswith(NEW)} == site.others


def test_a_store_that_does_not_copy_is_told_and_nothing_is_touched(site):
    site.between.plan(
        "status", "PUT", f"/{NEW}", times=99, skip=0, status=501, code="NotImplemented"
    )
    failed = engine.run(site.config.path, "move")
    engine.failed_well(failed, 1, "the store does not copy objects by itself")
    assert site.objects() == site.before
    assert site.prefix() == "postgres-backup"


def test_what_lies_there_already_is_not_replaced(site, s3_client, bucket):
    key = NEW + site.backup
    s3_client.put_object(Bucket=bucket, Key=key, Body=b"another")
    failed = engine.run(site.config.path, "move")
    engine.failed_well(failed, 1, "something else lies at", key)
    assert site.objects() == site.before | {key: b"another"}


def test_a_config_that_is_not_to_be_changed_says_what_to_set(site):
    """And where the prefix was set by hand, the rest is brought along."""
    path = Path(site.config.path)
    path.write_text(path.read_text() + "S3_PREFIX=postgres-backup\n")  # which of the two counts?
    done = site.typed("move")
    assert "set backup_s3_prefix to postgres-backup/test-server" in done.stdout
    site.config.change(S3_PREFIX=NEW.rstrip("/"))
    assert site.asked("move")["removed"] == len(site.own)
    assert {key for key in site.objects() if not key.startswith(NEW)} == site.others
    site.typed("watch")
    assert alarms.open_alarms(site.config.settings) == []


def test_the_root_of_a_bucket_is_no_place_to_move_from(config):
    config.change(S3_PREFIX="")
    engine.failed_well(engine.run(config.path, "move"), 2, "root of the bucket")


def test_a_large_object_is_copied_in_parts(config, s3_client, bucket, monkeypatch):
    monkeypatch.setattr(duplicate, "MOST_AT_ONCE", 6 * 1024 * 1024)
    monkeypatch.setattr(duplicate, "PART_BYTES", 5 * 1024 * 1024)
    body = secrets.token_bytes(12 * 1024 * 1024 + 7)
    s3_client.put_object(Bucket=bucket, Key="large", Body=body)
    store = Store(config.settings)
    [item] = store.list("large")
    duplicate.duplicate(store.s3, item, "copy")
    assert s3_client.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    assert s3_client.head_object(Bucket=bucket, Key="copy")["ETag"].endswith('-3"')
    assert engine.unfinished(s3_client, bucket) == []


def test_several_databases_what_people_said_and_what_nobody_has_claimed(
    new_config, s3, s3_client, bucket
):
    config = new_config(engine.NO_SERVER, s3, bucket)
    settings = config.change(DB_NAME=None, DB_NAMES="crm shop")
    Path(settings.state_dir).mkdir(exist_ok=True)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    times = [now - timedelta(days=days) for days in range(1, 5)]
    engine.forge(s3_client, bucket, times[0], folder="crm", proven=True)
    engine.forge(s3_client, bucket, times[1], database="shop", folder="shop")
    engine.forge(s3_client, bucket, times[2])  # before there were several
    nobodys = engine.forge(s3_client, bucket, times[3], folder="crm", with_manifest=False)
    store = Store(settings)
    said.write_emptied(store, Layout("postgres-backup", "shop"), "shop", ["one"], now)
    before = set(engine.keys(s3_client, bucket))
    engine.forge(s3_client, bucket, now, prefix="postgres-backup/db2")  # in another's folder
    others = set(engine.keys(s3_client, bucket)) - before
    done = engine.run(config.path, "move")
    assert "stay in postgres-backup/, for nothing says whose they are: 1 backup" in done.stdout, (
        done.stderr
    )
    own = before - {f"{OLD}crm/{nobodys}"}
    copies = {NEW + key.removeprefix(OLD) for key in own}
    assert set(engine.keys(s3_client, bucket)) == before | others | copies
    assert engine.run(config.path, "move").returncode == 0
    assert set(engine.keys(s3_client, bucket)) == copies | others | {f"{OLD}crm/{nobodys}"}


def test_what_came_meanwhile_is_brought_along_before_anything_goes(
    new_config, s3, s3_client, bucket
):
    """As from a machine whose config still names the old place."""
    config = new_config(engine.NO_SERVER, s3, bucket)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    engine.forge(s3_client, bucket, now - timedelta(days=2))
    assert engine.answer(engine.run(config.path, "move", "--json"))["switched"]
    late = engine.forge(s3_client, bucket, now - timedelta(days=1))
    before = set(engine.keys(s3_client, bucket))
    again = engine.answer(engine.run(config.path, "move", "--json"))
    assert (again["copied"], again["removed"], again["left"]) == (4, 0, 8)
    assert set(engine.keys(s3_client, bucket)) >= before | {NEW + late}
    last = engine.answer(engine.run(config.path, "move", "--json"))
    assert (last["copied"], last["removed"], last["left"]) == (0, 8, 0)
    assert not [key for key in engine.keys(s3_client, bucket) if not key.startswith(NEW)]
