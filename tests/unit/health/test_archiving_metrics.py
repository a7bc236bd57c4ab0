"""The numbers of a server that keeps every second, read back by Prometheus' own parser."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from postgres_backup.health import archiving_metrics
from postgres_backup.settings import Settings
from tests.unit.health.test_archiving import SETTINGS, ago, seen

DRILL = {"at": ago(days=3), "passed": False, "seconds": 41.5, "said": "the second of two rows"}
MORE = {"first_at": ago(days=13), "backups": 14, "stored_bytes": 5 << 30, "drill": DRILL}


def settings_of(tmp_path: Path) -> Settings:
    return dataclasses.replace(SETTINGS, metrics_file=str(tmp_path / "x.prom"))


def read(settings: Settings) -> dict[str, float]:
    text = Path(archiving_metrics.path_of(settings)).read_text()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_all_are_told_in_a_file_beside_the_others(tmp_path):
    settings = settings_of(tmp_path)
    assert archiving_metrics.renew(settings, seen(**MORE)) == []
    assert (tmp_path / "x-pitr.prom").stat().st_mode & 0o777 == 0o644
    told = read(settings)
    assert told.keys() == archiving_metrics.METRICS.keys()
    assert told["postgres_backup_pitr_lag_seconds"] == 12.0
    assert told["postgres_backup_pitr_stored_bytes"] == 5 << 30
    assert told["postgres_backup_pitr_last_drill_success"] == 0
    assert told["postgres_backup_pitr_last_drill_duration_seconds"] == 41.5
    passed = {"drill": {**DRILL, "passed": True}}
    archiving_metrics.renew(settings, seen(**MORE | passed))
    assert read(settings)["postgres_backup_pitr_last_drill_success"] == 1


def test_what_the_store_has_not_answered_yet_is_not_told(tmp_path):
    settings = settings_of(tmp_path)
    archiving_metrics.renew(settings, seen(backups_at=None, waiting=0))
    told = read(settings)
    assert "postgres_backup_pitr_gaps" not in told
    assert "postgres_backup_pitr_last_drill_success" not in told  # there was none
    assert told["postgres_backup_pitr_lag_seconds"] == 0


def test_they_go_with_what_they_are_of(tmp_path):
    settings = settings_of(tmp_path)
    archiving_metrics.renew(settings, seen(**MORE))
    assert archiving_metrics.renew(settings, None) == []
    assert archiving_metrics.renew(settings, None) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_a_finding(tmp_path):
    settings = dataclasses.replace(SETTINGS, metrics_file=str(tmp_path / "gone" / "x.prom"))
    [found] = archiving_metrics.renew(settings, seen(**MORE))
    assert found["code"] == "METRICS_NOT_WRITTEN"
