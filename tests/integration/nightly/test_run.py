"""What cron calls: in an empty environment, at its time, and never silent about a failure."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.integration import engine
from tests.services.proxy import FaultProxy

ROOT = Path(__file__).resolve().parents[3]


def ago(**spans: float) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(**spans)


@pytest.fixture
def crm(new_database, new_config, s3, bucket):
    """A database with a table, and its config."""
    database = new_database()
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    return database, new_config(database, s3, bucket, **database.as_superuser)


def night(config, *arguments: str, **more) -> subprocess.CompletedProcess:
    return engine.run(config.path, "run", *arguments, **more)


def test_a_key_that_may_not_delete_is_a_wanted_one(crm, s3, s3_client, bucket):
    """Old backups then stay until another key prunes, and the night is a good one."""
    database, config = crm
    old = engine.forge(s3_client, bucket, ago(days=30), database=database.name)
    with FaultProxy(s3.endpoint_url) as between:
        between.plan("status", "DELETE", times=1000, status=403, code="AccessDenied")
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        refused = night(config)
        assert refused.returncode == 1
        assert "does not allow" in last_line(refused)
        config.change(PRUNE_NIGHTLY="false")
        done = night(config)
        assert done.returncode == 0, done.stderr
        assert last_line(done).startswith("OK ")
        assert not [
            request
            for request in between.requests
            if request.startswith("DELETE") and "uploadId" not in request
        ][1:]
    config.change(S3_ENDPOINT_URL=s3.endpoint_url)
    assert [
        line["backup"]
        for line in engine.answer(engine.run(config.path, "prune", "--json"))["deleted"]
    ] == [old]


def last_line(done) -> str:
    """Of the log, without its time."""
    moment, _, text = done.stderr.splitlines()[-1].partition(" ")
    assert datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")
    return text


def test_a_good_night(crm, s3_client, bucket):
    database, config = crm
    old = [
        engine.forge(s3_client, bucket, ago(days=day, minutes=1), database=database.name)
        for day in (1, 2, 8)
    ]
    done = night(config, "--json")
    assert done.returncode == 0, done.stderr
    assert last_line(done).startswith("OK test-server: 1 database(s), ")
    found = engine.answer(done)
    one = found["databases"][database.name]
    assert one["backup"]["rows"] == 100
    assert [d["backup"] for d in one["deleted"]] == old[2:]
    assert (found["exit_status"], one["error"]) == (0, "")
    remembered = json.loads((Path(config.settings.state_dir) / "last-run.json").read_text())
    assert remembered["databases"] == found["databases"]
    for line in done.stderr.splitlines():
        assert datetime.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%SZ")


def test_cron_gives_nothing(crm, tmp_path):
    """No PATH, no HOME, no LANG, the root directory, no standard input."""
    database, config = crm
    assert database.name
    argv = ["postgres-backup", "--config", str(config.path), "run"]
    script = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT / 'module_utils')!r});"
        f"sys.argv = {argv!r}; runpy.run_module('postgres_backup', run_name='__main__')"
    )
    done = subprocess.run(
        ["env", "-i", sys.executable, "-c", script],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert last_line(done).startswith("OK ")
    assert done.stdout == ""


def test_a_confusing_environment_changes_nothing(crm, tmp_path):
    _, config = crm
    evil = {
        "PGHOST": "192.0.2.1", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGUSER": "nobody",
        "PGPASSWORD": "x", "PGDATABASE": "x", "PGSSLMODE": "verify-full",
        "PGOPTIONS": "-c search_path=evil", "PGSERVICE": "evil", "PGCLIENTENCODING": "LATIN1",
        "PGTARGETSESSIONATTRS": "standby", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": "http://192.0.2.1", "AWS_PROFILE": "evil", "AWS_DEFAULT_REGION": "mars",
        "TZ": "Asia/Almaty", "LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii",
    }  # fmt: skip
    done = night(config, env=engine.environment(**evil))
    assert done.returncode == 0, done.stderr
    assert last_line(done).startswith("OK ")


def test_a_failed_backup_never_prunes(crm, s3_client, bucket):
    database, config = crm
    for day in range(30):
        engine.forge(s3_client, bucket, ago(days=day, minutes=1), database=database.name)
    before = {key for key in engine.keys(s3_client, bucket) if "/journal/" not in key}
    config.change(DB_PASSWORD="wrong-password-of-a-test")
    done = night(config)
    assert done.returncode == 1
    assert last_line(done).startswith(
        f"FAILED test-server: {database.name}: backup: Failed to log in to PostgreSQL"
    )
    assert {key for key in engine.keys(s3_client, bucket) if "/journal/" not in key} == before
    remembered = json.loads((Path(config.settings.state_dir) / "last-run.json").read_text())
    assert remembered["exit_status"] == 1


def test_one_database_fails_and_the_others_are_backed_up(crm, new_database, s3_client, bucket):
    database, config = crm
    second = new_database()
    config.change(DB_NAMES=f"not_there {database.name} {second.name}")
    done = night(config, "--json")
    assert done.returncode == 1
    found = engine.answer(done)["databases"]
    assert "does not exist" in found["not_there"]["error"]
    assert [bool(one["backup"]) for one in found.values()] == [False, True, True]
    assert last_line(done).startswith("FAILED test-server: not_there: backup: ")


def test_all_are_locked(crm):
    database, config = crm
    from postgres_backup.machine import lock

    with lock.hold(config.settings, database.name, "restore"):
        done = night(config)
    assert done.returncode == 3
    assert "restore since" in last_line(done)


def test_a_prune_that_is_refused_does_not_undo_the_backup(crm, s3, s3_client, bucket):
    database, config = crm
    old = [
        engine.forge(s3_client, bucket, ago(days=day, minutes=1), database=database.name)
        for day in (9, 10, 11)
    ]
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "DELETE", times=1000, status=403, code="AccessDenied")
        done = night(config, "--json")
    assert done.returncode == 1
    one = engine.answer(done)["databases"][database.name]
    assert "prune: Failed to delete" in one["error"]
    line = last_line(done)
    assert line.startswith("FAILED")
    assert f"its backup {one['backup']['backup']} is in the bucket" in line
    stored = {
        key.rpartition("/")[2]
        for key in engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-")
    }
    assert stored == {*old, one["backup"]["backup"]}


# --- the time of day ---


def at(minutes: float) -> str:
    """The time of day, UTC, so many minutes ago."""
    return f"{ago(minutes=minutes):%H:%M}"


def test_it_runs_once_at_its_time(crm, s3_client, bucket):
    _, config = crm
    for planned in (at(-2), at(16)):
        done = night(config, "--at", planned)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert engine.keys(s3_client, bucket) == []
    assert not os.path.exists(config.settings.state_dir)
    planned = at(1)
    done = night(config, "--at", planned)
    assert done.returncode == 0, done.stderr
    assert last_line(done).startswith("OK ")
    again = night(config, "--at", planned, "--json")
    assert engine.answer(again) == {"changed": False, "due": False}
    assert (again.returncode, again.stderr) == (0, "")


def test_the_servers_zone_does_not_matter(crm):
    _, config = crm
    planned = at(1)
    for zone in ("Asia/Kathmandu", "America/St_Johns"):
        assert night(config, "--at", at(60), env=engine.environment(TZ=zone)).stderr == ""
    assert last_line(
        night(config, "--at", planned, env=engine.environment(TZ="Asia/Kathmandu"))
    ).startswith("OK ")


@pytest.mark.parametrize("wrong", ["24:00", "7", "0:00", "12:60", "midnight"])
def test_no_time_of_day(config, wrong):
    engine.failed_well(night(config, "--at", wrong), 2, "not a time of day", "HH:MM")


# --- the state ---


def test_without_a_state_every_backup_is_taken_and_that_is_said(crm, tmp_path, s3_client, bucket):
    _, config = crm
    (tmp_path / "a-file").write_text("")
    config.change(STATE_DIR=tmp_path / "a-file" / "state")
    for number, arguments in enumerate((("run",), ("run", "--at", at(1)), ("backup",)), 1):
        done = engine.run(config.path, *arguments)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        assert said.count(f"Failed to make {config.settings.state_dir}: Not a directory") == 1 + (
            "METRICS_NOT_WRITTEN" in said
        )
        names = [key for key in engine.keys(s3_client, bucket) if "/postgres-backup-" in key]
        assert len([name for name in names if name.count("/") == 1]) == number


def test_a_damaged_state_is_no_obstacle(crm):
    _, config = crm
    state = Path(config.settings.state_dir)
    state.mkdir()
    for name in ("last-run.json", "last-scheduled.json"):
        (state / name).write_text('{"planned": ')
    assert night(config, "--at", at(1)).returncode == 0
    (state / "last-scheduled.json").write_text("[]")
    assert night(config, "--at", at(1)).returncode == 0


def everybodys_python() -> str:
    """An interpreter of this version that any user may run, this one if it is."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        code = (
            "import os, pwd; os.setgroups([]); os.setuid(pwd.getpwnam('nobody').pw_uid);"
            "import queue"
        )
        if (
            os.path.exists(candidate)
            and subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode
            == 0
        ):
            return candidate
    pytest.skip("every Python of this version lies where only root may look")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_owner_of_the_config(crm):
    """So that what cron finds afterwards is its own."""
    _, config = crm
    python, nobody = everybodys_python(), pwd.getpwnam("nobody")
    place = (
        Path("/tmp") / f"postgres-backup-test-{os.getpid()}"
    )  # tmp_path may be entered by root alone
    place.mkdir(mode=0o755)
    try:
        config.change(STATE_DIR=place / "state")
        (place / "state").mkdir()
        shutil.copy(config.path, place / "c.env")
        (place / "c.env").chmod(0o600)
        for path in (place / "c.env", place / "state"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        paths = [str(ROOT / "module_utils"), sysconfig.get_path("purelib")]
        code = (
            f"import os, runpy, sys; sys.path[:0] = {paths!r};"
            f"sys.argv = ['postgres-backup', '--config', '{place}/c.env', 'run']\n"
            "try:\n    runpy.run_module('postgres_backup', run_name='__main__')\n"
            "finally:\n    print(os.getuid(), os.getegid(), os.environ['HOME'])"
        )
        done = subprocess.run(
            [python, "-c", code],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.defpath},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(nobody.pw_uid), str(nobody.pw_gid), nobody.pw_dir]
        made = list((place / "state").iterdir())
        assert made
        assert {path.stat().st_uid for path in made} == {nobody.pw_uid}
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_owner_whom_nobody_knows(crm):
    _, config = crm
    os.chown(config.path, 4_000_000, -1)
    engine.failed_well(night(config), 2, "4000000", "chown")
