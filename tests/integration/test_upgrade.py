"""What version 0.1.0 left on a server and in a bucket goes on working: list, verify, restore, undo,
prune, adopt, kit, status.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from psycopg import sql

from postgres_backup.machine import config_file
from tests.integration import engine
from tests.integration.restoring import databases_of, run_sql

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
    # what is there only gets older, and is too old for status from the beginning
    config.change(STATE_DIR=state, RETENTION_DAYS=36500, KEEP_REPLACED_DAYS=36500, FRESH_HOURS=1)
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


def test_its_backups_are_listed_verified_and_restored_by_hand(school, postgres):
    """Nobody has signed them: a restore wants a word, and says which."""
    names, before = ours(school), databases_of(postgres)
    assert [name.partition(".")[2] for name in names] == ["sql.gz", "dump", "sql.zst", "sql.gz"]
    listed = engine.run(school.path, "list").stdout
    assert len(re.findall(r"(good|proven), unsigned ", listed)) == len(names)
    for asked in ("latest", names[0]):
        refused = engine.run(school.path, "restore", asked)
        said = engine.failed_well(refused, 2, "Nobody vouches for postgres-backup-", "UNSIGNED")
        assert "type the same with --trust-unsigned" in said
        assert "postgres-backup adopt --yes" in said
    assert databases_of(postgres) == before
    for name, rows in zip(names, ROWS, strict=True):
        assert ask(school, "verify", name)["rows"] == rows
        assert ask(school, "restore", name, "--trust-unsigned")["rows"] == rows
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
    [listed] = ask(school, "status", status=4)["databases"]["school"]["replaced"]
    assert listed["name"] == kept
    undone = ask(school, "undo-restore")
    assert undone["restored_database"] == kept
    assert postgres.execute("SELECT said FROM before", "school") == [("as it was",)]
    comment = (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'school'"
    )
    assert postgres.execute(comment) == [("lessons and pupils",)]


def test_adopted_once_all_of_it_is_used_without_a_word(
    school, postgres, s3_client, bucket, tmp_path
):
    """Its own backups, those of the scripts before it, and its kit."""
    names = ours(school)
    there = set(engine.keys(s3_client, bucket))
    assert ask(school, "status", status=4)["databases"]["school"]["waiting"] == 6
    offered = ask(school, "adopt", status=2)["offered"]
    assert [line["ours"] for line in offered] == [True] * 4 + [False] * 2 + [True]
    assert set(engine.keys(s3_client, bucket)) == there
    # old dumps do not say of which database they are: there must be one to hold them against
    ask(school, "restore", names[0], "--trust-unsigned")
    adopted = ask(school, "adopt", "--yes")
    assert (adopted["restored"], adopted["refused"]) == (names[-1], [])
    assert adopted["adopted"] == [line["backup"] for line in offered]
    again = engine.run(school.path, "adopt", "--yes")
    assert (again.returncode, again.stdout) == (0, "Nothing waits for adoption.\n")

    lines = ask(school, "list")["backups"]
    assert {(line["state"], line["signature"]) for line in lines} == {("proven", "trusted")}
    assert [line["ours"] for line in lines] == [True] * 6
    ask(school, "restore", lines[-1]["backup"])  # a script's
    assert ask(school, "restore", "latest")["rows"] == ROWS[-1]
    ask(school, "undo-restore")
    run_sql(postgres, "school", "DELETE FROM lessons WHERE id > 10")
    [table] = ask(school, "restore", names[0], "--tables", "lessons")["tables"]
    assert (table["rows"], table["inserted"]) == (240, 230)
    ask(school, "restore-kit", "latest", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/srv/school/uploads/a.txt").read_text() == "a\n"
    school.change(RETENTION_DAYS=1)
    ask(school, "prune", "--allow-many")
    assert names[-1] in ours(school)


def test_without_adoption_it_goes_on_by_its_first_signed_backup(school, tmp_path):
    found = ask(school, "history", "--days", "36500")
    assert {"backup", "restore"} <= {event["event"] for event in found["events"]}
    kit = ("restore-kit", "latest", "--to", str(tmp_path / "back"))
    said = engine.failed_well(engine.run(school.path, *kit), 2, "kit-", "UNSIGNED")
    assert "--trust-unsigned" in said
    assert not (tmp_path / "back").exists()
    ask(school, *kit, "--trust-unsigned")
    assert (tmp_path / "back/srv/school/uploads/a.txt").read_text() == "a\n"
    names = ours(school)
    # a database that lost all of its rows is an alarm
    ask(school, "restore", names[-1], "--trust-unsigned")
    taken = ask(school, "backup")["backup"]
    found = ask(school, "status")
    assert found["databases"]["school"]["last"]["backup"] == taken
    assert found["last_run"]["exit_status"] == 0
    assert found["databases"]["school"]["waiting"] == 6
    states = {line["backup"]: line["state"] for line in ask(school, "list")["backups"]}
    assert states.pop(taken) == "good"
    assert {states[name] for name in names} == {"unsigned"}
    assert ask(school, "restore", "latest", "--check")["backup"] == taken
    ask(school, "restore", names[-1], "--check", status=2)
    school.change(RETENTION_DAYS=1)
    planned = ask(school, "prune", "--check", "--allow-many")
    assert planned["waiting"] == 2
    kept = {line["backup"] for line in planned["kept"]}
    # no signed one was read to its end yet: the newest of before that was stays
    assert {taken, names[-1]} <= kept
