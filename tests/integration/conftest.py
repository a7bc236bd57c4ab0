"""What several files of these tests stand on beside ``tests/conftest.py``."""

from __future__ import annotations

import os
import subprocess

import pytest

from demo.postgres_server import UNPRIVILEGED
from tests.conftest import missing
from tests.integration.restoring import run_sql
from tests.services.hostile_store import HostileStore
from tests.services.receivers import HttpReceiver, MailReceiver


@pytest.fixture
def web():
    """A web server that is told of things."""
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def mail():
    """A mail server that is told of things."""
    with MailReceiver() as receiver:
        yield receiver


@pytest.fixture
def hostile(s3):
    """The S3 server, seen through one that answers as it is told to."""
    with HostileStore(s3) as between:
        yield between


@pytest.fixture
def tiny_disk(tmp_path):
    """A folder on a disk of its own, of 1 MB."""
    if os.geteuid() != 0:
        missing("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def small_disk(tmp_path, postgres):
    """A tablespace on a disk of 60 MB."""
    if os.geteuid() != 0:
        missing("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,mode=0700", "tmpfs", place], check=True)
    try:
        subprocess.run(["chown", UNPRIVILEGED, place], check=True)
        tmp_path.chmod(0o711)
        name = f"small_{os.path.basename(tmp_path)[-20:]}".replace("-", "_").lower()
        run_sql(postgres, "postgres", f"CREATE TABLESPACE {{name}} LOCATION '{place}'", name=name)
        yield name
        inside = (
            "SELECT datname FROM pg_database d"
            " JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE spcname = %s"
        )
        for (database,) in postgres.execute(inside, params=(name,)):
            run_sql(
                postgres, "postgres", "DROP DATABASE {database} WITH (FORCE)", database=database
            )
        run_sql(postgres, "postgres", "DROP TABLESPACE {name}", name=name)
    finally:
        subprocess.run(["umount", place], check=True)
