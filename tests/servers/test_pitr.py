"""Recovery to any second on a booted server, with a store over TLS: the story of one cluster.

Each step brings the ones before it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.s3_server import SeaweedFS
from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.services.plain_s3 import client_of
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

CA_FILE = "/etc/ssl/company-ca.pem"
CONFIG = "/etc/postgres-backup-pitr/config.env"
#: as cron has it: the 31st of February
NEVER = "0 0 31 2 *"
OF_PITR = ("--config", CONFIG)
LOG = "/var/lib/postgresql/17/main/pg_wal"
ENGINE_CONFIG = "/etc/postgres-backup-pitr/engine/pgbackrest.conf"
ENGINE = ["pgbackrest", f"--config={ENGINE_CONFIG}"]
CONF_D = "/etc/postgresql/17/main/conf.d/postgres-backup-pitr.conf"
#: what of setup.yml is about this alone, for the runs after the first
ALONE = """
- hosts: all
  become: true
  gather_facts: false
  roles: [backup, pitr]
"""


@dataclasses.dataclass
class Site:
    """The server, its store, and what is written about it on the controller."""

    server: Server
    controller: Controller
    store: SeaweedFS
    bucket: str

    def play(self, *options: str, check: bool = True) -> Play:
        """The roles alone."""
        book = self.controller.directory / "alone.yml"
        book.write_text(ALONE)
        return self.controller.run(str(book), *options, check=check)

    def engine(self, *words: str):
        """The engine, as a person asks it."""
        return self.server.inside("runuser", "-u", "postgres", "--", *ENGINE, *words)

    def info(self) -> dict:
        [found] = json.loads(self.engine("--stanza=main", "info", "--output=json").stdout)
        return found

    def program(self, *words: str, config: str = CONFIG, check: bool = True):
        """``postgres-backup`` as root types it."""
        return self.server.inside(
            "postgres-backup", *words, *(["--config", config] if config else []), check=check
        )

    def switch(self, statement: str = "SELECT txid_current()") -> str:
        """Write something, and end a piece of the log behind it; its name."""
        self.server.sql(statement, "crm")
        return self.server.sql("SELECT pg_walfile_name(pg_switch_wal())")

    def recover(self, *options: str, check: bool = True) -> Play:
        """The playbook, with each of these behind ``-e``."""
        words = [word for option in options for word in ("-e", option)]
        return self.controller.run("playbooks/pitr_restore.yml", *words, check=check)

    def recovered(self, statement: str, database: str = "crm", port: int = 5500) -> str:
        """What the recovered cluster answers."""
        psql = ["psql", "-qAtX", "-p", str(port), "-d", database, "-c", statement]
        return self.server.inside("runuser", "-u", "postgres", "--", *psql).stdout.strip()

    def now(self) -> str:
        """PostgreSQL's clock, as a target, and as it is told: without zeros at its end. There is a
        way to it, for of a backup is known to the second when it ended.
        """
        ended = self.info()["backup"][-1]["timestamp"]["stop"]
        epoch = "SELECT extract(epoch FROM clock_timestamp())"
        wait_for("a second behind it", lambda: float(self.server.sql(epoch)) > ended + 1)
        form = 'YYYY-MM-DD"T"HH24:MI:SS.US'
        told = self.server.sql(f"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', '{form}')")
        return f"{told.rstrip('0').rstrip('.')}Z"

    def folders(self) -> list[str]:
        """What lies beside PostgreSQL's data."""
        return self.server.inside("ls", "/var/lib/postgresql/17").stdout.split()

    def waits(self) -> list[str]:
        """Pieces of the log that are not archived."""
        found = self.server.inside("ls", f"{LOG}/archive_status").stdout.split()
        return [one for one in found if one.endswith(".ready")]

    @property
    def client(self):
        """A plain S3 client."""
        return client_of(self.store)

    def keys(self, prefix: str = "") -> list[str]:
        """What lies in the bucket."""
        listing = self.client.get_paginator("list_objects_v2")
        pages = listing.paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


def new_site(server: Server, controller: Controller, store: SeaweedFS, **variables: object) -> Site:
    """A server with a database ``crm``, and an inventory by which its every second is kept.

    :param variables: of group_vars, beside those of the store.
    """
    server.write(CA_FILE, Path(store.ca_bundle).read_text())
    password = secrets.token_urlsafe(18)
    server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'")
    server.sql("CREATE DATABASE crm OWNER crm")
    bucket = f"backups-{secrets.token_hex(4)}"
    controller.add(server, backup_db_name="crm", backup_db_user="crm", backup_pitr=True)
    controller.variables(
        backup_db_password=password,
        backup_s3_endpoint_url=store.endpoint_url,
        backup_s3_bucket=bucket,
        backup_s3_access_key=store.access_key,
        backup_s3_secret_key=store.secret_key,
        backup_s3_ca_bundle=CA_FILE,
        **variables,
    )
    return Site(server, controller, store, bucket)


@pytest.fixture(scope="module")
def site(lab, lab_s3_tls, new_module_server, tmp_path_factory) -> Site:
    controller = Controller(lab, tmp_path_factory.mktemp("pitr") / "controller")
    server = new_module_server("trixie", layer="ready", name="minute")
    made = new_site(server, controller, lab_s3_tls, backup_drill_schedule=NEVER)
    server.sql(
        "SET ROLE crm; CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 500) n", "crm"
    )
    return made


@pytest.fixture(scope="module")
def refused(site) -> Play:
    """A setup with a key that the store does not know, for the archive alone."""
    site.controller.run("setup.yml", "-e", "backup_pitr=false")
    return site.play("-e", "backup_s3_secret_key=wrong", check=False)


@pytest.fixture(scope="module")
def prepared(site, refused) -> Play:
    """A setup that may not start PostgreSQL anew."""
    return site.play()


@pytest.fixture(scope="module")
def archived(site, prepared) -> Play:
    """One that may."""
    return site.play("-e", "backup_pitr_allow_restart=true", "--diff")


def test_without_it_nothing_of_it_is_there_and_a_wrong_key_is_found_before_postgresql_is_told(
    site, refused
):
    assert refused.status == 2
    assert not site.keys("postgres-backup-pitr/")
    assert site.server.inside("test", "-e", CONF_D, check=False).returncode == 1
    assert site.server.sql("SHOW archive_mode") == "off"
    assert site.server.sql("SHOW archive_command") == "(disabled)"


def test_postgresql_is_not_started_anew_unasked_and_the_setup_says_what_is_left(site, prepared):
    assert "PostgreSQL archives from its next start on" in " ".join(prepared.output.split())
    assert site.server.sql("SHOW archive_mode") == "off"
    assert prepared.recap["minute"]["failed"] == 0


def test_all_that_is_written_is_archived_encrypted_and_apart(site, archived):
    found = site.info()
    assert found["status"]["code"] == 0
    assert [one["type"] for one in found["backup"]] == ["full"]
    assert found["cipher"] == "aes-256-cbc"
    identifier = site.server.sql("SELECT system_identifier FROM pg_control_system()")
    [where] = {
        key.split("/archive/")[0]
        for key in site.keys("postgres-backup-pitr/")
        if "/archive/" in key
    }
    assert where == f"postgres-backup-pitr/minute/{identifier}"
    assert site.server.sql("SHOW archive_timeout") == "1min"
    assert "is in the bucket: the cluster of what has changed" in site.program("pitr-backup").stdout
    assert [one["type"] for one in site.info()["backup"]] == ["full", "incr"]


def test_the_key_of_the_archive_is_beside_the_inventory_and_in_no_output(site, archived, prepared):
    [file] = (site.controller.inventory / "host_vars").glob("minute*pitr_key.yml")
    key = re.search(r"backup_pitr_cipher_key: (\S+)", file.read_text())[1]
    assert file.stat().st_mode & 0o777 == 0o600
    assert (
        site.server.inside("cat", "/etc/postgres-backup-pitr/engine/cipher.key").stdout.strip()
        == key
    )
    assert key not in prepared.output + archived.output
    assert site.store.secret_key not in prepared.output + archived.output


def test_a_second_setup_changes_nothing_and_a_check_says_what_would(site, archived):
    again = site.play()
    assert again.recap["minute"]["changed"] == 0, again.output
    check = site.play("--check", "--diff", "-e", "backup_pitr_rpo_seconds=600")
    assert "+archive_timeout = 120s" in check.output
    assert site.server.sql("SHOW archive_timeout") == "1min"


@pytest.fixture
def broken(site, archived) -> Iterator[Site]:
    """A store that does not take its key any more, for what waits and waited for long."""
    pushers = ("pgrep", "-f", "archive-push:async")  # one that runs knows the key still
    wait_for("their end", lambda: site.server.inside(*pushers, check=False).returncode, timeout=90)
    site.server.inside("cp", "-p", ENGINE_CONFIG, "/root/whole.conf")
    site.server.inside(
        "sed", "-i", "s/^repo1-s3-key-secret=.*/repo1-s3-key-secret=x/", ENGINE_CONFIG
    )
    piece = site.switch()
    wait_for("a piece that waits", lambda: f"{piece}.ready" in site.waits())
    site.server.inside("touch", "-d", "-400 seconds", f"{LOG}/archive_status/{piece}.ready")
    yield site
    site.server.inside("cp", "-p", "/root/whole.conf", ENGINE_CONFIG)


def test_archiving_that_stops_is_an_alarm_and_its_end_is_told(site, broken):
    site.program("pitr-look")
    watched = site.program("pitr-watch", config="", check=False)
    assert (watched.returncode, watched.stdout.split(":")[0]) == (4, "PITR_STOPPED")
    status = site.program("status", config="", check=False)
    assert "open alarm since" in status.stdout
    said = r"PITR_STOPPED: what PostgreSQL writes is not archived for \d+ min"  # a busy machine's
    assert re.search(said, status.stdout)
    site.server.inside("cp", "-p", "/root/whole.conf", ENGINE_CONFIG)
    wait_for("nothing that waits", lambda: not site.waits(), timeout=180)
    site.program("pitr-look")
    assert site.program("pitr-watch", config="").stdout == ""
    status = site.program("status", config="", check=False).stdout
    assert "PITR" not in status
    assert re.search(r"every second: 0 pieces wait, for .* \(at most \d+ min", status)
    kept = r"every second: kept from \S+Z on, by \d backups of the cluster; with the log \d"
    assert re.search(kept, site.program("list", config="").stdout)
    numbers = site.server.inside("cat", "/var/lib/postgres-backup/postgres-backup-pitr.prom").stdout
    assert float(re.search(r"(?m)^\S+_stored_bytes{.*} (\S+)$", numbers)[1]) > 100_000
    assert re.search(r"(?m)^\S+_gaps{.*} 0\.0$", numbers)


def test_a_piece_that_is_missing_is_found_by_counting_and_mended_by_a_full_backup(site, archived):
    lost = site.switch()
    after = site.switch()
    wait_for("it", lambda: after in " ".join(site.keys("postgres-backup-pitr/")), timeout=90)
    [key] = [key for key in site.keys("postgres-backup-pitr/") if lost in key]
    site.client.delete_object(Bucket=site.bucket, Key=key)
    assert site.info()["status"]["code"] == 0  # it has not noticed
    site.server.inside("rm", "/var/lib/postgres-backup-pitr/look.json")  # as if an hour had passed
    assert f"missing in the archive: {lost}" in site.program("pitr-look").stdout
    watched = site.program("pitr-watch", config="", check=False)
    assert "PITR_GAP" in watched.stdout
    drilled = site.program("pitr-drill", check=False)
    assert (drilled.returncode, f"archived are missing: {lost}" in drilled.stdout) == (4, True)
    assert "the cluster in full" in site.program("pitr-backup").stdout
    assert "PITR_GAP" not in site.program("pitr-watch", config="", check=False).stdout


def test_a_moment_gets_a_name_once(site, archived):
    name = "before-migration-42"
    said = site.controller.run("playbooks/backup.yml", "-e", f"mark={name}").output
    assert re.search(rf"{name} marks .* of PostgreSQL's log; it is in the bucket", said)
    [kept] = json.loads(
        site.server.inside("cat", "/var/lib/postgres-backup-pitr/marks.json").stdout
    ).values()
    assert site.server.sql(f"SELECT pg_current_wal_lsn() > '{kept['lsn']}'") == "t"
    piece = site.server.sql(f"SELECT pg_walfile_name('{kept['lsn']}')")
    read = f"/usr/lib/postgresql/17/bin/pg_waldump {LOG}/{piece} 2>&1 | grep RESTORE_POINT"
    dumped = site.server.inside("sh", "-c", read).stdout
    assert name in dumped
    refused = site.controller.run("playbooks/backup.yml", "-e", f"mark={name}", check=False)
    assert refused.status == 2
    assert f"There is a mark {name} already" in " ".join(refused.output.split())


def test_the_cluster_of_a_moment_stands_beside_the_live_one_until_it_is_removed(site, archived):
    site.server.sql("INSERT INTO users VALUES (1001)", "crm")
    moment = site.now()
    site.server.sql("DROP TABLE users", "crm")
    said = site.recover(f"target_time={moment}", "keep=true").output
    assert f"The cluster as of {moment}" in said
    assert "crm: public.users: 501 rows, live no such table" in said
    assert site.recovered("SELECT count(*), max(id) FROM users") == "501|1001"
    assert site.recovered("SHOW archive_mode") == "off"
    assert site.recovered("SHOW listen_addresses") == ""
    assert site.server.sql("SELECT to_regclass('users') IS NULL", "crm") == "t"
    last = re.search(r"Its last transaction: (\S+),", said)[1]
    following = re.search(r"the next, of (\S+), is not in it", said)[1]
    assert last <= moment < following
    refused = site.recover("target_time=2026-01-27T14:03:00", check=False)
    assert refused.status == 2
    assert "it has no zone" in refused.output
    another = site.recover(f"target_time={moment}", check=False)
    assert "There is a recovered cluster already" in " ".join(another.output.split())
    where = re.search(r"its data: (\S+)", said)[1]
    back = site.recover("database=crm", "tables=users").output
    assert "Going on with the recovered cluster" in back
    assert site.server.sql("SELECT count(*), max(id) FROM users", "crm") == "501|1001"
    assert site.server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'users'", "crm") == (
        "crm"
    )
    [dump] = site.keys("postgres-backup-recovered/postgres-backup-")
    assert not [key for key in site.keys("postgres-backup/") if dump.split("/")[1] in key]
    assert site.recover("remove=true").recap["minute"]["changed"] == 1
    assert site.folders() == ["main", "main-pitr-spool"]
    assert site.server.inside("pgrep", "-f", where, check=False).returncode == 1
    assert site.recover("remove=true").recap["minute"]["changed"] == 0


def test_a_lost_piece_before_the_target_is_an_error_that_names_it(site, archived):
    lost = site.switch("INSERT INTO users VALUES (2001)")
    site.server.sql("INSERT INTO users VALUES (2002)", "crm")
    moment = site.now()
    after = site.switch()
    wait_for("it", lambda: after in " ".join(site.keys("postgres-backup-pitr/")), timeout=90)
    [key] = [key for key in site.keys("postgres-backup-pitr/") if lost in key]
    site.client.delete_object(Bucket=site.bucket, Key=key)
    short = site.recover(f"target_time={moment}", check=False)
    said = " ".join(short.output.split())
    assert short.status == 2, said
    assert f"The log in the archive ends before {moment}" in said
    assert f"and {lost} is missing" in said
    latest = " ".join(site.recover("latest=true", check=False).output.split())
    assert f"In the archive {lost} is missing" in latest
    assert not [one for one in site.folders() if "recovered" in one]
    site.program("pitr-backup", "--full")
    assert "It is removed again" in site.recover("latest=true").output


def test_a_drill_shows_the_first_of_two_rows_and_leaves_nothing(site, archived):
    site.program("pitr-backup", "--full")
    before = site.folders()
    said = site.program("pitr-drill").stdout
    assert "Drill of every second: passed in" in said
    assert "the first of two rows is in it, and not the second" in said
    left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'postgres_backup%'"
    assert site.server.sql(left) == "0"
    assert site.folders() == before
    assert site.program("pitr-watch", config="").stdout == ""
    status = site.program("status", config="", check=False).stdout
    assert re.search(r"every second: last drill \S+Z: passed, .*; recovered to ", status)
    told = site.program("history", config="").stdout
    assert len(re.findall(r"(?m)^.* pitr-drill( |$)", told)) == 1
    site.program("pitr-watch", config="")
    assert site.program("history", config="").stdout == told
    crontab = site.server.inside("cat", "/etc/cron.d/postgres-backup-pitr").stdout
    assert re.search(rf"(?m)^{re.escape(NEVER)} postgres nice .* pitr-drill ", crontab)


@pytest.mark.gameday
def test_a_drill_that_fails_or_is_broken_off_is_an_alarm_and_leaves_nothing(site, archived):
    before = site.folders()
    # its engine cannot read the archive any more
    site.server.inside("cp", "-p", ENGINE_CONFIG, "/root/whole.conf")
    site.server.inside("sed", "-i", "s/^repo1-cipher-pass=.*/repo1-cipher-pass=x/", ENGINE_CONFIG)
    try:
        failed = site.program("pitr-drill", check=False)
    finally:
        site.server.inside("cp", "-p", "/root/whole.conf", ENGINE_CONFIG)
    assert (failed.returncode, "FAILED" in failed.stdout) == (4, True)
    assert "PITR_DRILL" in site.program("pitr-watch", config="", check=False).stdout
    assert "pitr-drill-failed" in site.program("history", config="").stdout
    # one that is killed while it recovers, as by a power cut
    site.server.inside("systemd-run", "--unit=drill", "postgres-backup", "pitr-drill", *OF_PITR)
    is_begun = lambda: [one for one in site.folders() if "_recovered_" in one]  # noqa: E731
    wait_for("its folder", is_begun, timeout=60)
    site.server.inside("systemctl", "kill", "--signal=KILL", "drill")
    site.program("pitr-look")
    assert site.folders() == before
    assert "it was broken off" in site.program("pitr-watch", config="", check=False).stdout
    assert "passed" in site.program("pitr-drill").stdout
    assert "PITR_DRILL" not in site.program("pitr-watch", config="").stdout


@pytest.mark.gameday
def test_a_database_of_a_moment_takes_the_live_ones_place_and_goes_again(site, archived):
    before = site.server.sql("SELECT count(*) FROM users", "crm")
    moment = site.now()
    site.server.sql("DELETE FROM users WHERE id < 400", "crm")
    wrong = site.recover(f"target_time={moment}", "database=nothing", check=False)
    assert "takes one of crm" in " ".join(wrong.output.split())
    site.recover(f"target_time={moment}", "database=crm")
    assert site.server.sql("SELECT count(*) FROM users", "crm") == before
    assert not [one for one in site.folders() if "recovered" in one]
    site.controller.run("playbooks/undo_restore.yml")
    assert site.server.sql("SELECT count(*) FROM users WHERE id < 400", "crm") == "0"
    site.controller.run("playbooks/undo_restore.yml")
    assert site.server.sql("SELECT count(*) FROM users", "crm") == before


@pytest.mark.gameday
def test_a_position_a_mark_and_a_cluster_that_is_down(site, archived):
    site.server.sql("INSERT INTO users VALUES (3001)", "crm")
    position = site.server.sql("SELECT pg_current_wal_lsn()")
    site.server.sql("INSERT INTO users VALUES (3002)", "crm")
    site.controller.run("playbooks/backup.yml", "-e", "mark=before-43")
    site.server.sql("INSERT INTO users VALUES (3003)", "crm")
    three = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM users WHERE id IN (3001, 3002, 3003)"
    for target, rows in (
        (f"target_lsn={position}", "3001"),
        ("target_name=before-43", "3001 3002"),
    ):
        site.recover(target, "keep=true")
        assert site.recovered(three) == rows
        site.recover("remove=true")
    site.switch()
    wait_for("nothing that waits", lambda: not site.waits(), timeout=180)
    site.server.inside("systemctl", "stop", "postgresql@17-main")
    try:
        said = site.recover("latest=true", "keep=true").output
        assert "the live cluster does not run" in said
        assert site.recovered(three) == "3001 3002 3003"
        site.recover("remove=true")
    finally:
        site.server.inside("systemctl", "start", "postgresql@17-main")


@pytest.mark.gameday
def test_the_cluster_of_a_moment_takes_the_live_ones_place_and_goes_again_twice(site, archived):
    for number in (4001, 4003):
        site.server.sql(f"INSERT INTO users VALUES ({number})", "crm")
        moment = site.now()
        site.server.sql(f"INSERT INTO users VALUES ({number + 1})", "crm")
        said = site.recover(f"target_time={moment}", "promote=true").output
        highest = "SELECT max(id) FROM users"
        assert site.server.sql(highest, "crm") == str(number)
        assert site.server.sql("SHOW archive_mode") == "on"
        assert site.server.sql("SHOW port") == "5432"
        assert site.server.inside("systemctl", "is-active", "postgresql@17-main").stdout == (
            "active\n"
        )
        newest = site.info()["backup"][-1]
        assert newest["type"] == "full"
        line = site.server.sql("SELECT timeline_id FROM pg_control_checkpoint()")
        assert int(newest["archive"]["start"][:8], 16) == int(line)
        assert [key for key in site.keys("postgres-backup-pitr/") if f"{int(line):08X}.hist" in key]
        # it is recovered on its own line of time as any other
        site.server.sql("INSERT INTO users VALUES (5000)", "crm")
        assert "It is removed again" in site.recover("latest=true").output
        assert "Drill of every second: passed" in site.program("pitr-drill").stdout
        kept = re.search(r"-e kept=(\S+)", said)[1]
        site.controller.run("playbooks/undo_restore.yml", "-e", f"kept={kept}")
        assert site.server.sql(highest, "crm") == str(number + 1)
        assert site.server.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "1"
        assert site.program("pitr-watch", config="", check=False).stdout == ""


@pytest.mark.gameday
def test_a_cluster_that_does_not_start_in_the_place_goes_and_the_live_one_is_back(site, archived):
    server = site.server
    # as where the server had another address on that day; beside the live one it listens nowhere
    server.sql("ALTER SYSTEM SET listen_addresses = '192.0.2.1'")
    site.program("pitr-backup")
    server.sql("ALTER SYSTEM RESET listen_addresses")
    server.sql("INSERT INTO users VALUES (6001)", "crm")
    rows = server.sql("SELECT count(*), max(id) FROM users", "crm")
    play = site.recover("latest=true", "promote=true", check=False)
    said = " ".join(play.output.split())
    assert play.status == 2, said
    assert "Failed to exchange the data of PostgreSQL: it does not start with them" in said
    [recovered] = [one for one in site.folders() if "_recovered_" in one and "_spool" not in one]
    place = f"/var/lib/postgresql/17/{recovered}"
    assert f"PostgreSQL runs with its data as they were; what was to come is in {place}" in said
    assert server.sql("SELECT count(*), max(id) FROM users", "crm") == rows
    assert server.sql("SHOW archive_mode") == "on"
    assert server.sql("SELECT pg_is_in_recovery()") == "f"
    unit = "postgresql@17-main"
    assert server.inside("systemctl", "is-active", unit).stdout == "active\n"
    # it is the recovered cluster still, and goes as any
    before = site.switch()
    wait_for("it", lambda: before in " ".join(site.keys("postgres-backup-pitr/")), timeout=90)
    site.recover("remove=true")
    assert not [one for one in site.folders() if "_recovered_" in one]
    assert not [one for one in site.folders() if one.startswith("main_before_")]
    site.program("pitr-backup", "--full")
    assert site.program("pitr-watch", config="", check=False).stdout == ""
