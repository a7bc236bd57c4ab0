"""How long a recovery takes beside pgBackRest by hand, out of the same archive: printed, for no
test judges by the clock. What came back is. ``PITR_SPEED_SCALE=430`` takes a cluster of 6.5 GB,
``LAB_DISKS`` a folder with 24 GB for it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest

from tests.servers.controller import Controller
from tests.servers.test_pitr import CONFIG, ENGINE_CONFIG, NEVER, Site, new_site

pytestmark = [pytest.mark.gameday, pytest.mark.alone, pytest.mark.timeout(3600)]

#: of pgbench: 15 MB each, on a disk that has room for the cluster twice, its backup and 1 GB
SCALE = int(os.environ.get("PITR_SPEED_SCALE", "110"))
DISK_BYTES = 0 if SCALE <= 110 else SCALE * 45_000_000 + 3_000_000_000
ROUNDS = 5
BIN = "/usr/lib/postgresql/17/bin"
PROGRAM = "/opt/postgres-backup"
#: without the count of the rows, which is nothing that pgBackRest does
OURS = f"""
import sys
from postgres_backup.machine import config_file
from postgres_backup.machine.progress import Progress
from postgres_backup.pitr import recover
settings = config_file.load({CONFIG!r})
if sys.argv[1:]:
    typed = {{"time": sys.argv[1]}}
    recover.recover(settings, Progress(), typed, False, keep=True, check=False, counted=False)
else:
    recover.remove(settings, check=False)
"""
HAND = 5499
BACK = "/var/lib/postgresql/17/back"
#: as docs/pitr.md has it, and until it is there
BY_HAND = f"""
set -e
install -d -m 700 {BACK}
pgbackrest --config={ENGINE_CONFIG} --stanza=main --pg1-path={BACK} --archive-mode=off \\
  --type=time --target="$1" --target-action=promote restore
set -- -c config_file=/etc/postgresql/17/main/postgresql.conf -c data_directory={BACK} \\
  -c port={HAND} -c listen_addresses= -c external_pid_file= -c archive_mode=off
{BIN}/pg_ctl -D {BACK} -w -s -l /tmp/back.log -o "$*" start
until [ "$(psql -p {HAND} -XAtc 'SELECT pg_is_in_recovery()' 2>&1)" = f ]; do sleep 0.1; done
"""
AWAY = f"{BIN}/pg_ctl -D {BACK} -m immediate -s stop; rm -r {BACK}"


@pytest.fixture
def site(lab, lab_s3_tls, new_server, tmp_path) -> Site:
    server = new_server("trixie", layer="ready", name="minute", disk_bytes=DISK_BYTES)
    made = new_site(
        server, Controller(lab, tmp_path / "controller"), lab_s3_tls, backup_drill_schedule=NEVER
    )
    server.sql("CREATE DATABASE bench")  # in no nightly dump
    as_postgres(made, f"{BIN}/pgbench", "-i", "-q", "-s", str(SCALE), "bench")
    made.controller.run("setup.yml", "-e", "backup_pitr_allow_restart=true")
    return made


def as_postgres(site: Site, *words: str) -> float:
    """Its seconds."""
    began = time.monotonic()
    site.server.inside("runuser", "-u", "postgres", "--", *words, timeout=1500, cwd="/")
    return time.monotonic() - began


def test_a_recovery_beside_one_by_hand(site):
    rows = str(100_000 * SCALE)
    count = "SELECT count(*) FROM pgbench_accounts"
    moment = site.now()
    site.switch()  # a transaction behind it, and that in the bucket
    path = f"PYTHONPATH={PROGRAM}/postgres-backup.compiled.pyz"
    python = ("env", path, f"{PROGRAM}/venv/bin/python", "-c")
    target = moment.replace("T", " ").replace("Z", "+00")

    def ours() -> float:
        took = as_postgres(site, *python, OURS, moment)
        assert site.recovered(count, "bench") == rows
        as_postgres(site, *python, OURS)
        return took

    def by_hand() -> float:
        took = as_postgres(site, "sh", "-c", BY_HAND, "sh", target)
        assert site.recovered(count, "bench", HAND) == rows
        as_postgres(site, "sh", "-c", AWAY)
        return took

    ours(), by_hand()  # what is read for the first time is read from the disk
    took: dict[Callable[[], float], list[float]] = {ours: [], by_hand: []}
    for number in range(ROUNDS):
        for one in (ours, by_hand) if number % 2 else (by_hand, ours):
            took[one].append(one())
    ratios = [mine / theirs for mine, theirs in zip(took[ours], took[by_hand], strict=True)]
    print(*(f"{mine:.2f} : {theirs:.2f} s" for mine, theirs in zip(*took.values(), strict=True)))
    print(f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
    # the best of each: whatever else the machine does only adds to them
    mine, theirs = min(took[ours]), min(took[by_hand])
    print(f"the best of each: {mine / theirs:.3f}, {mine - theirs:.2f} s more")
