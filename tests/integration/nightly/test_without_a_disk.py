"""A backup needs no state and no log to be taken, and an alarm no disk to be sent."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from pathlib import Path

import pytest

from postgres_backup.health.alarm_kinds import TITLES
from tests.damaged import CONTENTS, damage
from tests.integration import engine

#: every file of the state, and what it holds
NAMES = (
    "alarms counters housekeeping identity last-look last-restore last-run last-scheduled "
    "search-path signed"
).split()
SWEEP = list(itertools.product(NAMES, CONTENTS))
random.Random(13).shuffle(SWEEP)


@pytest.fixture
def crm(new_database, new_config, s3, bucket, web):
    """A database with a table, its config, and who is told."""
    database = new_database()
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    return new_config(
        database,
        s3,
        bucket,
        **database.as_superuser,
        ALERT_URLS=f"json://127.0.0.1:{web.port}/alarms",
        PING_URL=f"{web.url}/ping",
    )


def read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def full(disk: Path) -> None:
    filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        _fill(filler)
    os.close(filler)


def _fill(handle: int) -> None:
    while True:
        os.write(handle, b"x" * 4096)


def whole_backups(s3_client, bucket: str) -> int:
    found = engine.keys(s3_client, bucket)
    return len([key for key in found if key.startswith("postgres-backup/postgres-backup-")])


def pings(web) -> list[str]:
    return [request.path for request in web.requests if request.path.startswith("/ping")]


def heads(web) -> list[str]:
    return [request.json["title"] for request in web.requests if request.path == "/alarms"]


def is_told(web, code: str) -> bool:
    return any(TITLES[code].partition("{")[0] in head for head in heads(web))


@pytest.mark.parametrize("fail", [read_only, full])
def test_a_state_on_a_bad_disk_costs_no_backup_and_no_alarm(
    crm, tiny_disk, web, s3_client, bucket, fail
):
    crm.change(STATE_DIR=tiny_disk / "state")
    fail(tiny_disk)
    done = engine.run(crm.path, "run")
    assert done.returncode == 0, done.stderr
    assert "STATE_NOT_WRITTEN" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(" s")
    assert whole_backups(s3_client, bucket) == 1
    assert pings(web) == ["/ping/start", "/ping"]
    for _ in range(2):  # nobody remembers that it was told
        looked = engine.run(crm.path, "watch", "--json")
        assert looked.returncode == 4, looked.stderr
        (trouble,) = engine.answer(looked)["troubles"]
        assert trouble["code"] == "STATE_FAILS"
    assert heads(web) == [f"test-server: {TITLES['STATE_FAILS']}"] * 2
    web.requests.clear()
    crm.change(DB_PORT=1)
    assert engine.run(crm.path, "run").returncode == 1
    assert pings(web) == ["/ping/start", "/ping/fail"]
    assert is_told(web, "BACKUP_FAILED")


def test_a_state_that_filled_up_later_is_still_remembered(crm, tiny_disk, web, s3_client, bucket):
    crm.change(STATE_DIR=tiny_disk / "state")
    assert engine.run(crm.path, "run").returncode == 0
    full(tiny_disk)
    for _ in range(2):
        assert engine.run(crm.path, "watch").returncode == 4
    assert len(heads(web)) == 1
    (tiny_disk / "filler").unlink()
    assert engine.run(crm.path, "watch").returncode == 0
    assert len(heads(web)) == 2
    assert "over: " in heads(web)[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files that are another's")
def test_a_state_of_somebody_else(crm, s3_client, bucket):
    """Somebody has run it as root, with a config of root's."""
    assert engine.run(crm.path, "run").returncode == 0
    state = Path(crm.settings.state_dir)
    nobody = 65534
    # without the one capability by which root reads and writes everything
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    for path in state.iterdir():
        os.chown(path, nobody, nobody)
        path.chmod(0o600)
    os.chown(state, nobody, nobody)
    state.chmod(0o700)
    done = subprocess.run(
        [*without, *engine.command(crm.path, "run")],
        capture_output=True,
        text=True,
        check=False,
        env=engine.environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "STATE_NOT_WRITTEN" in done.stderr
    assert whole_backups(s3_client, bucket) == 2


@pytest.mark.parametrize("fail", [full, Path.rmdir])
def test_a_log_that_cannot_be_written_costs_no_backup_and_is_an_alarm(
    crm, tiny_disk, web, s3_client, bucket, fail, tmp_path
):
    log = tiny_disk / "logs" / "x.log"
    if fail is Path.rmdir:
        log = tmp_path / "logs" / "x.log"
    else:
        log.parent.mkdir()
        log.touch()
        fail(tiny_disk)
    done = engine.run(crm.path, "run", "--log-file", str(log))
    assert done.returncode == 0, done.stderr
    assert f"the log {log}: " in done.stderr
    assert "LOG_NOT_WRITTEN" in done.stderr
    assert " OK test-server: " in done.stderr
    assert whole_backups(s3_client, bucket) == 1
    for _ in range(2):
        assert engine.run(crm.path, "watch", "--log-file", str(log)).returncode == 4
    assert heads(web) == [f"test-server: {TITLES['LOG_FAILS']}"]
    well = tmp_path / "well.log"
    assert engine.run(crm.path, "watch", "--log-file", str(well)).returncode == 0
    assert len(heads(web)) == 2


def test_all_that_is_said_stands_in_the_log(crm, tmp_path):
    log = tmp_path / "x.log"
    log.write_text("before\n")
    done = engine.run(crm.path, "run", "--log-file", str(log))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert " OK test-server: " in lines[-1]
    with open(crm.path, "a", encoding="utf-8") as config:
        config.write("FRESH_HOURS=many\n")
    done = engine.run(crm.path, "run", "--log-file", str(log))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    assert "FRESH_HOURS" in log.read_text()


def test_a_call_that_is_not_due_touches_no_log(crm, tmp_path):
    log = tmp_path / "x.log"
    hour = (int(subprocess.check_output(["date", "-u", "+%H"])) + 12) % 24
    done = engine.run(crm.path, "run", "--at", f"{hour:02d}:00", "--log-file", str(log))
    assert (done.returncode, log.exists()) == (0, False)


def test_where_nothing_can_be_said_a_backup_is_taken_all_the_same(crm, s3_client, bucket):
    """Standard output and standard error on a full disk."""
    with open("/dev/full", "w", encoding="ascii") as nowhere:
        for number, command in enumerate(("run", "backup"), 1):
            done = subprocess.run(
                engine.command(crm.path, command),
                stdout=nowhere,
                stderr=nowhere,
                check=False,
                env=engine.environment(),
            )
            assert done.returncode == 0
            assert whole_backups(s3_client, bucket) == number


def whatever_lies_there(config, web, name: str, content: str) -> None:
    """No command stops at it, or sends a false alarm, and somebody is told."""
    damage(config.settings, f"{name}.json", content)
    done = engine.run(config.path, "run")
    said = done.stderr
    assert done.returncode == 0, said
    for command, status in (("watch", 0), ("status", 0), ("history", 0), ("prune", 0)):
        done = engine.run(config.path, command)
        assert done.returncode == status, done.stderr
        assert "unexpectedly" not in done.stderr
        said += done.stderr
    told = name != "search-path"  # of which nothing is asked: the database has no functions
    assert said.count("STATE_DAMAGED") == told, said
    assert heads(web) == []


@pytest.mark.parametrize(("name", "content"), SWEEP[:2])
def test_whatever_lies_in_the_place_of_a_file_stops_nothing(crm, web, name, content):
    whatever_lies_there(crm, web, name, content)


@pytest.mark.gameday
@pytest.mark.parametrize(("name", "content"), SWEEP[2:])
def test_whatever_lies_in_the_place_of_any_file(crm, web, name, content):
    whatever_lies_there(crm, web, name, content)
