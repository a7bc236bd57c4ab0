"""What the engine and PostgreSQL are told, and where its name may stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postgres_backup.pitr import engine, places, texts
from postgres_backup.pitr.cluster import Cluster
from postgres_backup.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = Settings(
    server_name="db 1/é",
    databases=("postgres",),
    db_user="postgres",
    db_host="/var/run/postgresql",
    s3_endpoint_url="https://s3.example.org:8443",
    s3_bucket="backups",
    s3_access_key="AKID",
    s3_secret_key="hunter2-hunter2",
    retention_days=14,
    state_dir="/var/lib/postgres-backup-pitr",
)
CLUSTER = Cluster(
    major=17,
    data_directory="/var/lib/postgresql/17/main",
    config_file="/etc/postgresql/17/main/postgresql.conf",
    system_identifier="7412345678901234567",
    archive_mode="off",
    archive_command="(disabled)",
    archive_library="",
    wal_level="replica",
    segment_bytes=16 << 20,
    is_standby=False,
    is_superuser=True,
)
ARCHIVE = places.in_bucket(SETTINGS, CLUSTER.system_identifier)
DATA = CLUSTER.data_directory


def config(version: tuple[int, ...] = (2, 55, 1)) -> dict[str, str]:
    text = texts.engine_config(SETTINGS, ARCHIVE, DATA, "the-key", version, 2, "/var/lib/spool")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_the_archive_lies_beside_the_dumps_under_the_cluster_s_own_number():
    assert config()["repo1-path"] == ("/postgres-backup-pitr/db%201%2F%C3%A9/7412345678901234567")


def test_what_its_defaults_are_wrong_in_is_said_and_the_queue_has_no_end():
    found = config()
    wanted = {"repo1-s3-uri-style": "path", "repo1-bundle": "y", "compress-type": "zst"}
    wanted |= {"repo1-retention-full": "14", "repo1-retention-full-type": "time"}
    assert found == found | wanted
    assert not [name for name in found if "queue-max" in name]  # it would drop what is written


@pytest.mark.parametrize(("version", "blocks"), [((2, 45), None), ((2, 52, 1), "y")])
def test_blocks_are_only_asked_of_versions_that_have_them(version, blocks):
    assert config(version).get("repo1-block") == blocks


def test_no_secret_is_in_what_a_diff_shows():
    text = texts.engine_config(SETTINGS, ARCHIVE, DATA, "the-key", (2, 55), 2, "/s")
    assert "hunter2-hunter2" in text
    shown = texts.without_secrets(text)
    assert not {word for word in ("hunter2", "the-key", "AKID") if word in shown}
    assert shown.count("********") == 3


def test_postgresql_hands_on_what_it_has_five_times_within_what_may_be_lost():
    assert "archive_timeout = 60s\n" in texts.postgresql_conf(300)
    assert "archive_timeout = 12s\n" in texts.postgresql_conf(60)
    assert f"--config={places.CONFIG} " in texts.postgresql_conf(300)


def test_only_clusters_of_debian_have_a_service():
    assert CLUSTER.unit == "postgresql@17-main"
    other = Cluster(**{**vars(CLUSTER), "config_file": "/srv/pg/postgresql.conf"})
    assert other.unit == ""


def test_the_engine_is_named_where_it_is_driven_and_nowhere_else():
    """It may be another one some day. Hints may name it as a tool for those who need another."""
    places_of_code = ("module_utils", "library", "playbooks", "action_plugins", "roles")
    named = {
        path.relative_to(ROOT).as_posix()
        for folder in places_of_code
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".yml", ".j2")
        if re.search("pgbackrest|stanza", path.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    hints = {
        "module_utils/postgres_backup/s3/parts.py",
        "module_utils/postgres_backup/s3/upload.py",
    }
    inside = ("module_utils/postgres_backup/pitr/", "roles/pitr/")
    assert {path for path in named - hints if not path.startswith(inside)} == set()
    assert any(path.startswith(inside) for path in named)
    assert engine.PROGRAM.endswith("pgbackrest")
