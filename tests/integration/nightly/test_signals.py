"""A night that a signal ends, at any moment of its course: what it says then is true, and after the
next one nothing is left.

``make gameday`` goes through a night's course in steps of 50 ms; here are some moments of it, the
same in every run.
"""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_backup.health.status import status
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.run import run_night
from tests.conftest import Config, Database
from tests.integration import engine
from tests.services.receivers import HttpReceiver
from tests.waiting import wait_for

#: a night's course, ms: the first moment is that at which the program listens
STEP = 50
#: moments of each signal in every run, of one night's course
SAMPLES = {signal.SIGTERM: 2, signal.SIGINT: 1, signal.SIGKILL: 2}


@dataclasses.dataclass
class Night:
    """A server with two databases and a kit, and who is told of its nights."""

    config: Config
    databases: tuple[Database, Database]
    client: object
    bucket: str
    told: HttpReceiver
    alarms: HttpReceiver

    @property
    def state_dir(self) -> Path:
        return Path(self.config.values["STATE_DIR"])

    def run(self, after: float | None = None, number: int = 0) -> subprocess.CompletedProcess:
        """A night; after so many seconds of it the signal."""
        with engine.started(self.config.path, "run") as process:
            if after is not None:
                wait_for("it to listen", lambda: listens(process.pid), interval=0.002)
                time.sleep(after)  # the moment itself is what is tried
                process.send_signal(number)
            out, err = process.communicate(timeout=150)
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def pings(self) -> list[str]:
        """What the dead-man's switch has heard since it was last asked: ``start``, ``fail``, or
        ``ok``.
        """
        heard = [
            request.path.removeprefix("/ping").strip("/") or "ok" for request in self.told.requests
        ]
        self.told.requests.clear()
        return heard

    def messages(self) -> list[dict]:
        """The alarms told since."""
        heard = [request.json for request in self.alarms.requests]
        self.alarms.requests.clear()
        return heard

    def names(self) -> list[str]:
        return [database.name for database in self.databases]

    def objects(self, name: str) -> tuple[set[str], set[str]]:
        """The stems of the backups of a database, and those of its manifests."""
        root = f"postgres-backup/{name}/"
        every = [key.removeprefix(root) for key in engine.keys(self.client, self.bucket, root)]
        whole = {key.split(".")[0] for key in every if "/" not in key}
        described = {
            key.removeprefix("manifests/").removesuffix(".json")
            for key in every
            if key.startswith("manifests/") and key.endswith(".json")
        }
        return whole, described

    def kits(self) -> tuple[set[str], set[str]]:
        every = engine.keys(self.client, self.bucket, "postgres-backup/kit/")
        stems = [key.rsplit("/", 1)[-1] for key in every]
        return (
            {name.split(".")[0] for name in stems if ".tar." in name},
            {name.split(".")[0] for name in stems if name.endswith(".json")},
        )

    def sessions(self) -> list[tuple]:
        return self.databases[0].execute(
            "SELECT pid, application_name, state, query FROM pg_stat_activity"
            " WHERE application_name LIKE 'postgres-backup%'"
            f" AND datname IN ('{self.databases[0].name}', '{self.databases[1].name}')"
        )

    def nothing_left(self) -> None:
        """No half of anything, here, in the bucket or on the server."""
        for name in self.names():
            whole, described = self.objects(name)
            assert whole == described, name
        tars, described = self.kits()
        assert tars == described
        assert engine.unfinished(self.client, self.bucket) == []
        wait_for("our sessions to end", lambda: not self.sessions(), 10)
        halves = [path.name for path in self.state_dir.iterdir() if path.suffix[1:].isdigit()]
        assert halves == []


def listens(pid: int) -> bool:
    """Whether a process has said what SIGTERM is to do (proc(5)); before that nothing of ours is
    at work.
    """
    told = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()
    return bool(told and int(told[0], 16) & 1 << (signal.SIGTERM - 1))


@pytest.fixture
def a_night(new_database, new_config, s3, s3_client, bucket, tmp_path) -> Iterator[Night]:
    first, second = new_database(), new_database()
    for database in (first, second):
        database.execute(
            "CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i"
        )
    (tmp_path / "app").mkdir()
    (tmp_path / "app/.env").write_text("SECRET=1\n")
    with HttpReceiver() as told, HttpReceiver() as alarms:
        config = new_config(
            first,
            s3,
            bucket,
            DB_NAME=None,
            DB_NAMES=f"{first.name} {second.name}",
            **first.as_superuser,
            BACKUP_PATHS=str(tmp_path / "app"),
            KIT_PLAIN="true",
            PING_URL=f"{told.url}/ping",
            ALERT_URLS=alarms.url.replace("http://", "json://"),
        )
        yield Night(config, (first, second), s3_client, bucket, told, alarms)


def look(night: Night, number: int, after: float) -> str:
    """A night that is ended then, and the next one; what became of it."""
    before = {name: night.objects(name)[0] for name in night.names()}
    done = night.run(after, number)
    pings, messages = night.pings(), night.messages()
    where = (signal.Signals(number).name, round(after, 3), done.returncode, done.stderr)
    assert "Traceback" not in done.stderr, where
    last = done.stderr.splitlines()[-1].partition(" ")[2] if done.stderr else ""
    if number == signal.SIGKILL:
        assert done.returncode in (-9, 0), where
    else:
        assert done.returncode in (0, 1), where
        # each of them is told, to the log, to the switch, and of a failure to people
        assert last.startswith("OK " if done.returncode == 0 else "FAILED "), where
        assert pings[-1] == ("ok" if done.returncode == 0 else "fail"), (where, pings)
        codes = {message["title"] for message in messages}
        assert bool(codes) == (done.returncode == 1), (where, codes)
        night.nothing_left()
        if done.returncode == 0:
            assert all(night.objects(name)[0] > before[name] for name in night.names()), where
    findings = run_night(night.config.settings, Progress())["findings"]
    assert night.pings() == ["start", "ok"], (where, findings)
    night.messages()
    night.nothing_left()
    seen = status(night.config.settings)
    assert (seen["healthy"], seen["alarms"]) == (True, []), (where, seen["alarms"], findings)
    return {0: "ok", 1: "failed"}.get(done.returncode, "killed")


def course(night: Night) -> float:
    """Seconds that a whole night takes, the first one left out."""
    run_night(night.config.settings, Progress())
    began = time.monotonic()
    assert night.run().returncode == 0
    night.pings(), night.messages()
    return time.monotonic() - began


def test_some_moments_of_a_night(a_night):
    """The same in every run, as parts of a night's course."""
    seconds = course(a_night)
    rng = random.Random(13)
    for number, samples in SAMPLES.items():
        for part in range(samples):
            look(a_night, number, (part + rng.random()) / samples * seconds)


def test_after_its_success_a_night_is_one(a_night):
    """From its last line on, while Python takes everything down again."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with engine.started(a_night.config.path, "run") as process:
            while " OK " not in (line := process.stderr.readline()):
                assert line, "it ended without a word"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
    assert a_night.pings() == ["start", "ok"] * 3
    assert a_night.messages() == []


@pytest.mark.gameday
@pytest.mark.parametrize("number", SAMPLES, ids=lambda number: number.name)
def test_every_moment_of_a_night(a_night, number):
    seconds = course(a_night)
    became: dict[str, int] = {}
    for step in range(int(seconds * 1000 / STEP) + 2):
        how = look(a_night, number, step * STEP / 1000)
        became[how] = became.get(how, 0) + 1
    print(json.dumps({"signal": number.name, "seconds": round(seconds, 2), **became}))
    assert sum(became.values()) > 10
