"""What is found out before a restore, and what would fail later and is said now; nothing is
touched.
"""

from __future__ import annotations

import re

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import manifest
from postgres_backup.errors import BadBackupError, DatabaseError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.preflight import make_plan
from postgres_backup.restore.room import SPARE
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.services.signing import forget_signed, put_signed


def test_a_plan_says_what_is_going_to_happen(database, config, s3_client, bucket):
    server, name = database.server, database.name
    settings = as_superuser(config, server)
    run_sql(
        server, name, "CREATE TABLE t AS SELECT 1 AS id", "CREATE ROLE {role}", role=f"{name}_r"
    )
    run_sql(server, name, "GRANT SELECT ON t TO {role}", role=f"{name}_r")
    taken = create_backup(Job(settings))
    run_sql(server, name, "DROP OWNED BY {role}; DROP ROLE {role}", role=f"{name}_r")
    there = databases_of(server)
    with database.server.connect(name):
        plan = make_plan(Job(settings), "latest")
    assert (plan.name, plan.database, plan.backup.key) == (taken["backup"], name, taken["key"])
    assert plan.dumped_by_us
    assert plan.live is not None
    assert (plan.wanted.owner, plan.wanted.encoding) == (database.owner, "UTF8")
    assert plan.wanted.tablespace is None  # the usual one goes without saying
    assert (plan.missing_roles, plan.sessions, plan.findings) == ((f"{name}_r",), 1, ())
    assert server.superuser in plan.superusers
    found = engine.manifest_of(s3_client, bucket, taken)
    assert plan.needed_bytes == int(found["database_bytes"] * SPARE)
    assert (plan.free_bytes or 0) > plan.needed_bytes
    assert databases_of(server) == there
    run_sql(server, "postgres", "DROP DATABASE {name}", name=name)
    assert make_plan(Job(settings), "latest").live is None
    with pytest.raises(DatabaseError, match="no database"):
        make_plan(Job(settings), "latest", in_place=True)
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=b"another size")
    with pytest.raises(BadBackupError, match="is not whole") as caught:
        make_plan(Job(settings), taken["backup"])
    assert [finding["code"] for finding in caught.value.findings] == ["SIZE_DIFFERS"]


def test_an_extension_or_a_version_that_the_server_lacks(postgres_server, new_config, s3, bucket):
    """From 15 with an extension that the other server has not; from 18 into 16."""
    old, new = postgres_server(15), postgres_server(16)
    for server in (old, new):
        server.execute("CREATE DATABASE movable")
    try:
        theirs = new_config(Database(old, "movable", old.superuser, old.password, ""), s3, bucket)
        ours = new_config(Database(new, "movable", new.superuser, new.password, ""), s3, bucket)
        run_sql(old, "movable", "CREATE EXTENSION hstore")
        create_backup(Job(theirs.settings))
        before = databases_of(new)
        with pytest.raises(DatabaseError, match="lacks the extensions hstore"):
            restore_database(Job(ours.settings), "latest")
        taken = create_backup(Job(ours.settings))
        with pytest.raises(
            DatabaseError, match="made by PostgreSQL 16, this server is 15"
        ) as caught:
            restore_database(Job(theirs.settings), taken["backup"])
        assert caught.value.hint == "Restore it into PostgreSQL 16 or newer"
        assert databases_of(new) == before
    finally:
        for server in (old, new):
            run_sql(server, "postgres", "DROP DATABASE movable")


def test_whose_backup_it_is(database, new_database, config, new_config, s3, bucket):
    """A name alone brings back this database's own; another's needs its whole key, and is told."""
    server = database.server
    other = new_database()
    run_sql(
        server,
        other.name,
        "GRANT CREATE ON SCHEMA public TO {owner}",
        "SET ROLE {owner}; CREATE TABLE theirs (id int)",
        owner=other.owner,
    )
    theirs = new_config(other, s3, bucket, SERVER_NAME="elsewhere")
    taken = create_backup(Job(theirs.settings))
    ours = create_backup(Job(config.settings))
    assert restore_database(Job(config.settings, check=True), "latest")["backup"] == ours["backup"]
    with pytest.raises(
        UsageError,
        match=f"a backup of the database {other.name} on elsewhere, not of {database.name}",
    ) as caught:
        restore_database(Job(config.settings), taken["backup"])
    key = caught.value.hint.rpartition(" ")[2]
    assert key == f"s3://{bucket}/{taken['key']}"
    assert not server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'theirs'", database.name)
    result = restore_database(Job(as_superuser(config, server)), key)
    assert "FOREIGN_BACKUP" in [finding["code"] for finding in result["findings"]]
    assert server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'theirs'", database.name) == [
        (1,)
    ]
    with pytest.raises(UsageError) as caught:
        restore_database(Job(config.settings), "postgres-backup-2026-01-27_00-00-00.sql.gz")
    assert caught.value.exit_status == 2
    assert ours["backup"] in caught.value.hint


def test_all_that_stands_in_the_way_is_told_at_once(
    postgres_server, new_config, s3, s3_client, bucket
):
    """Whoever mends one thing does not learn of the next only then; check mode says the same, and
    nothing is touched.
    """
    server = postgres_server(15)
    server.execute("CREATE DATABASE obstacles")
    server.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk-of-a-test'")
    try:
        config = new_config(
            Database(server, "obstacles", server.superuser, server.password, ""), s3, bucket
        )
        taken = create_backup(Job(config.settings))
        forget_signed(config.settings)
        found = engine.manifest_of(s3_client, bucket, taken)
        found |= {
            "extensions": [{"name": "no_such_thing", "version": "1", "schema": "public"}],
            "roles": ["postgres", "somebody_else"],
        }
        found |= {
            "database_bytes": 10**15,
            "postgresql_version": "17.1",
            "locale": found["locale"] | {"collate": "xx_YY.UTF-8", "ctype": "xx_YY.UTF-8"},
        }
        key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
        put_signed(s3_client, bucket, key, manifest.dump(found))
        before = databases_of(server)
        clerk = config.change(DB_USER="clerk", DB_PASSWORD="clerk-of-a-test")
        for check in (True, False):
            with pytest.raises(DatabaseError) as caught:
                restore_database(Job(clerk, check=check), "latest")
            told = (
                "PostgreSQL 17",
                "no_such_thing",
                "may not create databases",
                "xx_YY",
                "its owner is postgres",
                "somebody_else",
            )
            for number, words in enumerate(told, 1):
                assert re.search(rf"{number}\. [^;]*{words}", caught.value.message), (
                    words,
                    caught.value.message,
                )
            assert "3. As a superuser: ALTER ROLE" in caught.value.hint
            assert databases_of(server) == before
    finally:
        server.execute("DROP DATABASE obstacles")
        server.execute("DROP ROLE clerk")


def test_a_locale_that_the_system_lacks_is_known_before_anything_is_touched(
    database, config, s3_client, bucket
):
    server = database.server
    taken = create_backup(Job(config.settings))
    forget_signed(config.settings)
    found = engine.manifest_of(s3_client, bucket, taken)
    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    right = dict(found["locale"])
    for change in ({"collate": "xx_YY.UTF-8", "ctype": "xx_YY.UTF-8"}, {"collate": "xx_YY.UTF-8"}):
        put_signed(s3_client, bucket, key, manifest.dump(found | {"locale": right | change}))
        before = databases_of(server)
        for check in (True, False):
            with pytest.raises(
                DatabaseError, match="lacks the locale that the backup needs"
            ) as caught:
                restore_database(Job(config.settings, check=check), "latest")
            assert "locale-gen" in caught.value.hint
            assert databases_of(server) == before
    put_signed(s3_client, bucket, key, manifest.dump(found))
    restore_database(Job(config.settings), "latest")
