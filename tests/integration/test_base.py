"""The ground the other tests stand on holds: fresh things each time, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.services.in_memory import Folder


@pytest.mark.every_major
def test_a_database_of_each_major(postgres, database):
    assert database.execute("SELECT current_setting('server_version_num')::int / 10000") == [
        (postgres.major,)
    ]
    assert database.execute("SELECT current_database()") == [(database.name,)]


def test_the_config_reads_back(config, database, bucket):
    assert config.settings.databases == (database.name,)
    assert config.change(RETENTION_DAYS=3).retention_days == 3
    assert config.settings.s3_bucket == bucket


def test_the_server_survives_a_power_cut(postgres, database):
    database.execute("CREATE TABLE t (x int)")
    port = postgres.port
    postgres.stop("immediate")
    postgres.start()
    assert postgres.port == port
    assert database.execute("SELECT count(*) FROM t") == [(0,)]


def test_what_a_killed_run_left_in_memory_goes_with_the_next(tmp_path):
    mine = Folder(tmp_path / "mine")
    if mine.path == tmp_path / "mine":
        return  # this machine has no room in memory: all is on the disk, where pytest clears up
    make = "from tests.services.in_memory import Folder; print(Folder('/nonexistent').path)"
    words = [sys.executable, "-c", make]
    path = os.pathsep.join(map(str, sys.path))
    done = subprocess.run(
        words, env={"PYTHONPATH": path}, cwd=ROOT, check=True, capture_output=True, text=True
    )
    left = Path(done.stdout.strip())
    assert left != mine.path
    assert left.is_dir()
    Folder(tmp_path / "next").remove()
    assert not left.exists()
    assert mine.path.is_dir()
    mine.remove()
    assert not mine.path.exists()
