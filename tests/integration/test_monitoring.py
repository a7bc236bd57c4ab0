"""The alert rules and the dashboard: accepted by Prometheus' own tools, and answered by a real
Prometheus that scrapes a real node_exporter.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

from postgres_backup.cli import commands as backup_commands
from postgres_backup.cli.parser import build
from postgres_backup.clock import format_timestamp
from postgres_backup.health import archiving, archiving_metrics, metrics
from postgres_backup.settings import Settings
from tests import documents
from tests.conftest import missing
from tests.waiting import wait_for

MONITORING = documents.ROOT / "docs/monitoring"
RULES = yaml.safe_load((MONITORING / "postgres-backup-rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
#: what may stand in a query of the dashboard, as Grafana fills it in
FILLED = {"$server": ".*", "$database": ".*"}
_METRIC = re.compile(r"\bpostgres_backup_\w+")
WRITTEN = metrics.METRICS.keys() | archiving_metrics.METRICS.keys()


def program(name: str) -> str:
    """A program of Debian's packages ``prometheus`` and ``prometheus-node-exporter``."""
    found = shutil.which(name)
    if not found:
        missing(
            f"{name} is not installed (sudo apt-get install prometheus prometheus-node-exporter)"
        )
    return found


def promtool(*words: str) -> str:
    done = subprocess.run(
        [program("promtool"), *words],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries() -> dict[str, str]:
    """Title of the panel -> query, as Grafana would send it."""
    found = {}
    for panel in PANELS:
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in FILLED.items():
                query = query.replace(variable, value)
            found[f"{panel['title']}, {target['refId']}"] = query
    return found


# --- the rules ---


def test_promtool_accepts_the_rules():
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "postgres-backup-rules.yml")


def test_the_rules_do_what_they_say():
    assert "SUCCESS" in promtool("test", "rules", "postgres-backup-rules-test.yml")


def test_the_tests_of_the_rules_can_fail(tmp_path):
    rules = (MONITORING / "postgres-backup-rules.yml").read_text()
    for name, changed in (
        ("0.7 *", "0.2 *"),
        ("> 3 * 3600", "> 9 * 3600"),
        ("unless on (instance, server, database)", "and on (instance, server, database)"),
    ):
        assert name in rules
        rules = rules.replace(name, changed)
    (tmp_path / "postgres-backup-rules.yml").write_text(rules)
    shutil.copy(MONITORING / "postgres-backup-rules-test.yml", tmp_path)
    words = [program("promtool"), "test", "rules", "postgres-backup-rules-test.yml"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    for name in ("PostgresBackupSizeDropped", "PostgresBackupWatchSilent", "PostgresBackupNone"):
        assert name in done.stdout + done.stderr


def test_every_rule_is_tested_and_says_what_to_type():
    tests = (MONITORING / "postgres-backup-rules-test.yml").read_text()
    commands = next(
        action.choices
        for action in build(backup_commands.COMMANDS.values())._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for rule in RULES:
        family = re.match(r"PostgresBackup(Size|Metrics)?", rule["alert"])
        assert rule["alert"] in tests or (family[1] and f"{family[0]}.*" in tests), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        typed = re.findall(
            r"postgres-backup (\w[\w-]*)|(ansible-playbook [\w/]+\.yml)",
            rule["annotations"]["description"],
        )
        assert typed, rule["alert"]
        for command, play in typed:
            assert (documents.ROOT / play.split()[1]).exists() if play else command in commands, (
                rule["alert"],
                command,
                play,
            )


def test_rules_and_dashboard_name_metrics_that_are_written():
    named = set()
    for text in (
        *(rule["expr"] for rule in RULES),
        *queries().values(),
        *(one["query"]["query"] for one in variables() if one["type"] == "query"),
    ):
        found = set(_METRIC.findall(text))
        assert found, text
        assert found <= WRITTEN, text
        named |= found
    assert named == WRITTEN, "every number is shown somewhere"


# --- the dashboard ---


def variables() -> list[dict]:
    return DASHBOARD["templating"]["list"]


def test_the_dashboard_can_be_imported():
    """Its shape, as Grafana's import wants it: no id of an installation, one data source chosen by
    a variable, panels that do not overlap.
    """
    assert "id" not in DASHBOARD
    assert DASHBOARD["uid"] == "postgres-backup"
    assert DASHBOARD["schemaVersion"] >= 36
    assert [variable["name"] for variable in variables()] == ["datasource", "server", "database"]
    assert variables()[0] | {"type": "datasource", "query": "prometheus"} == variables()[0]
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries", "table")
        assert {
            panel["datasource"]["uid"],
            *(target["datasource"]["uid"] for target in panel["targets"]),
        } == {"${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, panel["title"]
        cells |= covered
    used = set(
        re.findall(
            r"\$\{?(\w+)", json.dumps([PANELS, [variable.get("query") for variable in variables()]])
        )
    )
    assert used == {"datasource", "server", "database"}


def test_the_panels_that_a_person_looks_for():
    text = " ".join(queries().values())
    for name in (
        "last_success",
        "size_bytes",
        "last_rows",
        "last_duration",
        "last_rate",
        "kept_backups",
        "failures_total",
        "restore_downtime",
        "open_alarms",
    ):
        assert name in text, name
    newest = next(panel for panel in PANELS if panel["title"] == "Newest good backup")
    assert [step["value"] for step in newest["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [
        None,
        25 * 3600,
        26 * 3600,
    ]
    assert Settings.fresh_hours == 26


# --- the whole way, for real ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(folder: Path, name: str, *options: str) -> Iterator[subprocess.Popen]:
    argv = ["setpriv", "--pdeathsig", "KILL", program(name), *options]
    with (
        open(folder / f"{name}.log", "wb") as log,
        subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def fetch(url: str, **parameters: str) -> bytes | None:
    try:
        with urllib.request.urlopen(
            f"{url}?{urllib.parse.urlencode(parameters)}", timeout=10
        ) as answer:
            return answer.read()
    except OSError:
        return None


def facts(now: datetime) -> metrics.Facts:
    """A server whose newest backup is two days old, and everything else that can be told."""

    def at(**ago: float) -> str:
        return format_timestamp(now - timedelta(**ago))

    last = {
        "taken_at": at(days=2),
        "bytes": 1_000,
        "dump_bytes": 6_000,
        "rows": 500,
        "seconds": 2.5,
    }
    drill = {
        "at": at(days=20),
        "backup": "postgres-backup-2026-01-27_00-00-00.sql.gz",
        "passed": True,
        "seconds": 31.0,
        "codes": [],
    }
    return metrics.Facts(
        server="db1",
        fresh_hours=26,
        run={"started_at": at(hours=1), "exit_status": 1},
        watched_at=now,
        databases={
            "crm": {
                "last": last,
                "kept": 7,
                "bytes": 7_000,
                "oldest": at(days=9),
                "restored_at": at(days=20),
                "drill": drill,
            },
            "new": {"last": None, "kept": 0, "bytes": 0, "oldest": None},
        },
        counters={"pruned": {"crm": 12}, "failures": {"crm": {"store": 2}}},
        restores={"crm": {"at": at(days=3), "downtime_seconds": 0.25}},
        alarms=[{"code": "BACKUP_STALE"}, {"code": "DISK_SHORT"}],
        healthy=False,
        copied={
            "place": "s3://copies at https://example.org",
            "at": at(hours=1),
            "error": "",
            "databases": {"crm": {"newest": at(days=2), "bytes": 7_000, "backups": ["x"]}},
        },
    )


def every_second(now: datetime) -> archiving.Look:
    """A server that archives nothing for ten minutes."""

    def at(**ago: float) -> str:
        return format_timestamp(now - timedelta(**ago))

    return {
        "at": at(minutes=1),
        "stopped": "",
        "waiting": 2,
        "waiting_bytes": 32 << 20,
        "oldest_seconds": 600.0,
        "log_bytes": 64 << 20,
        "free_bytes": 1 << 30,
        "worst_seconds": 600.0,
        "worst_at": at(minutes=1),
        "backups_at": at(minutes=50),
        "unasked": "",
        "newest_at": at(hours=20),
        "newest_full_at": at(days=6),
        "gaps": [],
        "first_at": at(days=13),
        "backups": 14,
        "stored_bytes": 5 << 30,
        "drill": {
            "at": at(days=9),
            "passed": True,
            "seconds": 41.5,
            "said": "the first of two rows",
        },
    }


@pytest.fixture
def prometheus(tmp_path) -> Iterator[str]:
    """The address of a Prometheus that scrapes, every second, a node_exporter that reads our
    textfile; and its rules.
    """
    now, textfiles = datetime.now(timezone.utc), tmp_path / "textfiles"
    textfiles.mkdir()
    settings = Settings(
        "db1",
        ("crm", "new"),
        "crm",
        "https://s3.example.org",
        "b" * 3,
        "key",
        "secret",
        metrics_file=str(textfiles / "postgres-backup.prom"),
    )
    assert metrics.write(settings, facts(now)) == []
    assert archiving_metrics.renew(settings, every_second(now)) == []
    exporter, port = free_port(), free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(MONITORING / "postgres-backup-rules.yml")],
        "scrape_configs": [
            {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    node = (
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={textfiles}",
        f"--web.listen-address=127.0.0.1:{exporter}",
    )
    server = (
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (
        running(tmp_path, "prometheus-node-exporter", *node),
        running(tmp_path, "prometheus", *server),
    ):
        yield f"http://127.0.0.1:{port}"


def ask(prometheus: str, query: str) -> list[dict]:
    answer = json.loads(
        fetch(f"{prometheus}/api/v1/query", query=query) or b'{"data": {"result": []}}'
    )
    return answer["data"]["result"]


def test_prometheus_answers_every_panel_and_raises_the_alarms(prometheus):
    wait_for("the first scrape", lambda: ask(prometheus, "postgres_backup_fresh_limit_seconds"))
    assert ask(prometheus, "node_textfile_scrape_error")[0]["value"][1] == "0"
    for title, query in queries().items():
        found = ask(prometheus, query)
        assert found, f"{title}: {query}"
        assert all(float(one["value"][1]) == float(one["value"][1]) for one in found), "a number"
    age = {
        one["metric"]["database"]: float(one["value"][1])
        for one in ask(prometheus, queries()["Newest good backup, A"])
    }
    assert age == {"crm": pytest.approx(2 * 86400, abs=120)}
    for variable in variables()[1:]:
        metric, label = re.fullmatch(
            r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["query"]["query"]
        ).groups()
        assert {one["metric"][label] for one in ask(prometheus, metric)} == (
            {"db1"} if label == "server" else {"crm", "new"}
        )

    def fired() -> set[str]:
        return {one["metric"]["alertname"] for one in ask(prometheus, "ALERTS")}

    wanted = {
        "PostgresBackupStale",
        "PostgresBackupNone",
        "PostgresBackupFailed",
        "PostgresBackupOpenAlarm",
        "PostgresBackupPitrLag",
    }
    wait_for("the alarms", lambda: wanted <= fired())

    def rules() -> list[dict]:
        return json.loads(fetch(f"{prometheus}/api/v1/rules"))["data"]["groups"][0]["rules"]

    looked = {rule["lastEvaluation"] for rule in rules()}
    wait_for("another look", lambda: looked.isdisjoint(rule["lastEvaluation"] for rule in rules()))
    assert fired() == wanted
    assert {rule["health"] for rule in rules()} == {"ok"}, rules()
