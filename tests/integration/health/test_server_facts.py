"""The page on a real bucket and with real playbooks: what a server tells, who is left out (nobody),
and what becomes of the link.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import history, journal
from postgres_backup.catalog.names import Layout
from postgres_backup.health import status
from postgres_backup.health.server_facts import describe_server
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.s3 import store
from tests.integration import engine
from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def filled(database):
    """``database`` with a table of 1,000 rows and one of 10."""
    database.execute(
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n;"
        "CREATE TABLE teams AS SELECT n AS id FROM generate_series(1, 10) n"
    )
    database.execute(
        f'ALTER TABLE users OWNER TO "{database.owner}";'
        f'ALTER TABLE teams OWNER TO "{database.owner}"'
    )
    return database


def note(settings, event: str, ago: timedelta, **facts) -> None:
    """An event of some time ago, as the program itself writes it."""
    database = settings.databases[0]
    layout = Layout(settings.s3_prefix)
    assert (
        journal.record(
            store.Store(settings), layout, NOW - ago, event, {"database": database} | facts
        )
        == []
    )


def test_facts_of_a_server_that_backed_up_failed_and_restored(config, filled, s3_client, bucket):
    settings = config.change(RETENTION_DAYS=3, PRICE_GB_MONTH="0.02", PRICE_CURRENCY="EUR")
    old = engine.forge(s3_client, bucket, NOW - timedelta(days=9), database=filled.name)
    stays = engine.forge(
        s3_client, bucket, NOW - timedelta(days=2), database=filled.name, proven=True
    )
    engine.forge(
        s3_client, bucket, NOW - timedelta(days=1), server="another-server", database=filled.name
    )
    note(
        settings,
        "backup",
        timedelta(days=20),
        backup="postgres-backup-2025-01-01_00-00-00.sql.gz",
        bytes=5,
        dump_bytes=9,
        rows=2,
        seconds=0.4,
    )
    note(
        settings,
        "backup-failed",
        timedelta(days=4),
        reason=f"Failed to do it with {config.values['DB_PASSWORD']}",
    )
    note(settings, "backup-failed", timedelta(days=91), reason="too long ago")
    taken = create_backup(Job(settings))
    back = restore_database(Job(settings), taken["backup"])

    facts = describe_server(settings)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["server"], facts["healthy"], facts["findings"], facts["alarms"]) == (
        "test-server",
        True,
        [],
        [],
    )
    assert facts["retention"] == {"days": 3, "weekly": 0, "monthly": 0}
    (one,) = facts["databases"]
    assert (one["database"], one["state"], one["last"]) == (filled.name, "well", taken["backup"])
    assert [line["backup"] for line in one["backups"]] == [
        taken["backup"],
        stays,
        old,
    ]  # newest first, and only what is ours
    assert [line["keep"] for line in one["backups"]] == [True, True, False]
    assert one["going"] == [old]
    assert one["backups"][1]["proofs"][0]["kind"] == "read"
    assert {key: one["backups"][0][key] for key in ("bytes", "dump_bytes", "rows")} == {
        key: taken[key] for key in ("bytes", "dump_bytes", "rows")
    }
    assert one["tables"] == [
        {"table": "public.users", "rows": [1000, None, None]},
        {"table": "public.teams", "rows": [10, None, None]},
    ]
    assert [(past["backup"], past["bytes"]) for past in one["past"]] == [
        ("postgres-backup-2025-01-01_00-00-00.sql.gz", 5)
    ]
    assert [failure["reason"] for failure in one["failures"]] == ["Failed to do it with ********"]
    assert [(r["ok"], r["backup"], r["downtime_seconds"]) for r in one["restores"]] == [
        (True, taken["backup"], back["downtime_seconds"])
    ]
    assert [r["name"] for r in one["replaced"]] == [back["kept_database"]]
    assert one["drills"] == []
    assert facts["costs"]["storage_bytes"] == sum(
        line["bytes"] for line in one["backups"] if line["keep"]
    )
    assert facts["costs"]["currency"] == "EUR"


def test_a_failure_after_the_last_good_one_is_the_state_although_that_is_fresh(
    new_config, s3, bucket, s3_client
):
    settings = new_config(engine.NO_SERVER, s3, bucket).settings
    engine.forge(s3_client, bucket, NOW - timedelta(hours=25))
    note(settings, "backup-failed", timedelta(hours=1), reason="no")
    note(settings, "restore-failed", timedelta(hours=2), backup="x", reason="no room")
    facts = describe_server(settings)
    assert [(d["state"], d["restores"][0]["reason"]) for d in facts["databases"]] == [
        ("failed", "no room")
    ]
    assert [f["code"] for f in facts["findings"]] == ["DATABASE_UNREACHABLE"]
    assert facts["databases"][0]["replaced"] is None


def test_each_listing_and_each_manifest_is_asked_for_once(
    new_config, s3, bucket, s3_client, monkeypatch
):
    settings = new_config(engine.NO_SERVER, s3, bucket).settings
    for days in range(3):
        engine.forge(s3_client, bucket, NOW - timedelta(days=days))
    asked: list[str] = []
    get = store.Store.get
    monkeypatch.setattr(
        store.Store, "get", lambda self, key, *more: asked.append(key) or get(self, key, *more)
    )
    describe_server(settings)
    assert len(asked) == len(set(asked)) == 3 * len(("manifest", "signature"))


@pytest.fixture
def play(config, filled, tmp_path):
    """``play("-e", "publish=true", inventory=...)``: playbooks/report.yml as typed, with a sound
    server ``db1``, into ``tmp_path/report.html``.
    """
    inventory = {"db1": {"ansible_connection": "local"}}

    def run(*options: str, more: dict | None = None, without: str = "", status: int = 0) -> str:
        hosts = {
            name: facts for name, facts in (inventory | (more or {})).items() if name != without
        }
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        given = {
            "ansible_python_interpreter": sys.executable,
            "backup_python": sys.executable,
            "backup_become": "false",
            "backup_db_name": filled.name,
        }
        words = [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            tmp_path / "hosts.json",
            ROOT / "playbooks/report.yml",
        ]
        words += [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
        words += ["-e", "report_file=report.html", *options]
        environment = ansible_runs.environment(
            ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), HOME=str(tmp_path), PWD=str(tmp_path)
        )
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    inventory["db1"]["backup_config_file"] = str(config.path)
    return run


GHOST = {"ghost": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}}
BROKEN = {
    "a-broken": {
        "ansible_connection": "local",
        "backup_config_file": "/nonexistent/backup-config.env",
    }
}


def test_nobody_is_left_out_and_nobody_is_held_up(play, config, tmp_path):
    taken = create_backup(Job(config.settings))
    shown = play(more=GHOST | BROKEN)
    page = tmp_path / "report.html"
    text = page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert (
        "2 of 3 servers need you: a-broken (could not be asked), ghost (could not be asked)"
        in shown
    )
    assert f"The page: {page}" in shown
    assert taken["backup"] in text
    assert "There is no config /nonexistent/backup-config.env" in text
    assert "Connection refused" in text
    assert config.values["DB_PASSWORD"] not in text + shown
    assert [path.name for path in tmp_path.glob(f"{page.name}?*")] == []


def test_the_only_server_cannot_be_reached(play, tmp_path):
    shown = play(more=GHOST, without="db1")
    assert "ghost needs you: could not be asked" in shown
    assert "Connection refused" in (tmp_path / "report.html").read_text()
    assert "Nothing was published" in play(
        "-e", "publish=true", more=GHOST, without="db1", status=2
    )


def test_check_mode_writes_nothing(play, config, tmp_path, s3_client, bucket):
    create_backup(Job(config.settings))
    before = engine.keys(s3_client, bucket)
    shown = play("--check", "-e", "publish=true")
    assert f"The page would be {tmp_path}/report.html" in shown
    assert "postgres-backup/report/report.html" in shown
    assert not (tmp_path / "report.html").exists()
    assert engine.keys(s3_client, bucket) == before


def test_published_by_the_first_that_could_be_asked_and_read_by_whoever_has_the_link(
    play, config, tmp_path, s3_client, bucket
):
    create_backup(Job(config.settings))
    shown = play("-e", "publish=true", "-e", "backup_report_link_hours=1", more=BROKEN)
    links = re.findall(r"https?://\S+X-Amz\S+", shown)
    assert len(links) == 1
    with urllib.request.urlopen(links[0], timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.read().decode().rstrip() == (tmp_path / "report.html").read_text().rstrip()
    assert "X-Amz-Expires=3600" in links[0]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(links[0].split("?")[0], timeout=20)
    assert "postgres-backup/report/report.html" in engine.keys(s3_client, bucket)
    assert status.status(config.settings)["healthy"]
    assert [
        e["event"]
        for e in history.events(
            config.settings, store.Store(config.settings), NOW - timedelta(days=1)
        )
    ] == ["backup"]
