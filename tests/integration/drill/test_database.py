"""A drill as it is typed: what it leaves behind, whom it keeps waiting, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import history
from postgres_backup.clock import format_timestamp, utc_now
from postgres_backup.drill import overdue, record
from postgres_backup.drill.database import drill_database
from postgres_backup.drill.result import lines
from postgres_backup.errors import LockedError, UsageError
from postgres_backup.health import alarms
from postgres_backup.job import Job
from postgres_backup.machine import lock, state
from postgres_backup.machine.progress import Progress, Recorder
from postgres_backup.nightly.watch import look_around
from postgres_backup.postgresql import replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.steps import load_step, swap_step
from tests.integration import engine
from tests.integration.restoring import databases_of
from tests.waiting import wait_for


@pytest.fixture
def filled(database, config):
    """A database of its user's, with 1,000 rows and a backup; the config."""
    database.execute("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n")
    database.execute(f'ALTER TABLE users OWNER TO "{database.owner}"')
    create_backup(Job(config.settings))
    return config


def codes(result: dict) -> set[str]:
    return {found["code"] for found in result["findings"]}


def sides(database) -> set[str]:
    return {name for name in databases_of(database.server) if "_restore_" in name}


def test_what_is_known_afterwards(filled, database, s3_client, bucket):
    """Proof, journal and state; and the same in words."""
    heard = Recorder(Progress())
    since = utc_now()
    result = drill_database(Job(filled.settings, progress=heard))
    assert (result["changed"], result["passed"], result["rows"]) == (True, True, 1000)
    assert lines(result)[0] in heard.lines
    assert set(result["phases"]) == {"load", "statistics", "compare"}
    assert sides(database) == set()
    [proof] = engine.proofs_of(s3_client, bucket, result)
    assert proof["kind"] == "restored"
    job = Job(filled.settings)
    told = [e for e in history.events(job.settings, job.store, since) if e["event"] == "drill"]
    assert [(e["backup"], e["rows"]) for e in told] == [(result["backup"], 1000)]
    remembered = state.read(filled.settings, record.LAST_DRILLS)[database.name]
    assert (remembered["passed"], remembered["backup"]) == (True, result["backup"])


def test_a_switch_of_its_own_hears_how_it_ended(filled, database, web):
    """Another than that of the nights; a drill that is only planned is none."""
    settings = filled.change(DRILL_PING_URL=f"{web.url}/drills/a-secret", PING_URL=f"{web.url}/no")
    drill_database(Job(settings, check=True))
    assert web.paths == []
    assert drill_database(Job(settings))["passed"]
    assert web.paths == ["/drills/a-secret/start", "/drills/a-secret"]
    assert web.requests[1].body.startswith(f"{database.name}: the drill of")
    database.execute("DROP TABLE users")
    asked = '\'{"sql": "SELECT false"}\''
    settings = filled.change(DRILL_QUERIES=asked)
    assert not drill_database(Job(settings))["passed"]
    assert web.paths[2:] == ["/drills/a-secret/start", "/drills/a-secret/fail"]
    assert "QUERY_DIFFERS" in web.requests[3].body
    with pytest.raises(UsageError):
        drill_database(Job(settings), "postgres-backup-2026-01-27_00-00-00.sql.gz")
    assert web.paths[4:] == ["/drills/a-secret/start", "/drills/a-secret/fail"]
    web.status = 500
    told = drill_database(Job(settings))["findings"]
    failed = [found["message"] for found in told if found["code"] == "PING_FAILED"]
    assert len(failed) == 2
    assert "backup_drill_ping_url" in failed[0]
    assert "a-secret" not in json.dumps(told)


def test_a_check_loads_nothing_and_notes_nothing(filled, database, s3_client, bucket):
    before = engine.keys(s3_client, bucket)
    result = drill_database(Job(filled.settings, check=True))
    assert (result["changed"], result["passed"], result["rows"]) == (False, True, None)
    assert "would be restored" in lines(result, check=True)[0]
    assert {c["check"]: c["outcome"] for c in result["checks"]}["load"] == "unchecked"
    assert engine.keys(s3_client, bucket) == before
    assert state.read(filled.settings, record.LAST_DRILLS) == {}


def test_a_failure_is_an_alarm_until_one_passes(filled, database, s3_client, bucket):
    backup = engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-")[0]
    body = s3_client.get_object(Bucket=bucket, Key=backup)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=backup, Body=bytes([*body[:-9], *(9 * [0])]))
    result = drill_database(Job(filled.settings))
    assert not result["passed"]
    assert "FAILED: OBJECT_ALTERED" in lines(result)[0]
    assert "NOT_CHECKED" in codes(result)
    [alarm] = alarms.open_alarms(filled.settings)
    assert alarm["code"] == "DRILL_FAILED"
    assert "OBJECT_ALTERED" in alarm["message"]
    [event] = history.events(
        filled.settings, Job(filled.settings).store, utc_now().replace(hour=0, minute=0)
    )[:1]
    assert (event["event"], event["reason"][:14]) == ("drill-failed", "OBJECT_ALTERED")
    s3_client.put_object(Bucket=bucket, Key=backup, Body=body)
    assert drill_database(Job(filled.settings))["passed"]
    assert alarms.open_alarms(filled.settings) == []


def test_levels_and_status_and_junit(filled, tmp_path):
    """What nobody could look at fails where a warning does, and is an error in JUnit anyway."""
    path = tmp_path / "drill.xml"
    done = engine.run(filled.path, "drill", "--json", "--junit", str(path))
    assert done.returncode == 0, done.stderr
    told = engine.answer(done)
    assert told["passed"]
    suite = ElementTree.parse(path).getroot()
    assert [case.get("name") for case in suite] == [check["check"] for check in told["checks"]]
    unchecked = {case.get("name") for case in suite if case.find("error") is not None}
    assert unchecked == {"size", "server"}  # this user may not ask where the server's disk is
    assert suite.get("failures") == "0"
    strict = engine.run(filled.path, "drill", "--fail-on", "warning")
    assert strict.returncode == 4
    assert "Not checked, so not known: server, size" in strict.stdout
    refused = engine.run(filled.path, "drill", "--junit", str(tmp_path))
    engine.failed_well(refused, 2, "cannot be written")


def test_your_own_questions(filled, database):
    """Read only, one statement, in their time; each is a check."""
    asked = [
        {"sql": "SELECT count(*) FROM users", "compare": ">=", "expect": 1000},
        {"name": "true", "sql": "SELECT EXISTS (SELECT FROM users WHERE id = 7)"},
        {"name": "other", "sql": "SELECT count(*) FROM users", "expect": 7},
        {"name": "writes", "sql": "DELETE FROM users RETURNING 1"},
        {"name": "two", "sql": "COMMIT; DELETE FROM users"},
        {"name": "slow", "sql": "SELECT pg_sleep(30)", "timeout": 0.1},
        {"name": "none", "sql": "SELECT 1 WHERE false"},
        {"name": "wrong", "sql": "SELECT nothing FROM users"},
    ]
    one_by_one = " ".join(f"'{json.dumps(query)}'" for query in asked)
    settings = filled.change(DRILL_QUERIES=one_by_one)
    result = drill_database(Job(settings))
    outcomes = {
        check["check"].removeprefix("query: "): check["outcome"]
        for check in result["checks"]
        if check["check"].startswith("query: ")
    }
    assert outcomes == {
        "SELECT count(*) FROM users": "passed",
        "true": "passed",
        **dict.fromkeys(("other", "writes", "two", "slow", "none", "wrong"), "failed"),
    }
    errors = {one["name"]: one["error"] for one in result["queries"]}
    assert "read-only transaction" in errors["writes"]
    assert "multiple commands" in errors["two"]
    assert "timeout" in errors["slow"]
    assert codes(result) >= {"QUERY_DIFFERS", "QUERY_FAILED"}
    assert not result["passed"]
    with pytest.raises(UsageError, match="DRILL_QUERIES"):
        drill_database(Job(filled.change(DRILL_QUERIES="'{}'")))
    assert sides(database) == set()


def test_without_the_key_it_says_so_and_with_it_it_passes(filled):
    key = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    private = key.splitlines()[-1]
    public = next(line for line in key.splitlines() if "public key" in line).split()[-1]
    settings = filled.change(AGE_RECIPIENTS=public)
    create_backup(Job(settings))
    result = drill_database(Job(settings))
    assert "KEY_NOT_GIVEN" in codes(result)
    assert not result["passed"]
    assert drill_database(Job(settings, identities=(private,)))["passed"]


def test_a_backup_does_not_wait_and_a_second_drill_is_told(filled, database):
    with lock.hold(filled.settings, database.name, "backup"):
        assert drill_database(Job(filled.settings))["passed"]
    with lock.hold(filled.settings, f"the drill of {database.name}", "drill"):
        assert create_backup(Job(filled.settings))["rows"] == 1000
        with pytest.raises(LockedError, match="drill since"):
            drill_database(Job(filled.settings))


@pytest.fixture
def slow(filled, database):
    """A drill takes ten seconds, or forty where the machine is busy: three megabytes, in pieces
    of a tenth of one.
    """
    database.execute("""
        CREATE TABLE much AS SELECT (
            SELECT string_agg(md5((n * 1000 + k)::text), '') FROM generate_series(1, 200) k
        ) FROM generate_series(1, 500) n""")
    database.execute(f'ALTER TABLE much OWNER TO "{database.owner}"')
    filled.change(DRILL_MB_PER_SECOND=0.3)
    create_backup(Job(filled.settings))
    return filled


def under_way(database) -> str:
    """The side database of a drill, once it stands and rows are on their way."""
    return wait_for("a side database", lambda: next(iter(sides(database)), ""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_leaves_nothing(slow, database, number):
    with engine.started(slow.path, "drill") as process:
        under_way(database)
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 1, said
    assert "Stopped by" in said
    assert sides(database) == set()


def test_killed_it_leaves_a_copy_that_the_next_one_removes(slow, database):
    with engine.started(slow.path, "drill") as process:
        left = under_way(database)
        wait_for("its mark", lambda: "drill" in str(comment_of(database, left)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with connect_maintenance(slow.settings, database.name) as connection:
        assert replaced.leftovers(connection, database.name, drill=True) == [left]
        with pytest.raises(UsageError, match="no side database"):
            replaced.side(connection, database.name, left)
    settings = slow.change(DRILL_MB_PER_SECOND=0)
    assert drill_database(Job(settings))["passed"]
    assert sides(database) == set()


def comment_of(database, name: str) -> str | None:
    asked = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    [(comment,)] = database.server.execute(asked, params=(name,)) or [(None,)]
    return comment


def test_it_removes_no_copy_of_a_restore(filled, database):
    """Between two steps of a playbook it stands there, and nobody holds a lock."""
    loaded = load_step(Job(filled.settings), "latest")
    assert drill_database(Job(filled.settings))["passed"]
    assert sides(database) == {loaded["side_database"]}
    swap_step(Job(filled.settings), loaded["backup"], loaded["side_database"])


def test_a_restore_does_not_wait_and_the_drill_gives_way(slow, database):
    with engine.started(slow.path, "drill", "--json") as process:
        under_way(database)
        with lock.hold(slow.settings, database.name, "restore"):
            with connect_maintenance(slow.settings, database.name) as connection:
                wait_for("its mark", lambda: replaced.leftovers(connection, database.name))
                for name in replaced.leftovers(connection, database.name):
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            out, said = process.communicate(timeout=60)
    assert process.returncode == 4, said
    told = json.loads(out)
    assert "DRILL_GAVE_WAY" in codes(told)
    assert alarms.open_alarms(slow.settings) == []
    slow.change(DRILL_MB_PER_SECOND=0)
    assert restore_database(Job(slow.settings), "latest")["rows"] == 1500


def test_it_goes_at_its_rate_and_takes_one_process(slow, database):
    """The rate itself is told by a clock, in tests/unit/machine/test_pace.py."""
    with engine.started(slow.path, "drill") as process:
        side = under_way(database)
        settings = wait_for(
            "its settings",
            lambda: database.server.execute(
                "SELECT unnest(setconfig) FROM pg_db_role_setting s"
                " JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s",
                params=(side,),
            ),
        )
        assert ("max_parallel_maintenance_workers=0",) in settings
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert sides(database) == set()


def test_the_hourly_look_tells_of_one_that_is_overdue_and_a_drill_ends_that(filled, database):
    def told() -> list[str]:
        return [
            alarm["code"]
            for alarm in look_around(filled.settings, Progress())["troubles"]
            if alarm["code"].startswith("DRILL")
        ]

    long_ago = format_timestamp(utc_now() - timedelta(days=36))
    with state.changing(filled.settings, overdue.WATCHED) as watched:
        watched[database.name] = long_ago
    assert told() == ["DRILL_OVERDUE"]
    assert drill_database(Job(filled.settings))["passed"]
    assert alarms.open_alarms(filled.settings) == []
    assert told() == []
