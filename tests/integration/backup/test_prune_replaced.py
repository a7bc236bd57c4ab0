"""What becomes of the databases that restores replaced."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from psycopg import sql

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune import prune_backups
from postgres_backup.backup.prune_replaced import PrunedReplaced, prune_replaced
from postgres_backup.clock import format_timestamp, utc_now
from postgres_backup.errors import UsageError
from postgres_backup.health import kept_databases
from postgres_backup.job import Job
from postgres_backup.postgresql import mark
from postgres_backup.restore.database import restore_database, undo_restore
from tests.conftest import Database
from tests.integration import engine
from tests.integration.replacing import LATER, Clock, fill, restore
from tests.integration.restoring import databases_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.services.signing import forget_signed, put_signed

#: when the newest good backup was taken, where none is newer than anything
NEVER = datetime(2000, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def filled(database):
    database.execute(
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n;"
        f'ALTER TABLE users OWNER TO "{database.owner}"'
    )
    return database


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def diary(database, config):
    """A live database, and the job that is about it."""
    job = Job(config.settings)
    fill(job, database.name, "live")
    return database, job


#: several prunes of a test are in one second, and each has a newer backup than the one before
_LATER = itertools.count()


def prune(job: Job, newest_good: datetime | None = None) -> PrunedReplaced:
    """Databases that restores replaced, as a prune judges them beside a backup that is newer."""
    newer = utc_now() + LATER + timedelta(seconds=next(_LATER))
    return prune_replaced(job, newest_good or newer)


def nights(clock: Clock, job: Job, number: int, newest_good: datetime | None = None) -> None:
    for _ in range(number):
        clock.offset += timedelta(days=1)
        prune(job, newest_good)


def age(database, kept: str, days: float) -> str:
    """Make a replaced database one that was replaced so long ago, and seen by prunes since; its
    name.
    """
    comment = comment_of(database, kept)
    moment = utc_now() - timedelta(days=days)
    name = mark.kept_name(database.name, moment)
    older = mark.read(comment).changed(
        replaced_at=format_timestamp(moment),
        looked_at=format_timestamp(utc_now()),
        seen_seconds=int(days * 86400),
        newest_then=None,
    )
    run_sql(
        database.server, "postgres", "ALTER DATABASE {kept} RENAME TO {name}", kept=kept, name=name
    )
    set_comment(database, name, older.written())
    return name


def seen_by_status(job: Job, database) -> list:
    found = []
    kept_databases.look(job.settings, database.name, found)
    return found


def comment_of(database, name: str) -> str | None:
    return database.server.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        params=(name,),
    )[0][0]


def set_comment(database, name: str, comment: str) -> None:
    text = sql.Literal(comment).as_string(None).replace("{", "{{").replace("}", "}}")
    run_sql(database.server, "postgres", f"COMMENT ON DATABASE {{name}} IS {text}", name=name)


def codes(found) -> list[str]:
    return [one["code"] for one in found.findings]


def test_prune_drops_a_replaced_database_after_its_days_if_a_good_backup_is_newer(
    filled, config, s3_client, bucket
):
    settings = config.settings
    taken = create_backup(Job(settings))
    kept = restore_database(Job(settings), "latest")["kept_database"]

    stays = prune_backups(Job(settings))
    assert stays["replaced_deleted"] == []
    assert stays["replaced_kept"] == [
        {"database": kept, "reason": "replaced not more than 7 days ago"}
    ]

    kept = age(filled, kept, 8)
    would = prune_backups(Job(settings, check=True))
    assert would["changed"]
    assert would["replaced_deleted"] == [
        {"database": kept, "reason": "replaced more than 7 days ago"}
    ]
    assert kept in databases_of(filled.server)

    stem = taken["backup"].split(".")[0]
    key = f"postgres-backup/manifests/{stem}.json"
    whole = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3_client.put_object(
        Bucket=bucket, Key=key, Body=json.dumps(json.loads(whole) | {"bytes": 1}).encode()
    )  # no good backup is left
    assert prune_backups(Job(settings))["replaced_kept"] == [
        {
            "database": kept,
            "reason": "no good backup is newer than it: it may hold the only newer data",
        }
    ]
    s3_client.put_object(Bucket=bucket, Key=key, Body=whole)

    done = engine.run(config.path, "prune", "--json")
    assert engine.answer(done)["replaced_deleted"] == would["replaced_deleted"]
    assert kept not in databases_of(filled.server)
    assert not prune_backups(Job(settings))["changed"]


def test_a_server_that_is_down_is_a_finding_of_a_prune_and_no_failure(filled, config):
    create_backup(Job(config.settings))
    found = prune_backups(Job(config.change(DB_PORT=1)))
    assert [finding["code"] for finding in found["findings"]] == ["DATABASE_UNREACHABLE"]
    assert found["replaced_kept"] == found["replaced_deleted"] == []


def test_one_that_somebody_renamed_is_adopted_told_once_and_never_touched(diary, clock):
    database, job = diary
    kept = restore(job, database.owner, "restored", "the diary")
    run_sql(database.server, "postgres", "ALTER DATABASE {kept} RENAME TO shop_archive", kept=kept)
    clock.offset = timedelta(days=30)
    told = prune(job)
    assert (told.deleted, told.kept, codes(told)) == ([], [], ["REPLACED_ADOPTED"])
    message = told.findings[0]["message"]
    assert message.startswith("shop_archive says that a restore of ")
    nights(clock, job, 9)
    assert prune(job).findings == []
    assert database.server.execute("SELECT said FROM day", "shop_archive") == [("live",)]
    # a status says it as long as it is so
    [finding] = seen_by_status(job, database)
    assert (finding["code"], finding["message"]) == ("REPLACED_ADOPTED", message)
    with pytest.raises(UsageError, match="Nothing to undo"):
        undo_restore(job)
    with pytest.raises(UsageError, match="Nothing to undo"):
        undo_restore(job, kept="shop_archive")
    # what it says to type ends it
    run_sql(database.server, "postgres", message.partition("To end this message: ")[2])
    assert comment_of(database, "shop_archive") is None
    assert seen_by_status(job, database) == []


def test_one_that_was_written_to_stays_and_one_that_was_read_goes(diary, clock):
    database, job = diary
    written = restore(job, database.owner, "restored")
    untouched = restore(job, database.owner, "live at last")
    with psycopg.connect(database.dsn(written), autocommit=True) as connection:
        connection.execute("INSERT INTO day VALUES ('only here')")
    with psycopg.connect(database.dsn(untouched), autocommit=True) as connection:
        assert connection.execute("SELECT said FROM day").fetchall() == [("restored",)]
    nights(clock, job, 7, NEVER)
    clock.offset += timedelta(days=1)
    planned = prune(Job(job.settings, check=True))
    done = prune(job)
    assert (planned.deleted, planned.findings) == (done.deleted, done.findings)
    assert [line["database"] for line in done.deleted] == [untouched]
    assert untouched not in databases_of(database.server)
    reason = "public.day was written to since it was replaced"
    assert done.kept == [{"database": written, "reason": reason}]
    [finding] = done.findings
    assert finding["code"] == "REPLACED_IN_USE"
    assert finding["message"] == (
        f"{written} is past its time and stays: {reason}. "
        f'If nobody needs it: DROP DATABASE "{written}";'
    )
    assert database.server.execute("SELECT count(*) FROM day", written) == [(2,)]


def test_one_in_which_somebody_is_stays(diary, clock):
    database, job = diary
    kept = restore(job, database.owner, "restored")
    nights(clock, job, 7, NEVER)
    clock.offset += timedelta(days=1)
    with psycopg.connect(database.dsn(kept), autocommit=True) as reader:
        assert reader.execute("SELECT said FROM day").fetchall() == [("live",)]
        found = prune(job)
        assert found.kept == [{"database": kept, "reason": f"{database.owner} is connected to it"}]
        assert codes(found) == ["REPLACED_IN_USE"]
        assert reader.execute("SELECT 1").fetchone() == (1,)
    assert [line["database"] for line in prune(job).deleted] == [kept]


def test_a_clock_that_stood_ten_days_behind_makes_nothing_old(diary, clock):
    database, job = diary
    last_night = utc_now() - timedelta(hours=10)
    clock.offset = timedelta(days=-10)
    kept = restore(job, database.owner, "restored")
    clock.offset = timedelta()
    for _ in range(2):
        assert prune(job, last_night).kept == [
            {
                "database": kept,
                "reason": "replaced long ago by the clock, but seen by prunes for 0 of 7 days",
            }
        ]
    nights(clock, job, 6)
    assert kept in databases_of(database.server)
    nights(clock, job, 2)
    assert kept not in databases_of(database.server)


def test_a_mark_that_came_with_a_copy_counts_for_nothing(diary, clock):
    """A database of another name, made from a kept one or from its dump, comment and all."""
    database, job = diary
    kept = restore(job, database.owner, "restored")
    said = comment_of(database, kept)
    copy = f"{database.name}_staging"
    run_sql(
        database.server, "postgres", "CREATE DATABASE {copy} TEMPLATE {kept}", copy=copy, kept=kept
    )
    set_comment(database, copy, said)
    # and under the very name: the kept one was dropped and made again from its dump
    again = restore(job, database.owner, "restored again")
    its = comment_of(database, again)
    run_sql(database.server, "postgres", "DROP DATABASE {again}", again=again)
    run_sql(database.server, "postgres", "CREATE DATABASE {again}", again=again)
    set_comment(database, again, its)
    nights(clock, job, 9)
    assert databases_of(database.server) >= {copy, again}
    assert kept not in databases_of(database.server)
    with pytest.raises(UsageError, match="Nothing to undo"):
        undo_restore(job)


def test_a_mark_is_taken_off_whatever_is_live(diary, config, s3_client, bucket):
    """Renamed back by hand: no backup saves the mark, and none of 0.1.0 brings one back."""
    database, job = diary
    set_comment(database, database.name, "the diary")
    kept = restore(job, database.owner, "restored", "the diary")
    run_sql(
        database.server,
        "postgres",
        "ALTER DATABASE {live} RENAME TO broken",
        "ALTER DATABASE {kept} RENAME TO {live}",
        live=database.name,
        kept=kept,
    )
    assert mark.read(comment_of(database, database.name))
    taken = create_backup(job)
    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    manifest = json.loads(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert manifest["comment"] == "the diary"
    prune(Job(job.settings, check=True))
    assert mark.read(comment_of(database, database.name))
    prune(job)
    assert comment_of(database, database.name) == "the diary"
    # version 0.1.0 saved the mark as the comment
    manifest["comment"] = mark.make(
        mark.KEPT, "other", "the diary", replaced_at="2026-01-27T12:00:00Z"
    ).written()
    forget_signed(job.settings)
    put_signed(s3_client, bucket, key, json.dumps(manifest).encode())
    restore_database(job, "latest")
    assert comment_of(database, database.name) == "the diary"


def test_one_that_0_1_0_kept_is_judged_from_the_first_look_on(diary, clock):
    database, job = diary
    kept, written = (restore(job, database.owner, text) for text in ("restored", "again"))
    for name in (kept, written):
        fields = mark.read(comment_of(database, name)).fields
        old = ("postgres-backup", "database", "replaced_at", "by", "comment")
        set_comment(database, name, json.dumps({key: fields[key] for key in old}))
    clock.offset = timedelta(days=30)
    assert [line["reason"] for line in prune(job).kept] == [
        "replaced long ago by the clock, but seen by prunes for 0 of 7 days"
    ] * 2
    database.server.execute("INSERT INTO day VALUES ('only here')", written)
    nights(clock, job, 9)
    assert kept not in databases_of(database.server)
    assert database.server.execute("SELECT count(*) FROM day", written) == [(2,)]


@pytest.fixture
def logical(tmp_path_factory, new_config, s3, bucket):
    """A database of a server that replicates logically, and can be let crash; its job."""
    with BriefPostgresServer(
        tmp_path_factory.mktemp("logical"),
        16,
        settings={"wal_level": "logical"},
    ) as server:
        server.execute("CREATE ROLE keeper LOGIN CREATEDB PASSWORD 'keeper-of-a-test'")
        server.execute("CREATE DATABASE books OWNER keeper")
        made = Database(server, "books", "keeper", "keeper-of-a-test", "")
        config = new_config(made, s3, bucket)
        fill(Job(config.settings), "books", "live")
        yield made, config


def test_replication_that_stays_with_the_kept_database_is_said_everywhere(logical, clock):
    database, config = logical
    job, server = Job(config.settings), database.server
    create_backup(job)
    server.execute("SELECT pg_create_logical_replication_slot('shop', 'pgoutput')", "books")
    server.execute(
        "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p"
        " WITH (connect = false, slot_name = 'news')",
        "books",
    )
    planned = restore_database(Job(config.settings, check=True), "latest")
    done = restore_database(job, "latest")
    for result in (planned, done):
        said, news = [one for one in result["findings"] if one["code"] == "REPLICATION_LEFT"]
        assert "news stays with the database that is replaced, switched off" in news["message"]
        assert (
            "the logical replication slot shop stays with the database that is" in said["message"]
        )
        assert "SELECT pg_drop_replication_slot('shop');" in said["message"]
        assert "pg_create_logical_replication_slot('shop', 'pgoutput');" in said["message"]
    kept = done["kept_database"]
    assert server.execute("SELECT database FROM pg_replication_slots") == [(kept,)]
    [listed] = kept_databases.look(config.settings, "books", []).replaced
    [slot] = listed["slots"]
    assert (slot["name"], slot["active"], slot["held_bytes"] > 0) == ("shop", False, True)
    shown = engine.run(config.path, "status").stdout
    assert "its replication slot shop holds back " in shown
    nights(clock, job, 8)
    found = prune(job)
    assert [line["database"] for line in found.kept] == [kept]
    assert "the replication slot shop belongs to it" in found.findings[0]["message"]
    assert server.execute("SELECT database FROM pg_replication_slots") == [(kept,)]
    # what lets nobody drop it is no reason to fail
    server.execute("SELECT pg_drop_replication_slot('shop')", kept)
    [found] = prune(job).findings
    assert found["code"] == "REPLACED_IN_USE"
    assert 'it has the subscription news (in it: ALTER SUBSCRIPTION "news"' in found["message"]
    for change in ("ALTER SUBSCRIPTION news SET (slot_name = NONE)", "DROP SUBSCRIPTION news"):
        server.execute(change, kept)
    # a crash of the server, which loses its statistics, is no writing, and hides none
    written = restore(job, database.owner, "again")
    server.execute("INSERT INTO day VALUES ('only here')", written)
    server.stop("immediate")
    server.start()
    config.change(DB_PORT=server.port)
    job = Job(config.settings)
    nights(clock, job, 8)
    assert databases_of(server) & {kept, written} == {written}
    assert server.execute("SELECT count(*) FROM day", written) == [(2,)]
