"""PostgreSQL in a container: how the engine is called there, and what is said where it cannot be.

With a real Docker: ``tests/servers/test_pitr_docker.py``. Here a program stands in for it that runs
what it is given, and programs for those of the image, so that every answer can be had.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from postgres_backup.errors import PostgresBackupError, StoreError, UsageError
from postgres_backup.pitr import boxed, cluster, engine
from tests.unit.pitr.test_texts import CLUSTER, ROOT, SETTINGS

BOXED = dataclasses.replace(SETTINGS, db_container="crm-db-1", db_user="crm", db_host="localhost")
PUSHED = dataclasses.replace(
    CLUSTER,
    data_directory="/var/lib/postgresql/data",
    config_file="/var/lib/postgresql/data/postgresql.conf",
    archive_mode="on",
    archive_command="pgbackrest --stanza=main archive-push %p",
    is_superuser=False,
)
#: what it is called with is kept; -u USER -- NAME come before the command
DOCKER = """#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/asked"
env > "$(dirname "$0")/environment"
shift 5
exec "$@"
"""


@dataclasses.dataclass
class Image:
    """The programs that it has."""

    folder: Path

    def has(self, program: str, script: str) -> None:
        path = self.folder / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def image(tmp_path, monkeypatch) -> Image:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Image(tmp_path)


def test_the_engine_is_called_beside_postgresql_by_the_config_that_is_there(image):
    image.has("pgbackrest", "echo said")
    assert engine.call(BOXED, "Failed: ", "info", "--output=json").out == "said\n"
    inside = ["pgbackrest", "--stanza=main", "--output=json", "info"]
    assert image.asked() == ["exec", "-u", "postgres", "--", "crm-db-1", *inside]
    assert BOXED.s3_secret_key not in (image.folder / "environment").read_text()


def test_an_image_without_the_engine_is_told_from_one_with_an_old_one(image):
    with pytest.raises(UsageError, match="The container crm-db-1 has no pgBackRest") as refused:
        engine.version(BOXED)
    assert "docs/pitr.md" in refused.value.hint
    image.has("pgbackrest", "echo pgBackRest 2.44")
    with pytest.raises(UsageError, match=r"pgBackRest 2\.44 is too old") as old:
        engine.version(BOXED)
    assert "in the image" in old.value.hint
    image.has("pgbackrest", "echo pgBackRest 2.55.1")
    assert engine.version(BOXED) == (2, 55, 1)


@pytest.mark.parametrize(
    ("script", "kind", "why"),
    [
        ("echo 'P00 ERROR: [039]: no such key'; exit 39", StoreError, "no such key"),
        (
            "echo 'No such container: crm-db-1' >&2; exit 1",
            PostgresBackupError,
            "No such container",
        ),
        ("exit 126", PostgresBackupError, "exit status 126"),
    ],
)
def test_what_goes_wrong_in_there_is_one_sentence_and_where_to_look(image, script, kind, why):
    image.has("pgbackrest", script)
    with pytest.raises(kind, match=f"^Failed: {why}") as failed:
        engine.call(BOXED, "Failed: ", "backup")
    assert "docker logs crm-db-1" in failed.value.hint


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("pgbackrest --stanza=main archive-push %p", True),
        ('/usr/bin/pgbackrest --stanza=main --log-level-console=info archive-push "%p"', True),
        ("pgbackrest --stanza=other archive-push %p", False),
        ("pgbackrest archive-push %p", False),
        ("pgbackrest --stanza=main archive-get %p", False),
        ("pgbackrest --config=/etc/mine.conf --stanza=main archive-push %p", False),
        ("pgbackrest --stanza=main archive-push %p || true", False),
        ("true pgbackrest --stanza=main archive-push %p", False),
        ("cp %p /backup/%f", False),
        ("", False),
        ("(disabled)", False),
    ],
)
def test_only_a_command_that_ends_where_we_look_is_ours(command, ours):
    found = dataclasses.replace(PUSHED, archive_command=command)
    assert cluster.is_archived_by_us(BOXED, found) is ours
    assert not cluster.is_archived_by_us(BOXED, dataclasses.replace(found, archive_library="x"))


def test_what_the_page_has_somebody_set_is_ours():
    override = yaml.safe_load((ROOT / "roles/pitr/files/docker/compose.override.yml").read_text())
    [command] = [
        word.partition("=")[2]
        for word in override["services"]["db"]["command"]
        if word.startswith("archive_command=")
    ]
    assert command == boxed.PUSH
    assert boxed.is_push(command)


def test_one_that_archives_nothing_or_by_another_is_sent_to_the_page():
    cluster.require_archived(BOXED, PUSHED)
    for wrong in ({"archive_mode": "off"}, {"archive_command": "cp %p /backup/%f"}):
        with pytest.raises(UsageError) as refused:
            cluster.require_archived(BOXED, dataclasses.replace(PUSHED, **wrong))
        assert "docs/pitr.md, PostgreSQL in Docker" in refused.value.hint
        assert "systemctl" not in refused.value.hint


def test_the_room_on_its_disk_is_that_of_the_container(image):
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    image.has("df", f"echo '{head}'; echo '/dev/vda1 100 60 40 60% /var/lib/postgresql/data'")
    assert cluster.free_bytes(BOXED, PUSHED) == 40 << 10
    assert image.asked()[4:] == ["crm-db-1", "df", "-Pk", "--", "/var/lib/postgresql/data/pg_wal"]


@pytest.mark.parametrize("script", ["echo gone >&2; exit 1", "true", "echo a b c many"])
def test_a_disk_of_which_nobody_says_anything_is_no_full_one_and_no_empty_one(image, script):
    image.has("df", script)
    with pytest.raises(PostgresBackupError, match="Failed to see how much is free in the contain"):
        boxed.free_bytes(BOXED, "/data/pg_wal")
