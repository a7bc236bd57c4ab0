"""The look at a PostgreSQL in a container: a real one, as a user of the database sees it; a program
stands in for Docker, and runs here what it is to run there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.pitr import cluster, look

DOCKER = """#!/bin/sh
case "$1" in
container) echo '{"running": true, "ports": {"5432/tcp": [{"HostPort": "PORT"}]}, "networks": {}}';;
exec) shift 5; exec "$@";;
esac
"""
#: such a piece no server of the tests comes to
PIECE = "0000000100000FFF000000AA.ready"


@pytest.fixture
def boxed(config, database, tmp_path, monkeypatch):
    """Its settings."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.replace("PORT", str(database.server.port)))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    return config.change(DB_CONTAINER="crm-db-1", DB_HOST="127.0.0.1")


@pytest.fixture
def waiting(database):
    """A piece that has waited for an hour."""
    place = Path(database.server.data) / "pg_wal" / "archive_status" / PIECE
    place.touch()
    there = place.parent.stat()
    os.chown(place, there.st_uid, there.st_gid)
    os.utime(place, times=(place.stat().st_atime, place.stat().st_mtime - 3600))
    yield
    place.unlink()


def test_whoever_may_not_see_the_log_is_told_what_to_type(boxed):
    with pytest.raises(UsageError, match="may not see what of PostgreSQL's log waits") as refused:
        cluster.ask(boxed)
    assert f'GRANT pg_monitor TO "{boxed.db_user}"' in refused.value.hint
    seen, _ = look.look(boxed)
    assert "may not see what of PostgreSQL's log waits" in seen["stopped"]


def test_a_member_of_pg_monitor_sees_what_waits_and_how_much_room_there_is(
    boxed, database, waiting
):
    database.server.execute(f'GRANT pg_monitor TO "{boxed.db_user}"')
    found = cluster.ask(boxed)
    assert not found.is_superuser
    seen, _ = look.look(boxed)
    assert (seen["waiting"], seen["waiting_bytes"]) == (1, found.segment_bytes)
    assert seen["oldest_seconds"] >= 3600
    assert seen["log_bytes"] >= found.segment_bytes
    assert seen["free_bytes"] > 0
    assert "archive_mode is off in the container: docs/pitr.md" in seen["stopped"]
