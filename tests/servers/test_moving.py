"""Moving in from two shell scripts: the old goes on until the new is proven, then one step, and the
way back; looked at between any two tasks of the play. On Debian 13 their config, log and crontab
lie where ours go; on Debian 12, which is in ``make gameday``, they have a folder of their own, and
root's crontab.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.s3_server import SeaweedFS
from tests.servers import layers
from tests.servers.controller import ROOT, Controller
from tests.servers.server import Server
from tests.services.plain_s3 import client_of
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

APP, AWS = "/srv/crm", "apt-get update -qq; apt-get install -qq -y awscli"
COMPOSE = ("docker", "compose", "--project-directory", APP)
CRON, TIMER = "/etc/cron.d/postgres-backup", "postgres-backup-watch.timer"
LOG = "/var/log/postgres-backup.log"
#: as the administrators of the two scripts have it
SCRIPT = """\
#!/bin/bash
set -euo pipefail
. {config}
export PATH=/usr/local/bin:/usr/bin:/bin
NAME="postgres-backup-$(date -u +%Y-%m-%d_%H-%M-%S).sql.gz"
export PGPASSWORD="$DB_PASSWORD"
pg_dump -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" -d "$DB_NAME" | gzip \\
    | aws s3 cp - "s3://$S3_BUCKET_NAME/postgres-backup/$NAME" \\
        --endpoint-url "$S3_ENDPOINT_URL" --region "$S3_REGION" --no-progress
echo "$(date -u) backup $NAME done"
"""
CONFIG = """\
S3_BUCKET_NAME={bucket}
S3_ENDPOINT_URL={store.endpoint_url}
S3_REGION=us-east-1
DB_HOST=localhost
DB_PORT=5432
DB_NAME=crm
DB_USER=crm
DB_PASSWORD={password}
RETENTION_DAYS=7
SLACK_CHANNEL=ops
export AWS_ACCESS_KEY_ID={store.access_key}
export AWS_SECRET_ACCESS_KEY={store.secret_key}
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required
export AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
"""


@dataclasses.dataclass
class Old:
    """A server on which the old scripts run.

    ``crontab`` is the file with their line, ``config`` and ``log`` theirs.
    """

    server: Server
    store: SeaweedFS
    bucket: str
    crontab: str
    config: str
    log: str
    password: str = dataclasses.field(default_factory=lambda: secrets.token_hex(12))

    def install(self) -> None:
        """PostgreSQL, a database, the scripts and their line."""
        self.server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{self.password}'")
        self.server.sql("CREATE DATABASE crm OWNER crm")
        self.server.sql(
            "SET ROLE crm; CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n",
            "crm",
        )
        text = CONFIG.format(bucket=self.bucket, store=self.store, password=self.password)
        self.server.write(self.config, text, "0600")
        self.server.write(
            "/opt/crm/backup-to-s3.sh", SCRIPT.format(config=self.config), mode="0755"
        )
        user = "root " if self.crontab == CRON else ""
        line = f"0 0 * * * {user}/opt/crm/backup-to-s3.sh >> {self.log} 2>&1\n"
        self.server.write(self.crontab, f"MAILTO=ops\n{line}15 3 * * 0 {user}/bin/true\n", "0600")
        if self.crontab == CRON:
            self.server.inside("chmod", "0644", CRON)
        else:
            self.server.inside("chgrp", "crontab", self.crontab)

    @property
    def client(self):
        return client_of(self.store)

    @property
    def line(self) -> str:
        """The command of their line where it is on; else empty."""
        text = self.server.inside("cat", self.crontab, check=False).stdout
        found = re.search(r"^0 0 \* \* \* (?:root )?(/opt/crm/.*)$", text, re.MULTILINE)
        return found[1] if found else ""

    def who(self) -> list[str]:
        """Who would take tonight's backup."""
        text = self.server.inside("cat", CRON, check=False).stdout
        ours = re.search(r"^[0-9].* /usr/local/bin/postgres-backup run ", text, re.MULTILINE)
        return ["the scripts"] * bool(self.line) + ["ours"] * bool(ours)

    def night(self) -> list[str]:
        """Whoever runs tonight runs now: the names that come into the bucket."""
        before = self.listed()
        time.sleep(1 - time.time() % 1)  # the script names an object by its second
        if self.line:
            self.server.inside("sh", "-c", self.line)
        if "ours" in self.who():
            self.server.inside(
                "runuser", "-u", "postgres-backup", "--", "/usr/local/bin/postgres-backup", "run"
            )
        after = self.listed()
        assert not set(before) - set(after)
        return [name for name in after if name not in before]

    def listed(self) -> list[str]:
        found = self.client.list_objects_v2(
            Bucket=self.bucket, Prefix="postgres-backup/", Delimiter="/"
        )
        return sorted(item["Key"].rpartition("/")[2] for item in found.get("Contents", []))

    def theirs(self) -> str:
        """All that is of the scripts: bytes, owners, modes."""
        paths = f"{self.crontab} {self.config} {self.log} /opt/crm/backup-to-s3.sh"
        look = f"stat -c '%n %U %G %a %h' {paths} {self.config.rpartition('/')[0]}; cat {paths}"
        return self.server.inside("sh", "-ec", look).stdout

    def program(self, *words: str) -> str:
        return self.server.inside("/usr/local/bin/postgres-backup", *words).stdout


#: where PostgreSQL is a service of compose
IN_COMPOSE = """\
#!/bin/bash
set -euo pipefail
. {config}
NAME="postgres-backup-$(date -u +%Y-%m-%d_%H-%M-%S).sql.gz"
docker exec "$DB_CONTAINER" pg_dump -U "$DB_USER" "$DB_NAME" | gzip \\
    | aws s3 cp - "s3://$S3_BUCKET_NAME/postgres-backup/$NAME" \\
        --endpoint-url "$S3_ENDPOINT_URL" --region "$S3_REGION" --no-progress
"""


class Composed(Old):
    """The scripts beside an application of docker compose that writes all the time."""

    def install(self) -> None:
        self.server.inside("env", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", AWS, timeout=600)
        self.server.put(layers.APP / "compose.yml", f"{APP}/compose.yml")
        self.server.write(f"{APP}/.env", f"DB_PASSWORD={self.password}\n", "0600")
        self.server.inside(*COMPOSE, "up", "--detach", "--quiet-pull", timeout=300)
        wait_for("the application", lambda: self.visits() > 0, timeout=120)
        text = CONFIG.format(bucket=self.bucket, store=self.store, password=self.password)
        self.server.write(self.config, f"{text}DB_CONTAINER=crm-db-1\n", "0600")
        script = IN_COMPOSE.format(config=self.config)
        self.server.write("/opt/crm/backup-to-s3.sh", script, mode="0755")
        line = f"0 0 * * * /opt/crm/backup-to-s3.sh >> {self.log} 2>&1\n"
        self.server.write(self.crontab, line, "0600")
        self.server.inside("chgrp", "crontab", self.crontab)

    def visits(self) -> int:
        """Rows that the application has written; 0 where it is not well."""
        try:
            with urllib.request.urlopen(f"http://{self.server.address}:8000/healthz") as answer:
                return int(json.load(answer)["visits"])
        except OSError:
            return 0

    def downtimes(self) -> str:
        """What the application says of its own downtimes; empty: it had none."""
        read = f"cat {APP}/state/downtime.jsonl 2>/dev/null || :"
        return self.server.inside("sh", "-c", read).stdout


@dataclasses.dataclass
class Move:
    old: Old
    controller: Controller

    def run(self, *options: str, playbook: str = "playbooks/adopt.yml", check: bool = True):
        return self.controller.run(playbook, *options, check=check)

    def cut(self, at: str, when: str, *options: str) -> None:
        """A run that is killed before or after a task."""
        with self._begun("cut", *options, CUT_AT=at, CUT_WHEN=when) as run:
            output = run.communicate()[0]
        assert run.returncode == -9, output[-3000:]

    def watched(self, look: Callable[[str], object]) -> None:
        """A run that stands still before each task, and at its end, while somebody looks."""
        place = str(self.controller.directory / "watched")
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(place)
            door.listen()
            door.settimeout(600)
            with self._begun("watched", WATCHED=place) as run:
                output = threading.Thread(target=lambda: said.append(run.communicate()[0]))
                said: list[str] = []
                output.start()
                task = None
                while task != "":
                    line, _ = door.accept()
                    with line:
                        task = line.makefile().readline().rstrip("\n")
                        look(task)
                        line.sendall(b"+")
                output.join()
        Path(place).unlink()
        assert run.returncode == 0, said[0][-3000:]

    @contextlib.contextmanager
    def _begun(self, callback: str, *options: str, **more: str) -> Iterator[subprocess.Popen]:
        words, environment = self.controller.command("playbooks/adopt.yml", *options)
        environment |= {"ANSIBLE_CALLBACKS_ENABLED": f"payloads,{callback}", **more}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        run = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **streams)
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()


IN_THE_WAY = (CRON, "/etc/postgres-backup/backup-config.env", LOG)
APART = (
    "/var/spool/cron/crontabs/root",
    "/opt/crm/backup-config.env",
    "/var/log/crm-backup.log",
)
#: before these tasks, and at the end, whoever would run tonight runs; ``make gameday`` does so
#: before each task, from the first on
NIGHTS = (
    "Take a first backup",
    "Let the older scripts go",
    "Say what became of them",
    "Install the timer that looks whether all is well",
    "",
)


@pytest.fixture(
    params=[
        pytest.param(("trixie", IN_THE_WAY, "Asia/Almaty"), id="trixie"),
        pytest.param(("bookworm", APART, "Etc/UTC"), id="bookworm", marks=pytest.mark.gameday),
    ]
)
def move(request, lab_s3, new_server, controller) -> Move:
    suite, places, zone = request.param
    server = new_server(suite, layer="ready", name="mover", timezone=zone)
    old = Old(server, lab_s3, f"old-{secrets.token_hex(4)}", *places)
    old.client.create_bucket(Bucket=old.bucket)
    old.install()
    controller.add(server)
    # what a host is given by -e import=FILE would be passed over beside a file of his name
    (controller.inventory / "host_vars/mover.yml").unlink()
    controller.variables(**({"backup_schedule_time": "03:00"} if suite == "bookworm" else {}))
    return Move(old, controller)


class Onlooker:
    """Looks at each task who would take tonight's backup: never nobody, never both, and never the
    scripts again once they have made way; and that nothing of theirs was touched before.

    :param nights: before these tasks that night comes; None: before each.
    """

    def __init__(self, old: Old, nights: tuple[str, ...] | None) -> None:
        self.old, self.nights = old, nights
        self.before, self.who = old.theirs(), ["the scripts"]
        self.tasks: list[str] = []

    def __call__(self, task: str) -> None:
        self.tasks.append(task)
        who = self.old.who()
        assert who in (["the scripts"], ["ours"]), (task, who)
        assert who == ["ours"] or self.who == ["the scripts"], task
        self.who = who
        if self.nights is not None and task not in self.nights:
            return
        if who == ["the scripts"]:
            assert self.old.theirs() == self.before, task
        assert len(self.old.night()) == 1, task
        if who == ["the scripts"]:  # their log has a line more
            self.before = self.old.theirs()


EACH = pytest.param(None, marks=[pytest.mark.gameday, pytest.mark.timeout(3600)])


@pytest.fixture(params=[NIGHTS, EACH], ids=["", "each"])
def nights(request) -> tuple[str, ...] | None:
    return request.param


def test_from_the_scripts_and_back(move, nights):
    """One story: each step stands on the one before."""
    old, settings = move.old, move.controller.inventory / "host_vars/mover"
    assert len(old.night()) == 1
    before, script = old.theirs(), old.line.partition(" >>")[0]

    # nothing is set: a check says where the settings are
    play = move.run("--check", check=False)
    assert play.status != 0
    assert f"-e import={old.config}" in play.output, play.output
    checked = move.run("--check", "--diff", "-e", f"import={old.config}")
    assert "It goes on until the first new backup is proven" in checked.output, checked.output
    assert "Would switch off: /opt/crm/backup-to-s3.sh" in checked.output, checked.output
    assert not settings.exists()
    # a store that refuses the key: their settings are taken over, and nothing else has come of it
    wrong = ["-e", f"import={old.config}", "-e", "backup_s3_secret_key=wrong"]
    failed = move.run(*wrong, check=False)
    assert failed.status != 0
    assert "no variable here: SLACK_CHANNEL." in failed.output, failed.output
    [taken] = settings.iterdir()
    assert oct(taken.stat().st_mode)[-3:] == "600"
    assert old.password in taken.read_text()
    for secret in (old.password, old.store.secret_key):
        assert secret not in play.output + checked.output + failed.output
    # their cron goes by the server's clock; where we have a time already, it stands and is told of
    at = "19:00" if "Ours runs at the time of theirs, 19:00 UTC" in failed.output else "03:00"
    assert (f'backup_schedule_time: "{at}"' in taken.read_text()) == (at == "19:00")
    told = 'to keep the time: backup_schedule_time: "00:00"'
    assert (told in " ".join(checked.output.split())) == (at == "03:00")

    # what lies there has the wrong key; a check tries what would be written
    assert "Would switch off: /opt/crm/backup-to-s3.sh" in move.run("--check").output

    # a run that is cut before the step leaves the scripts, and is gone on with
    move.cut("Let the older scripts go", "before")
    assert (old.theirs(), old.who()) == (before, ["the scripts"])
    onlooker = Onlooker(old, nights)
    move.watched(onlooker)
    assert {*NIGHTS} <= {*onlooker.tasks}
    assert onlooker.who == ["ours"]
    assert f"run --at {at} " in old.server.inside("cat", CRON).stdout
    kept = json.loads(old.program("list", "--json"))["backups"]
    assert sorted(one["backup"] for one in kept) == old.listed()
    assert sum(one["state"] == "proven" for one in kept) >= 3
    assert {one["state"] for one in kept} <= {"proven", "good", "unproven"}
    assert len(old.night()) == 1
    assert "NOT WELL" not in old.program("status")
    again = move.run(playbook="setup.yml")
    assert again.recap["mover"]["changed"] == 0, again.output
    # a line of theirs that was forgotten somewhere is told the next morning
    names = set(old.listed())
    old.server.inside("sh", "-c", script)
    [late] = set(old.listed()) - names
    morning = old.server.inside("/usr/local/bin/postgres-backup", "watch", check=False).stdout
    assert re.search(rf"FOREIGN_WRITER: .*{re.escape(late)}", morning), morning
    old.client.delete_object(Bucket=old.bucket, Key=f"postgres-backup/{late}")

    # and back
    move.run("-e", "adopt=undo")
    assert old.who() == ["the scripts"]
    assert old.theirs() == onlooker.before
    assert old.server.inside("systemctl", "is-enabled", TIMER, check=False).returncode != 0
    assert len(old.night()) == 1
    nothing = move.run("-e", "adopt=undo", check=False)
    assert "There is nothing to undo" in nothing.output
    move.cut("Let the older scripts go", "after")
    assert old.who() == ["ours"]
    move.run()
    assert old.who() == ["ours"]


@pytest.mark.gameday
@pytest.mark.timeout(3600)
def test_a_compose_application_that_runs_on_moves_in_and_back(lab_s3, new_server, controller):
    server = new_server("trixie", layer="app", name="mover")
    old = Composed(server, lab_s3, f"old-{secrets.token_hex(4)}", *APART)
    old.client.create_bucket(Bucket=old.bucket)
    old.install()
    controller.add(server)
    (controller.inventory / "host_vars/mover.yml").unlink()
    paths = [f"{APP}/compose.yml", f"{APP}/.env"]
    health = "http://127.0.0.1:8000/healthz"
    controller.variables(
        backup_app_dir=APP, backup_app_health_url=health, backup_paths=paths, backup_kit_plain=True
    )
    move = Move(old, controller)
    assert len(old.night()) == 1
    move.run("--check", "-e", f"import={old.config}")
    move.cut("Take a first backup", "before", "-e", f"import={old.config}")
    onlooker = Onlooker(old, NIGHTS)
    move.watched(onlooker)
    assert onlooker.who == ["ours"]
    assert len(old.night()) == 1
    assert "NOT WELL" not in old.program("status")
    # neither the move nor a restore's rehearsal has touched the application
    seen = old.visits()
    wait_for("more rows", lambda: old.visits() > seen, timeout=30)
    assert old.downtimes() == ""
    done = move.run("-e", "backup=latest", playbook="restore.yml")
    assert done.status == 0
    move.run("-e", "adopt=undo")
    assert old.theirs() == onlooker.before
    assert len(old.night()) == 1
    assert old.visits() > 0


#: the modules alone, as setup.yml calls them
BY_MODULES = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Find them
      postgres_backup_scripts:
        databases: [crm]
        config_place: /etc/postgres-backup/backup-config.env
      register: found
    - name: Say so
      ansible.builtin.debug:
        msg: "{{ found.lines | join(' ') }}"
    - name: Switch
      postgres_backup_switch:
        state: "{{ state }}"
        databases: [crm]
        config_place: /etc/postgres-backup/backup-config.env
        log: /var/log/postgres-backup.log
        files: [{path: /etc/cron.d/postgres-backup, mode: "0644", content: "# ours\\n"}]
        record: /root/moved-in.json
"""
UNITS = "/etc/systemd/system"
#: the timers of scripts: an ordinary one, one that lies elsewhere and is linked, one that was
#: started by hand and is gone after a boot
TIMERS = {
    "crm-a": f"{UNITS}/crm-a.timer",
    "crm-b": "/opt/crm/crm-b.timer",
    "crm-c": f"{UNITS}/crm-c.timer",
}


def test_timers_and_the_folders_of_run_parts_make_way_and_come_back(
    new_server, controller, tmp_path, lab_s3
):
    """What runs without a crontab; systemd and run-parts themselves say what they would run."""
    server = new_server("trixie", name="timed")
    config = "/opt/crm/backup-config.env"
    server.write(config, CONFIG.format(bucket="old", store=lab_s3, password="x"), "0600")
    script = SCRIPT.format(config=config)
    server.write("/opt/crm/backup-to-s3.sh", script, "0755")
    server.write("/etc/cron.daily/crm-backup", script, "0755")
    for name, path in TIMERS.items():
        timer = "[Timer]\nOnCalendar=*-*-* 00:00:00 UTC\n[Install]\nWantedBy=timers.target\n"
        server.write(path, timer)
        service = "[Service]\nType=oneshot\nExecStart=/opt/crm/backup-to-s3.sh\n"
        server.write(f"{UNITS}/{name}.service", service)
    server.inside("systemctl", "daemon-reload")
    for name in ("crm-a", "crm-b"):
        server.inside("systemctl", "enable", "--quiet", "--now", TIMERS[name])
    server.inside("systemctl", "start", "crm-c.timer")

    def on() -> dict[str, object]:
        """What they say now: each timer enabled, active; the scripts of a day."""
        said: dict[str, object] = {
            name: tuple(
                server.inside("systemctl", question, f"{name}.timer", check=False).stdout.strip()
                for question in ("is-enabled", "is-active")
            )
            for name in TIMERS
        }
        daily = server.inside("run-parts", "--test", "/etc/cron.daily").stdout.split()
        return said | {"daily": [path for path in daily if "crm" in path]}

    before = on()
    assert before["crm-a"] == before["crm-b"] == ("enabled", "active")
    assert (before["crm-c"], before["daily"]) == (
        ("disabled", "active"),
        ["/etc/cron.daily/crm-backup"],
    )
    controller.add(server)
    controller.variables()
    play = tmp_path / "switch.yml"
    play.write_text(BY_MODULES)
    done = controller.run(str(play), "-e", "state=switched")
    said, daily = " ".join(done.output.split()), "/etc/cron.daily/crm-backup"
    assert f"Found: {daily} as {daily}" in said
    for name in TIMERS:
        assert f"Found: /opt/crm/backup-to-s3.sh by {UNITS}/{name}.timer" in said
    off = on()
    assert {off[name][1] for name in TIMERS} == {"inactive"}
    assert "enabled" not in {off[name][0] for name in TIMERS}
    assert off["daily"] == []
    again = controller.run(str(play), "-e", "state=switched")
    assert again.recap["timed"]["changed"] == 0
    server.reboot()
    assert {on()[name][1] for name in TIMERS} == {"inactive"}
    controller.run(str(play), "-e", "state=undone")
    assert on() == before
    assert server.inside("cat", "/etc/cron.daily/crm-backup").stdout == script
