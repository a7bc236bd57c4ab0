"""What version 0.1.0 left on a server and in a bucket goes on working: list, verify, restore, undo,
prune, adopt, kit, status.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from psycopg import sql

from postgres_backup.machine import config_file
from tests.integration import engine
from tests.integration.restoring import run_sql

LEFT = Path(__file__).resolve().parents[1] / "fixtures/version_0_1_0"
#: rows of each backup, oldest first
ROWS = (300, 301, 302, 302)


@pytest.fixture
def school(postgres, new_database, s3, s3_client, bucket, new_config, tmp_path):
    """The server: its config with our addresses, its state, its databases; and its bucket."""
    for path in sorted((LEFT / "bucket").rglob("*")):
        if path.is_file():
            key = path.relative_to(LEFT / "bucket").as_posix()
            s3_client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    made = new_database("school", owner="school_owner")
    run_sql(postgres, "postgres", "CREATE ROLE school_reader NOLOGIN")
    for known in json.loads((LEFT / "server/databases.json").read_text()):
        if known["name"] != "school":
            run_sql(
                postgres,
                "postgres",
                "CREATE DATABASE {name} OWNER school_owner",
                name=known["name"],
            )
            run_sql(postgres, known["name"], "CREATE TABLE before AS SELECT 'as it was' AS said")
        postgres.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(known["name"]), sql.Literal(known["comment"])
            )
        )
    state = tmp_path / "state"
    shutil.copytree(LEFT / "server/var/lib/postgres-backup", state)
    values = config_file.parse((LEFT / "server/etc/postgres-backup/backup-config.env").read_text())
    config = new_config(made, s3, bucket)
    config.values = values | {
        name: config.values[name]
        for name in (
            "DB_HOST",
            "DB_PORT",
            "DB_PASSWORD",
            "PG_BIN_DIR",
            "S3_ENDPOINT_URL",
            "S3_BUCKET_NAME",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        )
    }
    config.change(STATE_DIR=state, RETENTION_DAYS=36500, KEEP_REPLACED_DAYS=36500)
    return config


def ask(config, *arguments: str, status: int = 0) -> dict:
    done = engine.run(config.path, *arguments, "--json")
    assert done.returncode == status, done.stderr
    return engine.answer(done)


def ours(config) -> list[str]:
    """The names of its own backups, oldest first."""
    lines = ask(config, "list")["backups"]
    assert {line["state"] for line in lines if not line["ours"]} <= {"unproven"}
    return [line["backup"] for line in reversed(lines) if line["ours"]]


def lessons(postgres, name: str) -> int:
    (count,) = postgres.execute("SELECT count(*) FROM lessons", name)[0]
    return count


def test_its_backups_are_listed_verified_and_restored(school, postgres):
    names = ours(school)
    assert [name.partition(".")[2] for name in names] == ["sql.gz", "dump", "sql.zst", "sql.gz"]
    for name, rows in zip(names, ROWS, strict=True):
        assert ask(school, "verify", name)["rows"] == rows
        assert ask(school, "restore", name)["rows"] == rows
        assert lessons(postgres, "school") == rows - 60
    undone = ask(school, "undo-restore")
    assert undone["restored_database"].startswith("school_before_")
    assert lessons(postgres, "school") == ROWS[2] - 60


def test_the_database_that_it_kept_comes_back(school, postgres):
    [kept] = [
        known["name"]
        for known in json.loads((LEFT / "server/databases.json").read_text())
        if known["name"] != "school"
    ]
    [listed] = ask(school, "status")["databases"]["school"]["replaced"]
    assert listed["name"] == kept
    undone = ask(school, "undo-restore")
    assert undone["restored_database"] == kept
    assert postgres.execute("SELECT said FROM before", "school") == [("as it was",)]
    comment = (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'school'"
    )
    assert postgres.execute(comment) == [("lessons and pupils",)]


def test_one_table_of_it_comes_back(school, postgres):
    name = ours(school)[0]
    ask(school, "restore", name)
    run_sql(postgres, "school", "DELETE FROM lessons WHERE id > 10")
    [table] = ask(school, "restore", name, "--tables", "lessons")["tables"]
    assert (table["rows"], table["inserted"]) == (240, 230)


def test_its_retention_goes_on_and_old_dumps_wait_for_adoption(school):
    planned = ask(school, "prune", "--check")
    assert (planned["deleted"], planned["waiting"], len(planned["kept"])) == ([], 2, 6)
    ask(school, "restore", ours(school)[0])  # there must be a database to adopt for
    adopted = ask(school, "adopt")
    assert len(adopted["adopted"]) == 2
    assert ask(school, "prune", "--check")["waiting"] == 0
    school.change(RETENTION_DAYS=1)
    newest = ours(school)[-1]
    ask(school, "prune", "--allow-many")
    assert newest in ours(school)


def test_its_state_and_its_kit_are_read(school, tmp_path):
    found = ask(school, "history", "--days", "36500")
    assert {"backup", "restore"} <= {event["event"] for event in found["events"]}
    ask(school, "restore-kit", "latest", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/srv/school/uploads/a.txt").read_text() == "a\n"
    ask(school, "restore", ours(school)[-1])  # a database that lost all of its rows is an alarm
    taken = ask(school, "backup")
    found = ask(school, "status")
    assert found["databases"]["school"]["last"]["backup"] == taken["backup"]
    assert found["last_run"]["exit_status"] == 0
