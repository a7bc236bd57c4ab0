"""The numbers for Prometheus: read back by Prometheus' own parser, and the file whole at every
moment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from postgres_backup.health import metrics
from postgres_backup.settings import Settings
from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 27, 12, 0, tzinfo=timezone.utc)
LAST = {
    "taken_at": "2026-01-27T00:00:02Z",
    "bytes": 1_000,
    "dump_bytes": 6_000,
    "rows": 500,
    "seconds": 2.5,
}
FACTS = metrics.Facts(
    server="db1",
    fresh_hours=26,
    run={"started_at": "2026-01-27T00:00:01Z", "exit_status": 0},
    watched_at=NOW,
    databases={
        "crm": {
            "last": LAST,
            "kept": 7,
            "bytes": 7_000,
            "oldest": "2026-01-21T00:00:02Z",
            "restored_at": "2026-01-19T10:00:00Z",
            "drill": {
                "at": "2026-01-18T10:00:00Z",
                "backup": "x",
                "passed": False,
                "seconds": 12.5,
                "codes": ["ROWS_DIFFER"],
            },
        }
    },
    counters={"pruned": {"crm": 12}, "failures": {"crm": {"store": 2, "disk": 1}}},
    restores={"crm": {"at": "2026-01-20T10:00:00Z", "downtime_seconds": 0.25}},
    alarms=[{"code": "BACKUP_STALE"}, {"code": "DISK_SHORT"}, {"code": "BACKUP_STALE"}],
    healthy=False,
    copied={
        "place": "s3://copies",
        "at": "2026-01-27T00:10:00Z",
        "error": "",
        "databases": {
            "crm": {"newest": "2026-01-27T00:00:02Z", "bytes": 30, "backups": ["a", "b", "c"]}
        },
    },
)
CRM = {"server": "db1", "database": "crm"}


def but(**changes) -> metrics.Facts:
    return dataclasses.replace(FACTS, **changes)


@pytest.fixture
def settings(tmp_path) -> Settings:
    made = Settings(
        "db1",
        ("crm",),
        "crm",
        "https://s3.example.org",
        "bucket",
        "key",
        "secret",
        state_dir=str(tmp_path / "state"),
    )
    return dataclasses.replace(made, metrics_file=str(tmp_path / "postgres-backup.prom"))


def read(settings: Settings) -> dict[str, list[tuple[dict, float]]]:
    """Name -> labels and value of each sample, as Prometheus takes them."""
    found: dict[str, list[tuple[dict, float]]] = {}
    for family in text_string_to_metric_families(
        Path(metrics.path_of(settings)).read_text(encoding="utf-8")
    ):
        for sample in family.samples:
            assert sample.name not in found or family.name in (
                sample.name,
                sample.name.removesuffix("_total"),
            )
            assert family.documentation
            assert family.type == ("counter" if sample.name.endswith("_total") else "gauge")
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_every_number_with_its_labels(settings):
    assert metrics.write(settings, FACTS) == []
    assert read(settings) == {
        "postgres_backup_last_success_timestamp_seconds": [(CRM, at("2026-01-27T00:00:02+00:00"))],
        "postgres_backup_last_size_bytes": [(CRM, 1_000)],
        "postgres_backup_last_dump_bytes": [(CRM, 6_000)],
        "postgres_backup_last_rows": [(CRM, 500)],
        "postgres_backup_last_duration_seconds": [(CRM, 2.5)],
        "postgres_backup_last_rate_bytes_per_second": [(CRM, 2_400)],
        "postgres_backup_kept_backups": [(CRM, 7)],
        "postgres_backup_kept_bytes": [(CRM, 7_000)],
        "postgres_backup_oldest_timestamp_seconds": [(CRM, at("2026-01-21T00:00:02+00:00"))],
        "postgres_backup_pruned_total": [(CRM, 12)],
        "postgres_backup_failures_total": [
            (CRM | {"reason": "store"}, 2),
            (CRM | {"reason": "disk"}, 1),
        ],
        "postgres_backup_last_restore_timestamp_seconds": [(CRM, at("2026-01-20T10:00:00+00:00"))],
        "postgres_backup_last_restore_downtime_seconds": [(CRM, 0.25)],
        "postgres_backup_last_restored_timestamp_seconds": [(CRM, at("2026-01-19T10:00:00+00:00"))],
        "postgres_backup_last_drill_timestamp_seconds": [(CRM, at("2026-01-18T10:00:00+00:00"))],
        "postgres_backup_last_drill_success": [(CRM, 0)],
        "postgres_backup_last_drill_duration_seconds": [(CRM, 12.5)],
        "postgres_backup_copied_timestamp_seconds": [(CRM, at("2026-01-27T00:00:02+00:00"))],
        "postgres_backup_copied_backups": [(CRM, 3)],
        "postgres_backup_copied_bytes": [(CRM, 30)],
        "postgres_backup_last_copy_success": [({"server": "db1"}, 1)],
        "postgres_backup_fresh_limit_seconds": [({"server": "db1"}, 26 * 3600)],
        "postgres_backup_last_watch_timestamp_seconds": [({"server": "db1"}, NOW.timestamp())],
        "postgres_backup_healthy": [({"server": "db1"}, 0)],
        "postgres_backup_last_run_timestamp_seconds": [
            ({"server": "db1"}, at("2026-01-27T00:00:01+00:00"))
        ],
        "postgres_backup_last_run_success": [({"server": "db1"}, 1)],
        "postgres_backup_open_alarms": [
            ({"server": "db1", "code": "BACKUP_STALE"}, 2),
            ({"server": "db1", "code": "DISK_SHORT"}, 1),
        ],
    }
    assert read(settings).keys() == metrics.METRICS.keys()


def test_nothing_that_did_not_happen(settings):
    """A new server: no run, no backup, no restore, nothing counted."""
    nothing = {"crm": {"last": None, "kept": 0, "bytes": 0, "oldest": None}}
    assert metrics.write(settings, metrics.Facts("db1", 26, databases=nothing)) == []
    assert read(settings) == {
        "postgres_backup_kept_backups": [(CRM, 0)],
        "postgres_backup_kept_bytes": [(CRM, 0)],
        "postgres_backup_fresh_limit_seconds": [({"server": "db1"}, 26 * 3600)],
    }
    assert metrics.write(settings, metrics.Facts("db1")) == []
    assert read(settings) == {}


def test_a_backup_of_which_little_is_known(settings):
    """Its manifest was written by verify: there is no duration, so there is no rate; and a night
    that failed is a 0.
    """
    one = {"last": LAST | {"seconds": None}, "kept": 1, "bytes": 1_000, "oldest": LAST["taken_at"]}
    run = {"started_at": "2026-01-27T00:00:01Z", "exit_status": 1}
    facts = but(databases={"crm": one}, run=run)
    assert metrics.write(settings, facts) == []
    found = read(settings)
    assert (
        not {"postgres_backup_last_duration_seconds", "postgres_backup_last_rate_bytes_per_second"}
        & found.keys()
    )
    assert found["postgres_backup_last_run_success"] == [({"server": "db1"}, 0)]


ODD = [
    "crm",
    'a "quoted" one',
    "back\\slash",
    "line\nbreak",
    "{brace}=,",
    "\u043a\u043b\u0438\u0435\u043d\u0442\u044b",
    "# HELP x",
    "",
]


def test_odd_names(settings):
    databases = {
        name: {"last": LAST, "kept": number, "bytes": 0, "oldest": None}
        for number, name in enumerate(ODD)
    }
    facts = but(server='the\\"server"\n', databases=databases)
    assert metrics.write(settings, facts) == []
    found = read(settings)["postgres_backup_kept_backups"]
    assert found == [
        ({"server": 'the\\"server"\n', "database": name}, number) for number, name in enumerate(ODD)
    ]


def test_others_may_read_it_whatever_the_umask(settings):
    before = os.umask(0o077)
    try:
        metrics.write(settings, FACTS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(settings.metrics_file).st_mode) == 0o644


def test_where_it_lies_when_nobody_says(settings):
    plain = dataclasses.replace(settings, metrics_file="")
    assert metrics.write(plain, FACTS) == []
    assert os.listdir(settings.state_dir) == ["postgres-backup.prom"]


def test_it_is_replaced_whole(settings):
    metrics.write(settings, FACTS)
    assert metrics.write(settings, metrics.Facts("db1", 1)) == []
    assert read(settings) == {"postgres_backup_fresh_limit_seconds": [({"server": "db1"}, 3600)]}
    assert os.listdir(Path(settings.metrics_file).parent) == ["postgres-backup.prom"]


# --- what cannot be written ---


def refused(findings: list[dict]) -> str:
    assert [finding["code"] for finding in findings] == ["METRICS_NOT_WRITTEN"]
    return findings[0]["message"]


def test_no_folder(settings, tmp_path):
    lost = dataclasses.replace(settings, metrics_file=str(tmp_path / "not-there" / "x.prom"))
    assert (
        refused(metrics.write(lost, FACTS))
        == f"Failed to write {tmp_path}/not-there/x.prom: No such file or directory"
    )
    (tmp_path / "file").write_text("")
    no_state = dataclasses.replace(
        settings, metrics_file="", state_dir=str(tmp_path / "file" / "state")
    )
    assert "Not a directory" in refused(metrics.write(no_state, FACTS))


def test_facts_that_make_no_sense(settings):
    metrics.write(settings, FACTS)
    before = read(settings)
    assert "Failed to write" in refused(
        metrics.write(settings, but(run={"started_at": "yesterday", "exit_status": 0}))
    )
    assert "Failed to write" in refused(
        metrics.write(settings, but(counters={"pruned": {"crm": "many"}}))
    )
    assert "Failed to write" in refused(metrics.write(settings, but(server="half a \udce4 letter")))
    assert read(settings) == before
    assert os.listdir(Path(settings.metrics_file).parent) == ["postgres-backup.prom"]


def apart(
    settings: Settings, facts: metrics.Facts, before: Callable[[], object]
) -> tuple[int, list[dict]]:
    """The numbers written by a process of its own, forked, that first does ``before``: how it
    ended, as ``os.waitstatus_to_exitcode`` says it, and what it found.
    """
    found, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            before()
            os.write(told, json.dumps(metrics.write(settings, facts)).encode())
            os._exit(0)
        finally:
            os._exit(99)
    os.close(told)
    with open(found, encoding="utf-8") as answer:
        text = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(text or "[]")


def test_a_disk_that_is_full_in_the_middle(settings):
    """No file may grow beyond 1,000 bytes: the new one is cut, the old one stays."""
    metrics.write(settings, FACTS)
    before = Path(settings.metrics_file).read_bytes()
    assert len(before) > 1000

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    status, found = apart(settings, but(fresh_hours=1), fill)
    assert status == 0
    assert "File too large" in refused(found)
    assert Path(settings.metrics_file).read_bytes() == before
    assert os.listdir(Path(settings.metrics_file).parent) == ["postgres-backup.prom"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(settings, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=False
    ).returncode:
        missing("this machine mounts no small disk")
    try:
        on_it = dataclasses.replace(settings, metrics_file=str(place / "x.prom"))
        assert metrics.write(on_it, FACTS) == []
        before = read(on_it)
        with (
            open(place / "filler", "wb", buffering=0) as filler,
            pytest.raises(OSError, match="No space left"),
        ):
            filler.writelines(b"x" * 512 for _ in range(1000))
        assert "No space left on device" in refused(metrics.write(on_it, but(fresh_hours=1)))
        assert read(on_it) == before
        assert sorted(os.listdir(place)) == ["filler", "x.prom"]
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_in_the_middle(settings, moment):
    """Dead while the new file is being written: the old one is there, and no .prom beside it that
    node_exporter would read.
    """
    metrics.write(settings, FACTS)
    before = Path(settings.metrics_file).read_bytes()

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    status, _ = apart(settings, but(fresh_hours=1), lambda: setattr(os, moment, die))
    assert status == -signal.SIGKILL
    assert Path(settings.metrics_file).read_bytes() == before
    assert [
        name for name in os.listdir(Path(settings.metrics_file).parent) if name.endswith(".prom")
    ] == ["postgres-backup.prom"]
    assert metrics.write(settings, but(fresh_hours=2)) == []
    assert read(settings)["postgres_backup_fresh_limit_seconds"] == [({"server": "db1"}, 7200)]
    assert os.listdir(Path(settings.metrics_file).parent) == ["postgres-backup.prom"], (
        "what the dead one left is cleared away"
    )


def test_without_the_library(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert "prometheus_client" in refused(metrics.write(settings, FACTS))


def test_the_library_is_loaded_only_when_it_is_needed():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import postgres_backup.health.metrics"],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "module_utils")},
    )  # fmt: skip
    assert not re.search(r"prometheus_client", done.stderr)
