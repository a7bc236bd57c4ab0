"""Is all well? Silence, age and damage raise the alarm; a database that is down does not hide the
backups.
"""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.health import alarms, fleet, metrics, rebuild, status
from postgres_backup.health.alarm_kinds import Alarm
from postgres_backup.health.server_facts import describe_server
from postgres_backup.job import Job
from postgres_backup.machine import schedule
from tests.integration import engine

NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def config(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there."""
    return new_config(engine.NO_SERVER, s3, bucket)


def codes(found: dict) -> list[str]:
    return [f["code"] for f in found["findings"]]


def test_a_database_that_is_down_hides_nothing(config, s3_client, bucket):
    now = datetime.now(timezone.utc)  # NOW is as old as the test run
    name = engine.forge(s3_client, bucket, now.replace(microsecond=0) - timedelta(hours=25))
    done = engine.run(config.path, "status", "--json")
    assert done.returncode == 0, done.stderr
    found = engine.answer(done)
    assert (found["healthy"], codes(found)) == (True, ["DATABASE_UNREACHABLE"])
    one = found["databases"]["crm"]
    assert (one["last"]["backup"], one["kept"], one["replaced"]) == (name, 1, None)
    assert 25 <= one["age_hours"] < 25.1
    text = engine.run(config.path, "status").stdout
    assert "worth a look" in text
    assert "all is well" not in text
    assert name in text


def test_what_a_rebuild_would_lack_is_worth_a_look_with_the_line_that_adds_it(
    config, s3_client, bucket, tmp_path
):
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1))
    app = tmp_path / "app"
    app.mkdir()
    (tmp_path / "current").symlink_to(app)
    settings = config.change(BACKUP_PATHS="'/srv/other files'", KIT_PLAIN="true")
    assert "REBUILD_LACKS" not in codes(status.status(settings))  # there is no application
    rebuild.remember(settings, [f"{app}/compose.yml", f"{app}/.env"])
    done = engine.run(config.path, "status")
    assert done.returncode == 0
    assert "worth a look" in done.stdout
    assert f"would lack {app}/.env, {app}/compose.yml: neither the server kit nor" in done.stdout
    line = f"backup_paths: [/srv/other files, {app}/.env, {app}/compose.yml], then ansible-playbook"
    assert line in done.stdout
    settings = config.change(BACKUP_PATHS=f"'{app}/.env'")
    assert rebuild.lacking(settings) == [f"{app}/compose.yml"]
    settings = config.change(BACKUP_PATHS_ELSEWHERE=f"'{app}/compose.yml'")
    assert rebuild.findings_of(settings) == []
    # a link to the folder saves what is in it
    settings = config.change(BACKUP_PATHS=str(tmp_path / "current"), BACKUP_PATHS_ELSEWHERE="''")
    assert rebuild.findings_of(settings) == []
    rebuild.remember(settings, [])
    settings = config.change(BACKUP_PATHS="''")
    assert rebuild.findings_of(settings) == []


def test_costs_where_prices_are_set(config, s3_client, bucket):
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1), body=b"x" * 1_000_000)
    engine.forge(
        s3_client, bucket, NOW - timedelta(hours=2), body=b"x" * 5_000_000, server="other-server"
    )
    assert "costs" not in engine.run(config.path, "status").stdout
    config.change(PRICE_GB_MONTH=20, PRICE_CURRENCY="EUR")
    assert (
        "  costs: 1.0 MB now for 0.02 EUR a month, about 7.0 MB for 0.14 EUR in the long run"
        in engine.run(config.path, "status").stdout
    )
    found = engine.answer(engine.run(config.path, "status", "--json"))["costs"]
    assert (found["storage_bytes"], found["steady_bytes"], found["requests_cost_month"]) == (
        1_000_000,
        7_000_000,
        None,
    )


def say(config) -> tuple[int, str, str, int, bool, str]:
    """What each of those says that are asked whether all is well: status (its exit and first line),
    the page, the watch, the metrics, and the report of all servers.
    """
    done = engine.run(config.path, "status")
    facts = describe_server(config.settings)
    watched = engine.run(config.path, "watch")
    numbers = Path(metrics.path_of(config.settings)).read_text()
    healthy = re.search(r"^postgres_backup_healthy\{.*\} (\S+)$", numbers, re.M)
    line = fleet.line(fleet.of_servers([{"name": "db1", "facts": facts}]))
    first = done.stdout.partition("\n")[0]
    return done.returncode, first, facts["state"], watched.returncode, healthy[1] == "1.0", line


def test_after_a_failed_run_nobody_says_that_all_is_well(config, s3_client, bucket):
    # no night falls between the backup and the looks, whatever time it is
    config.change(SCHEDULE_TIME=f"{datetime.now(timezone.utc) + timedelta(hours=6):%H:%M}")
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1))
    fresh = "The backups are fresh; db1 is worth a look"
    assert say(config)[2:] == ("look", 0, True, fresh)
    assert engine.run(config.path, "run").returncode == 1
    failed = "db1 needs you: last backup failed"
    exit_status, first, *more = say(config)
    assert (exit_status, *more) == (4, "failed", 4, False, failed)
    assert first.startswith("test-server: NOT WELL (last backup failed); next run ")
    assert "  the backup of crm failed on " in engine.run(config.path, "status").stdout
    # a server that has forgotten everything hears it from the journal
    for file in Path(config.settings.state_dir).iterdir():
        file.unlink()
    assert say(config)[2:] == ("failed", 4, False, failed)
    # an alarm alone is enough, whatever has made the failure good
    alarm = Alarm("KIT_SHRUNK", "", "the kit has half of its files")
    alarms.settle(config.settings, [alarm.key], [alarm])
    engine.forge(s3_client, bucket, datetime.now(timezone.utc) + timedelta(seconds=2))
    assert say(config)[2:] == ("unwell", 4, False, "db1 needs you: not well")
    alarms.settle(config.settings, [alarm.key])
    assert say(config)[2:] == ("look", 0, True, fresh)


def test_a_full_disk_is_not_well(config, s3_client, bucket, tiny_disk):
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1))
    config.change(STATE_DIR=str(tiny_disk))
    assert engine.run(config.path, "status").returncode == 0
    (tiny_disk / "everything").write_bytes(b"x" * shutil.disk_usage(tiny_disk).free)
    done = engine.run(config.path, "status")
    assert done.returncode == 4
    assert f"DISK_FULL: the disk of {tiny_disk} has no room left" in done.stdout


def test_too_old(config, s3_client, bucket):
    name = engine.forge(s3_client, bucket, NOW - timedelta(hours=26, minutes=1))
    done = engine.run(config.path, "status")
    assert done.returncode == 4
    assert "NOT WELL" in done.stdout
    assert re.search(rf"BACKUP_STALE: .*26\.\d hours old .*{name}", done.stdout)


def test_none_at_all(config, s3_client, bucket):
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1), server="other-server")
    engine.forge(s3_client, bucket, NOW - timedelta(hours=2), with_manifest=False)
    engine.forge(s3_client, bucket, NOW - timedelta(hours=3), database="crm_test")
    done = engine.run(config.path, "status", "--json")
    assert done.returncode == 4
    found = engine.answer(done)
    assert "NO_BACKUP" in codes(found)
    assert found["databases"]["crm"]["last"] is None
    assert found["databases"]["crm"]["waiting"] == 1


def test_a_bad_one_is_named_even_beside_a_good_one(config, s3_client, bucket):
    bad = engine.forge(s3_client, bucket, NOW - timedelta(hours=1))
    good = engine.forge(s3_client, bucket, NOW - timedelta(hours=2))
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{bad}", Body=b"cut")
    found = status.status(config.settings)
    assert (found["healthy"], found["databases"]["crm"]["last"]["backup"]) == (False, good)
    assert next(f["message"] for f in found["findings"] if f["code"] == "BACKUP_BAD").startswith(
        bad
    )


def test_each_of_several_databases_is_judged(config, s3_client, bucket):
    settings = config.change(DB_NAMES="crm shop")
    engine.forge(s3_client, bucket, NOW - timedelta(hours=1), folder="crm")
    engine.forge(s3_client, bucket, NOW - timedelta(hours=30), folder="shop", database="shop")
    found = status.status(settings)
    assert found["healthy"] is False
    assert [
        f["message"].split(" is ")[0] for f in found["findings"] if f["code"] == "BACKUP_STALE"
    ] == ["the newest good backup of shop"]


@pytest.mark.parametrize(
    ("at", "now", "then"),
    [
        ("00:00", "2026-01-27T00:00:00", "2026-01-28T00:00:00"),
        ("00:00", "2026-01-27T23:59:59", "2026-01-28T00:00:00"),
        ("13:30", "2026-01-27T13:29:59", "2026-01-27T13:30:00"),
        ("23:45", "2026-12-31T23:45:00", "2027-01-01T23:45:00"),
    ],
)
def test_the_next_run(at, now, then):
    utc = timezone.utc
    assert schedule.next_run(
        at, datetime.fromisoformat(now).replace(tzinfo=utc)
    ) == datetime.fromisoformat(then).replace(tzinfo=utc)


def test_a_real_backup_makes_it_well(sample_database, new_config, s3, bucket):
    config = new_config(sample_database, s3, bucket, **sample_database.as_superuser)
    taken = create_backup(Job(config.settings))
    found = status.status(config.settings)
    assert (found["healthy"], found["findings"]) == (True, [])
    one = found["databases"][sample_database.name]
    assert (one["last"]["backup"], one["bytes"], one["replaced"]) == (
        taken["backup"],
        taken["bytes"],
        [],
    )
    lines = engine.run(config.path, "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["BACKUP", "DATABASE", "AGE", "SIZE"]
    assert lines[1].startswith(f"{taken['backup']}  {sample_database.name}")
    assert "the newest good backup" in lines[1] or "not older than 7 days" in lines[1]
