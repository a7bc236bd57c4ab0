"""``ansible-playbook setup.yml`` from this machine onto brand-new servers, and what must come of it
by itself.

The tests stand in the order of a server's first day: a check of the untouched server, the setup, a
second run, the schedule, a power loss. Each brings the setup if none was there. Two servers go
through it in the same runs: Debian 12 in Kathmandu (+05:45) by an ordinary user with sudo and a
store over TLS with its own CA, Debian 13 in Berlin (summer time) by root and a store over HTTP.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shlex
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from demo.s3_server import SeaweedFS
from postgres_backup.signing import judge, signers
from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.services.receivers import HttpReceiver
from tests.waiting import wait_for

# two servers install their packages at the same time, on a machine that may have two cores
pytestmark = pytest.mark.timeout(900)

CONFIG = "/etc/postgres-backup/backup-config.env"
KEY, TRUSTED = "/etc/postgres-backup/signing.key", "/etc/postgres-backup/trusted_signers"
LOG = "/var/log/postgres-backup.log"
PREFIX = "postgres-backup/"
CA_FILE = "/etc/ssl/company-ca.pem"
UP_FOR_LONG = "/etc/systemd/system/postgres-backup-watch.timer.d/up-for-long.conf"
#: the one word of the log's last line that an administrator greps for
OK_LINE = re.compile(r"^\S+Z OK \S+: 1 database\(s\), ", re.MULTILINE)


@dataclasses.dataclass
class Site:
    """One server, the store its backups go to, and the secrets that must not be seen anywhere."""

    server: Server
    store: SeaweedFS
    bucket: str
    user: str
    password: str
    token: str

    @property
    def client(self):
        """A plain S3 client, to look at the bucket."""
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        keys = {
            "aws_access_key_id": self.store.access_key,
            "aws_secret_access_key": self.store.secret_key,
            "region_name": "us-east-1",
        }
        return boto3.client(
            "s3",
            endpoint_url=self.store.endpoint_url,
            verify=self.store.ca_bundle or None,
            config=config,
            **keys,
        )

    def backups(self) -> list[str]:
        """The names that a listing of the prefix shows."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, Delimiter="/")
        return [item["Key"].removeprefix(PREFIX) for item in found.get("Contents", [])]

    def manifest(self, backup: str) -> dict:
        key = f"{PREFIX}manifests/{backup.removesuffix('.sql.gz')}.json"
        return json.loads(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def program(self, *words: str, check: bool = True, timeout: float = 120):
        """``postgres-backup`` as root types it."""
        return self.server.inside(
            "/usr/local/bin/postgres-backup", *words, check=check, timeout=timeout
        )

    @property
    def secrets(self) -> list[str]:
        return [self.password, self.store.secret_key, self.token]


@dataclasses.dataclass
class Day:
    """What the tests share: the sites, the controller, and the output of every run so far."""

    sites: list[Site]
    controller: Controller
    plays: list[Play]
    web: HttpReceiver

    @property
    def keys(self) -> Path:
        """Where the controller keeps the public keys."""
        return self.controller.inventory / "keys"

    @property
    def told(self) -> list[str]:
        """The headlines of the messages that came, in order of the alphabet."""
        return sorted(request.json["title"] for request in self.web.requests)

    def run(self, *options: str, playbook: str = "setup.yml") -> Play:
        play = self.controller.run(playbook, *options)
        self.plays.append(play)
        return play


@pytest.fixture(scope="module")
def web(lab):
    """Somebody at the bridge who is told of trouble."""
    with HttpReceiver(lab.address) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def day(lab, web, lab_s3, lab_s3_tls, new_module_server, tmp_path_factory) -> Day:
    controller = Controller(lab, tmp_path_factory.mktemp("setup") / "controller")
    kathmandu = new_module_server(
        "bookworm", layer="postgres", timezone="Asia/Kathmandu", name="kathmandu"
    )
    berlin = new_module_server("trixie", layer="postgres", timezone="Europe/Berlin", name="berlin")
    kathmandu.add_user("deploy")
    kathmandu.write(CA_FILE, Path(lab_s3_tls.ca_bundle).read_text())
    sites = [
        Site(
            kathmandu,
            lab_s3_tls,
            f"backups-{secrets.token_hex(4)}",
            "deploy",
            secrets.token_urlsafe(18) + "'\"$x",
            secrets.token_hex(12),
        ),
        Site(
            berlin,
            lab_s3,
            f"backups-{secrets.token_hex(4)}",
            "root",
            secrets.token_urlsafe(18),
            secrets.token_hex(12),
        ),
    ]
    for site in sites:
        quoted = site.password.replace("'", "''")
        site.server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{quoted}'")
        site.server.sql("CREATE DATABASE crm OWNER crm")
        site.server.sql(
            "SET ROLE crm; CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);"
            'CREATE TABLE "The Orders" (id int, "what; for" text);'
            "INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 1000) n;"
            """INSERT INTO "The Orders" SELECT n, E'a\\tb\\\\.' || n"""
            " FROM generate_series(1, 500) n",
            "crm",
        )
        controller.add(
            site.server,
            site.user,
            backup_db_name="crm",
            backup_db_user="crm",
            backup_db_password=site.password,
            backup_s3_endpoint_url=site.store.endpoint_url,
            backup_s3_bucket=site.bucket,
            backup_s3_access_key=site.store.access_key,
            backup_s3_secret_key=site.store.secret_key,
            backup_s3_ca_bundle=CA_FILE if site.store.ca_bundle else "",
            backup_alert_urls=[f"json://{lab.address}:{web.port}/{site.token}"],
        )
    controller.variables()
    return Day(sites, controller, [], web)


@pytest.fixture(scope="module")
def first_setup(day) -> Play:
    """Both servers are set up: what the first run said.

    To the timer they are servers that have been up for long.
    """
    for site in day.sites:
        site.server.write(UP_FOR_LONG, "[Timer]\nOnBootSec=1s\n")
    play = day.run()
    for site in day.sites:
        site.server.inside("rm", "-r", UP_FOR_LONG.rpartition("/")[0])
        site.server.inside("systemctl", "daemon-reload")
    return play


@pytest.fixture(params=[0, 1], ids=["bookworm", "trixie"])
def site(request, day, first_setup) -> Site:
    """One of the two, set up."""
    return day.sites[request.param]


def _state(server: Server) -> list[str]:
    """Files with their times, directories, packages, users and units: what a change would show in,
    but for Ansible's own folders.
    """
    places = "/etc /opt /usr /home /root /var/lib /var/spool /var/log"
    skipped = [
        ".ansible*",
        "/var/lib/systemd/*",
        "/var/lib/postgresql/*",
        "/var/log/*/*",
        "/var/lib/apt/*",
        "/var/lib/logrotate/*",  # the system's own timer may fire meanwhile
        "/var/log/*tmp",
        "/var/log/lastlog",
    ]
    find = f"find {places} -xdev " + " ".join(f"-not -path '*{pattern}'" for pattern in skipped)
    rest = "dpkg -l; getent passwd; systemctl list-unit-files"
    folders = f"{find} -type d -printf '%p %m %u\\n' | sort"
    files = f"{find} -not -type d -printf '%p %y %m %u %s %T@\\n' | sort"
    script = f"{folders}; {files}; {rest}"
    return server.inside("sh", "-ec", script).stdout.splitlines()


def test_check_mode_on_the_untouched_server_touches_nothing(day):
    before = [_state(site.server) for site in day.sites]
    play = day.run("--check", "--diff")
    for site, earlier in zip(day.sites, before, strict=True):
        assert sorted(set(_state(site.server)) ^ set(earlier)) == []
        assert play.recap[site.server.name]["changed"] > 5  # it says what it would do
        assert site.bucket not in [
            bucket["Name"] for bucket in site.client.list_buckets()["Buckets"]
        ]
    assert "postgres-backup run --at 00:00" in play.output  # the schedule, in the diff
    assert not day.keys.exists()


def test_setup_makes_backups_that_are_proven(day, first_setup):
    play = first_setup
    for site in day.sites:
        assert (
            play.recap[site.server.name]["failed"]
            == play.recap[site.server.name]["unreachable"]
            == 0
        )
        [backup] = site.backups()
        manifest = site.manifest(backup)
        assert manifest["rows"] == 1500
        proofs = site.client.list_objects_v2(Bucket=site.bucket, Prefix=f"{PREFIX}proofs/")
        [proof, signature] = [item["Key"] for item in proofs["Contents"]]
        assert signature == f"{proof}.sig", "the first backup is verified, once"
        assert site.program("verify", "latest").returncode == 0


def test_the_first_look_comes_when_there_is_a_backup(day, first_setup):
    """Else somebody is told of a server without backups while it is being set up."""
    for site in day.sites:
        assert (
            wait_for(
                f"the first look on {site.server.name}",
                lambda s=site: (
                    s.server.inside(
                        *("journalctl", "-u", "postgres-backup-watch.service", "-o", "cat"),
                    ).stdout
                ),
                timeout=30,
            ).count("Finished")
            in (1, 2)  # the hour's own may have come meanwhile
        )
        shown = ("systemctl", "show", "-P", "ExecMainStatus", "postgres-backup-watch.service")
        assert site.server.inside(*shown).stdout == "0\n"
    assert len(day.told) == len(day.sites)  # the test of the alarms


def _last_looks(day: Day) -> list[str]:
    """When each server has looked around last."""
    stat = ("stat", "-c", "%y", "/var/lib/postgres-backup/last-look.json")
    return [site.server.inside(*stat).stdout for site in day.sites]


#: tasks that a setup runs or skips for a server on which all is as it should be, and beside them
#: those that it runs once for all: each is a process on the controller, some 20 ms (docs/scale.md)
TASKS, ONCE = 48, 4


def test_a_second_run_changes_nothing(day, first_setup):
    looked: list[str] = []
    # again where a look of its own came meanwhile: one is due five minutes after a boot
    while looked != (looked := _last_looks(day)):
        before = [_state(site.server) for site in day.sites]
        play = day.run("--diff")
        assert {name: counts["changed"] for name, counts in play.recap.items()} == {
            site.server.name: 0 for site in day.sites
        }, play.output
    runs = sorted(counts["ok"] + counts["skipped"] for counts in play.recap.values())
    assert runs[0] <= TASKS, play.output
    assert runs[-1] <= TASKS + ONCE
    for site, earlier in zip(day.sites, before, strict=True):
        assert sorted(set(_state(site.server)) ^ set(earlier)) == []


def _known(day: Day, server: Server) -> list[str]:
    """The public keys of a server that the controller has, in base64, newest first."""
    return [line.split()[1] for line in (day.keys / f"{server.name}.pub").read_text().splitlines()]


def _who_signed(day: Day, backup: str, site: Site, asked: Site) -> str:
    """What the list on one server makes of a backup of another."""
    key = f"{PREFIX}manifests/{backup.removesuffix('.sql.gz')}.json"
    data, signature = (
        site.client.get_object(Bucket=site.bucket, Key=one)["Body"].read()
        for one in (key, f"{key}.sig")
    )
    lines = signers.parse(asked.server.inside("cat", TRUSTED).stdout, TRUSTED)
    believed = signers.Signers(asked.server.name, lines=lines)
    return judge.judge(data, signature, site.server.name, believed).kind


def test_each_server_signs_and_all_servers_know_its_key(day, first_setup):
    for site in day.sites:
        server = site.server
        owner = ["postgres-backup", "postgres-backup"]
        assert server.inside("stat", "-c", "%a %U %G", KEY).stdout.split() == ["600", *owner]
        stat = server.inside("stat", "-c", "%a %U %G", TRUSTED).stdout.split()
        assert stat == ["644", "root", "root"]
        assert _known(day, server) == [server.inside("cat", f"{KEY}.pub").stdout.split()[1]]
        [backup] = site.backups()
        for asked in day.sites:
            assert _who_signed(day, backup, site, asked) == "trusted"
        # the private half stays where it is
        private = server.inside("cat", KEY).stdout.split("\n")[1:-2]
        assert not [line for line in private if any(line in play.output for play in day.plays)]
    assert len(list(day.keys.iterdir())) == len(day.sites)


def test_a_new_key_takes_over_and_the_old_one_stays_good(day, first_setup):
    """And a run after that has nothing to do: see the schedule's."""
    before = {site.server.name: _known(day, site.server) for site in day.sites}
    play = day.run("-e", "rotate_signing_key=true", "--diff")
    changed = {site.server.name: 3 for site in day.sites}  # the key, its public half, the list
    assert {name: counts["changed"] for name, counts in play.recap.items()} == changed, play.output
    for site in day.sites:
        server, old = site.server, before[site.server.name]
        new = server.inside("cat", f"{KEY}.pub").stdout.split()[1]
        assert _known(day, server) == [new, *old]
        assert new not in old
        [backup] = site.backups()
        assert [_who_signed(day, backup, site, asked) for asked in day.sites] == ["trusted"] * 2
        assert site.program("restore", "latest", "--check").returncode == 0


def test_what_lies_on_the_server(site):
    server = site.server
    assert server.inside("stat", "-c", "%a %U %G", CONFIG).stdout.split() == [
        "600",
        "postgres-backup",
        "postgres-backup",
    ]
    assert (
        server.inside("runuser", "-u", "nobody", "--", "cat", CONFIG, check=False).returncode != 0
    )
    sourced = f'. {CONFIG} && printf "%s\\n" "$DB_PASSWORD" "$AWS_SECRET_ACCESS_KEY"'
    sourced += ' "$AWS_REQUEST_CHECKSUM_CALCULATION" "$RETENTION_DAYS" "$SERVER_NAME"'
    expected = [site.password, site.store.secret_key, "when_required", "7", server.name]
    for shell in ("sh", "bash"):
        assert (
            server.inside(
                "runuser", "-u", "postgres-backup", "--", shell, "-ec", sourced
            ).stdout.splitlines()
            == expected
        )
    # nothing is locked away from the user who runs it, nor lent to others
    writable = server.inside(
        "find",
        "/opt/postgres-backup",
        "/usr/local/bin/postgres-backup",
        "/etc/cron.d/postgres-backup",
        "-perm",
        "/022",
        "-not",
        "-type",
        "l",
    )
    assert writable.stdout == ""


def test_stock_tools_list_and_restore(site):
    """The contract's line after sourcing the config, and the two stock-tool lines that restore
    without us.
    """
    place = '--endpoint-url "$S3_ENDPOINT_URL" --region "$S3_REGION"'
    line = f'. {CONFIG}; aws s3 ls "s3://${{S3_BUCKET_NAME}}/postgres-backup/" {place} | tail -5'
    listed = site.server.inside("bash", "-ec", f"set -o pipefail; {line}").stdout
    [backup] = site.backups()
    assert listed.count("postgres-backup-") == 1
    assert backup in listed
    site.server.sql("CREATE DATABASE by_hand OWNER crm")
    copy = f'aws s3 cp "s3://${{S3_BUCKET_NAME}}/postgres-backup/{backup}" - {place}'
    load = 'PGPASSWORD="$DB_PASSWORD" psql -X -q -v ON_ERROR_STOP=1'
    load += ' -h "$DB_HOST" -U "$DB_USER" -d by_hand'
    site.server.inside("bash", "-ec", f"set -o pipefail; . {CONFIG}; {copy} | gunzip | {load}")
    assert site.server.sql("SELECT count(*) FROM users", "by_hand") == "1000"
    assert site.server.sql('SELECT count(*) FROM "The Orders"', "by_hand") == "500"
    site.server.sql("DROP DATABASE by_hand")


def test_log_rotation(site):
    checked = site.server.inside("logrotate", "-d", "/etc/logrotate.conf")
    assert "error" not in checked.stderr.lower()
    assert f"rotating pattern: {LOG}" in checked.stderr
    site.server.inside("sh", "-c", f"echo line >> {LOG}")
    site.server.inside("logrotate", "-f", "/etc/logrotate.d/postgres-backup")
    assert site.server.inside("stat", "-c", "%a %U %G", LOG).stdout.split() == [
        "640",
        "postgres-backup",
        "adm",
    ]
    assert site.server.inside("cat", f"{LOG}.1").stdout.endswith("line\n")


def test_cron_fires_by_itself_at_the_time_in_utc(day, first_setup):
    """Whatever the server's zone is; a run outside its time does nothing."""
    before = [site.backups() for site in day.sites]
    files, timer = (
        2,
        1,
    )  # cron's file and the config; the timer, whose minute is that of the schedule
    checked = day.run("--check", "--diff", "-e", "backup_schedule_time=00:01")
    changed = {site.server.name: files + timer for site in day.sites}
    assert {name: counts["changed"] for name, counts in checked.recap.items()} == changed, (
        checked.output
    )
    # at the first full minute at which this machine will surely have changed the schedule, judging
    # by what the check took
    due = (datetime.now(timezone.utc) + timedelta(seconds=75 + 1.3 * checked.seconds)).replace(
        second=0, microsecond=0
    )
    play = day.run("-e", f"backup_schedule_time={due:%H:%M}", "--diff")
    changed = {site.server.name: files + (timer if due.minute else 0) for site in day.sites}
    assert {name: counts["changed"] for name, counts in play.recap.items()} == changed, play.output
    for site, earlier in zip(day.sites, before, strict=True):
        call = f"/usr/local/bin/postgres-backup run --at {(due + timedelta(hours=6)):%H:%M}"
        assert (
            site.server.inside(
                "runuser", "-u", "postgres-backup", "--", "env", "-i", "sh", "-c", call
            ).stdout
            == ""
        )
        assert site.backups() == earlier
        assert site.server.inside("cat", LOG).stdout == ""
    assert datetime.now(timezone.utc) < due, "the setup took longer than the test allows for"
    for site, earlier in zip(day.sites, before, strict=True):
        patience = (due - datetime.now(timezone.utc)).total_seconds() + 120
        wait_for(
            f"cron on {site.server.name}",
            lambda s=site: OK_LINE.search(s.server.inside("cat", LOG).stdout),
            timeout=patience,
            interval=2,
        )
        log = site.server.inside("cat", LOG).stdout
        assert OK_LINE.match(log.splitlines()[-1])
        [new] = set(site.backups()) - set(earlier)
        taken = datetime.strptime(new, "postgres-backup-%Y-%m-%d_%H-%M-%S.sql.gz").replace(
            tzinfo=timezone.utc
        )
        assert due <= taken < due + timedelta(minutes=1)
        assert site.program("verify", new).returncode == 0
        assert site.program("status").returncode == 0
        # the night is in the system's journal, and in the bucket's
        told = site.server.inside("journalctl", "-t", "postgres-backup", "--no-pager").stdout
        assert f" OK {site.server.name}: 1 database(s), " in told
        assert "  backup  postgres-backup-" in site.program("history", "--days", "1").stdout


def test_each_address_had_one_test_message_in_all_these_setups(day, first_setup):
    assert day.told == [
        f"{name}: a test of the alarms of postgres-backup"
        for name in sorted(site.server.name for site in day.sites)
    ]


def test_the_timer_looks_although_cron_has_stopped(site):
    server = site.server
    assert (
        server.inside("systemctl", "is-enabled", "postgres-backup-watch.timer").stdout
        == "enabled\n"
    )
    assert (
        "postgres-backup-watch.service"
        in server.inside("systemctl", "list-timers", "--no-pager").stdout
    )
    server.inside("systemctl", "stop", "cron")
    server.inside("systemctl", "start", "postgres-backup-watch.service", timeout=120)
    server.inside("systemctl", "start", "cron")
    assert (
        "postgres_backup_last_watch_timestamp_seconds{"
        in server.inside("cat", "/var/lib/postgres-backup/postgres-backup.prom").stdout
    )


def test_a_failed_backup_is_told_once_and_once_when_it_is_over(day, site):
    before = len(day.told)
    site.server.inside("systemctl", "stop", "postgresql")
    for _ in range(2):
        assert site.program("run", check=False).returncode == 1
    site.server.inside("systemctl", "start", "postgresql")
    assert day.told.count(f"{site.server.name}: the backup of crm failed") == 1
    assert site.program("run").returncode == 0
    assert day.told.count(f"{site.server.name}: over: the backup of crm failed") == 1
    assert len(day.told) == before + 2


# Notes every argument list on the server until its standard input ends, some forty times a second,
# the short-lived ones included.
_WATCH = """
import glob, json, os, sys, threading, time
seen, over = set(), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                seen.add(file.read().replace(b"\\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    time.sleep(0.025)
print(json.dumps(sorted(seen)))
"""


def test_backup_and_restore_show_no_secret(day, first_setup):
    """Not in the argument list of any process, a log, the journal, a file that others may read, or
    what ``-vvv`` prints.
    """
    watch = shlex.join(["python3", "-c", _WATCH])
    watches = [
        subprocess.Popen(
            [*site.server.ssh_command(), watch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for site in day.sites
    ]
    try:
        day.run("-vvv", playbook="playbooks/backup.yml")
        day.run("-vvv", "--limit", "all", "-e", "backup=latest", playbook="restore.yml")
    finally:
        seen = [watch.communicate("", timeout=60)[0] for watch in watches]
    for verb, play in zip(("dumping", "loading"), day.plays[-2:], strict=True):
        for site in day.sites:  # while it lasts, also over ssh and for two at once
            assert re.search(rf"^    {site.server.name}: {verb} ", play.output, re.MULTILINE), (
                play.output[-4000:]
            )
    for site, argument_lists in zip(day.sites, seen, strict=True):
        lines = json.loads(argument_lists)
        # else the watch looked away
        assert any("pg_dump" in line for line in lines), lines
        journal = site.server.inside("journalctl", "--no-pager", "--all").stdout
        log = site.server.inside("sh", "-c", f"cat {LOG}*").stdout
        for secret in site.secrets:
            assert [line for line in lines if secret in line] == []
            assert secret not in journal + log
            assert [play for play in day.plays if secret in play.output] == []
        assert _files_with(site.server, site.secrets) == [CONFIG]
        assert site.server.sql("SELECT count(*) FROM users", "crm") == "1000"


def _files_with(server: Server, words: list[str]) -> list[str]:
    """The files, but PostgreSQL's own, that hold one of these words.

    They travel by standard input: an argument list would show them.
    """
    places = "/etc /home /opt /root /run /srv /tmp /usr/local /var".split()
    search = [
        "grep",
        "--recursive",
        "--files-with-matches",
        "--fixed-strings",
        "--devices=skip",
        "--file=-",
        "--exclude-dir=postgresql",
        *places,
    ]
    return server.inside(*search, check=False, input="\n".join(words) + "\n").stdout.split()


def test_power_loss_in_the_middle_of_a_backup(site):
    """No object under a backup's name, the next run is clean, and the parts of the lost one are
    swept.
    """
    before = site.backups()
    site.server.sql(
        "CREATE TABLE noise AS SELECT n, string_agg(md5(random()::text), '')"
        " FROM generate_series(1, 40000) n, generate_series(1, 20) GROUP BY n",
        "crm",
    )
    site.server.sql("ALTER TABLE noise OWNER TO crm", "crm")
    site.server.slow_link("40mbit")
    site.server.inside(
        "systemd-run",
        "--unit=nightly",
        "--uid=postgres-backup",
        "/usr/local/bin/postgres-backup",
        "run",
    )
    wait_for(
        "parts in the store",
        lambda: site.client.list_multipart_uploads(Bucket=site.bucket).get("Uploads"),
        timeout=60,
    )
    time.sleep(1)
    site.server.crash()
    assert site.backups() == before
    site.server.boot()
    site.server.slow_link()
    unfinished = site.client.list_multipart_uploads(Bucket=site.bucket)["Uploads"]
    assert len(unfinished) == 1
    done = site.program("run")
    assert OK_LINE.search(done.stdout + done.stderr), done
    [new] = set(site.backups()) - set(before)
    assert site.program("verify", new).returncode == 0
    assert site.manifest(new)["tables"]["public.noise"]["rows"] == 40000
    # what was begun is remembered over a power loss, so it is removed at once, and told by its name
    lost = unfinished[0]["Key"].rpartition("/")[2]
    assert f"had left of {lost}: 1 unfinished uploads" in done.stdout + done.stderr
    assert "Uploads" not in site.client.list_multipart_uploads(Bucket=site.bucket)
