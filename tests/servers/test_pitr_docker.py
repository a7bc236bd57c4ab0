"""docs/pitr.md, PostgreSQL in Docker, as it is typed: the commands are those of the page.

The application is that of ``app/``, which writes all the time; each step brings the ones before it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.s3_server import SeaweedFS
from tests import documents
from tests.servers import layers
from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.servers.test_pitr import ALONE, CA_FILE, CONFIG, NEVER, OF_PITR
from tests.services.plain_s3 import client_of
from tests.waiting import wait_for

pytestmark = [pytest.mark.gameday, pytest.mark.timeout(900)]

APP = "/srv/crm"
LIVE, BACK = "crm-db-1", "crm-back"
#: in which the playbook recovers
BESIDE = "crm-db-1-recovered"
PAGE = "docs/pitr.md"
FILES = documents.ROOT / "roles/pitr/files/docker"
CRON = "/etc/cron.d/postgres-backup-pitr"
OVERRIDE, ENGINE = f"{APP}/compose.override.yml", f"{APP}/pitr/engine"
#: as the page shows it
MOMENT = "2026-01-27 14:03:00+00"


@dataclasses.dataclass
class Site:
    """The server with the application, its store, and what is written about it elsewhere."""

    server: Server
    controller: Controller
    store: SeaweedFS
    bucket: str

    def type(self, commands: list[str]) -> str:
        """These of the page, one after the other, as root; what they printed."""
        script = "\n".join([f"cd {APP}", *commands])
        done = self.server.inside(
            "bash", "-euc", script, stdin=subprocess.DEVNULL, timeout=400, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def sql(self, statement: str, container: str = LIVE) -> str:
        psql = ["psql", "-U", "crm", "-d", "crm", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return self.server.inside("docker", "exec", container, *psql).stdout.strip()

    def info(self) -> dict:
        asked = ["pgbackrest", "--stanza=main", "info", "--output=json"]
        said = self.server.inside("docker", "exec", "-u", "postgres", LIVE, *asked).stdout
        [found] = json.loads(said)
        return found

    def read(self, path: str) -> str:
        return self.server.inside("cat", path).stdout

    def fill(self, path: str, values: dict[str, str]) -> None:
        """As somebody does with an editor; each of these stands there once."""
        text = self.read(path)
        for name, value in values.items():
            assert len(re.findall(name, text, re.M)) == 1, (path, name)
            text = re.sub(name, value, text, flags=re.M)
        mode = self.server.inside("stat", "-c", "%a", path).stdout.strip()
        self.server.write(path, text, mode)

    def play(self, *options: str, check: bool = True) -> Play:
        """The roles alone."""
        book = self.controller.directory / "alone.yml"
        book.write_text(ALONE)
        return self.controller.run(str(book), *options, check=check)

    def program(self, *words: str, config: str = CONFIG, check: bool = True):
        """``postgres-backup`` as root types it."""
        return self.server.inside(
            "postgres-backup", *words, *(["--config", config] if config else []), check=check
        )

    def recover(self, *options: str, check: bool = True) -> Play:
        """The playbook, with each of these behind ``-e``."""
        words = [word for option in options for word in ("-e", option)]
        return self.controller.run("playbooks/pitr_restore.yml", *words, check=check)

    def beside(self, statement: str) -> str:
        """What the recovered cluster answers, by the way in that is told."""
        way = ["docker", "exec", BESIDE, "psql", "-h", "127.0.0.1", "-U", "crm", "-d", "crm"]
        return self.server.inside(*way, "-XqAtc", statement).stdout.strip()

    def docker(self) -> list[str]:
        """All containers and volumes."""
        asked = "docker ps --all --format '{{.Names}}'; docker volume ls --quiet"
        return sorted(self.server.inside("sh", "-c", asked).stdout.split())

    def waits(self) -> list[str]:
        """Pieces of the log that are not archived."""
        status = "SELECT name FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        return self.sql(status).split()

    def switch(self) -> str:
        """Write something, and end a piece of the log behind it; its name."""
        self.sql("SELECT txid_current()")
        return self.sql("SELECT pg_walfile_name(pg_switch_wal())")

    @property
    def client(self):
        """A plain S3 client."""
        return client_of(self.store)

    def objects(self) -> list[str]:
        """What lies in the archive."""
        listing = self.client.get_paginator("list_objects_v2")
        pages = listing.paginate(Bucket=self.bucket, Prefix="postgres-backup-pitr/")
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def dump(self) -> str:
        """One more of the nightly kind; its name."""
        taken = self.server.inside("postgres-backup", "backup", "--json")
        return json.loads(taken.stdout)["backup"]

    def volume(self) -> str:
        named = "{{range .Mounts}}{{.Name}}{{end}}"
        return self.server.inside("docker", "inspect", "-f", named, LIVE).stdout.strip()


def commands(heading: str) -> list[list[str]]:
    """Those of the page under a heading, block by block."""
    text = documents.section(PAGE, heading)
    return [block.commands() for block in documents.blocks(PAGE, text) if block.language == "sh"]


def new_site(server: Server, controller: Controller, store: SeaweedFS) -> Site:
    """The application runs, nothing is archived, and there is a bucket."""
    server.put(layers.APP / "compose.yml", f"{APP}/compose.yml")
    server.write(f"{APP}/.env", f"DB_PASSWORD={secrets.token_urlsafe(18)}\n", "0600")
    made = Site(server, controller, store, f"backups-{secrets.token_hex(4)}")
    made.client.create_bucket(Bucket=made.bucket)
    made.type(["docker compose up --detach --wait"])
    return made


def describe(site: Site, **variables: object) -> None:
    """What the inventory says of it.

    :param variables: of group_vars, beside those of the store and the application.
    """
    site.server.write(CA_FILE, Path(site.store.ca_bundle).read_text())
    password = re.search("DB_PASSWORD=(.+)", site.read(f"{APP}/.env"))[1]
    site.controller.add(site.server, backup_db_name="crm", backup_db_user="crm")
    site.controller.variables(
        backup_db_container=LIVE,
        backup_db_password=password,
        backup_app_dir=APP,
        backup_s3_endpoint_url=site.store.endpoint_url,
        backup_s3_bucket=site.bucket,
        backup_s3_access_key=site.store.access_key,
        backup_s3_secret_key=site.store.secret_key,
        backup_s3_ca_bundle=CA_FILE,
        backup_drill_schedule=NEVER,
        **variables,
    )


def set_up_there(site: Site) -> str:
    """All of the page that is typed on the server; what was printed before PostgreSQL knew of it.

    :return: the store's answer.
    """
    [[copied], asked, made_ready, begun, [set_up]] = commands("Set it up there")
    assert copied == f"scp -r {FILES.relative_to(documents.ROOT)} root@db1:{APP}/pitr"
    site.server.put(FILES, f"{APP}/pitr")
    data, identifier, key = site.type(asked).split()
    site.server.write(f"{ENGINE}/ca.pem", Path(site.store.ca_bundle).read_text())
    site.fill(OVERRIDE, {r"postgres:17$(?=\n    image)": layers.IMAGES["postgres"]})
    config = f"{ENGINE}/pgbackrest.conf"
    values = {
        "SERVER/": "db1/",
        "SYSTEM_IDENTIFIER": identifier,
        "S3_HOST": urlsplit(site.store.endpoint_url).netloc,
        "=BUCKET": f"={site.bucket}",
        "=REGION": "=us-east-1",
        "=ACCESS_KEY": f"={site.store.access_key}",
        "=SECRET_KEY": f"={site.store.secret_key}",
        "CIPHER_KEY": key,
        "=SUPERUSER": "=crm",
        "^# repo1-storage-ca-file": "repo1-storage-ca-file",
    }
    site.fill(config, values)
    assert f"pg1-path={data}\n" in site.read(config)
    assert not re.search(r"=\S*[A-Z]{3}_?[A-Z]+$", site.read(config), re.M)
    answer = site.type(made_ready)
    assert site.sql("SHOW archive_mode") == "off"
    site.type(begun)
    assert set_up == "ansible-playbook setup.yml"
    return answer


@pytest.fixture(scope="module")
def site(lab, lab_s3_tls, new_module_server, tmp_path_factory) -> Site:
    controller = Controller(lab, tmp_path_factory.mktemp("boxed") / "controller")
    server = new_module_server("trixie", layer="app", name="boxed")
    return new_site(server, controller, lab_s3_tls)


@pytest.fixture(scope="module")
def dumped(site) -> str:
    """Backed up each night, as before; the first of these backups."""
    describe(site)
    site.controller.run("setup.yml")
    return site.dump()


@pytest.fixture(scope="module")
def refused(site, dumped) -> dict[str, Play]:
    """What a setup says before the page was heeded, and of a container that is not there."""
    asked = ("-e", "backup_pitr=true")
    said = {"image": site.play(*asked, check=False)}
    said["name"] = site.play(*asked, "-e", "backup_db_container=crm-db-2", check=False)
    site.type(["docker compose stop"])
    said["stopped"] = site.play(*asked, check=False)
    site.type(["docker compose up --detach --wait"])
    return said


@pytest.fixture(scope="module")
def looked(site, dumped, refused) -> tuple[str, Play]:
    """Set up; the store's answer before PostgreSQL knew of it, and what ``setup.yml`` told then."""
    answer = set_up_there(site)
    variables = {"backup_db_name": "crm", "backup_db_user": "crm", "backup_pitr": True}
    site.controller.add(site.server, **variables)
    return answer, site.controller.run("setup.yml")


def test_what_is_in_the_way_is_said_and_nothing_of_the_application_is_touched(site, refused):
    told = {name: " ".join(play.output.split()) for name, play in refused.items()}
    assert {play.status for play in refused.values()} == {2}
    assert f"The container {LIVE} has no pgBackRest that answers" in told["image"]
    assert "docs/pitr.md, PostgreSQL in Docker" in told["image"]
    assert "docker ps shows the names: set backup_db_container" in told["name"]
    assert f"Start it: docker start {LIVE}" in told["stopped"]
    assert site.server.inside("test", "-e", CRON, check=False).returncode == 1


def test_a_container_archives_and_is_backed_up_as_its_schedule_says(site, looked):
    assert "ERROR" not in looked[0]
    assert "is in the bucket: the cluster in full" in " ".join(looked[1].output.split())
    assert [one["type"] for one in site.info()["backup"]] == ["full"]
    assert site.info()["cipher"] == "aes-256-cbc"
    assert site.sql("SHOW archive_mode; SHOW archive_timeout").split() == ["on", "1min"]
    user = site.server.inside("docker", "exec", LIVE, "id", "-u", "postgres").stdout.strip()
    mode = site.server.inside("stat", "-c", "%a %u", f"{ENGINE}/pgbackrest.conf").stdout
    assert mode == f"600 {user}\n"
    line = r"^(?:\S+ ){5}(\S+) (nice .+ pitr-backup .+)$"
    [(user, command)] = re.findall(line, site.read(CRON), re.M)
    assert user == "postgres-backup"
    site.server.inside("runuser", "-u", user, "--", "sh", "-c", command)
    assert [one["type"] for one in site.info()["backup"]] == ["full", "incr"]


def test_a_second_setup_changes_nothing_and_a_check_says_what_would(site, looked):
    again = site.play()
    assert again.recap["boxed"]["changed"] == 0, again.output
    check = site.play("--check", "--diff", "-e", "backup_schedule_time=04:00")
    assert re.search(r"(?m)^\+\d+ 7 .* pitr-backup ", check.output)
    assert site.store.secret_key not in looked[1].output + again.output + check.output


def test_archiving_that_stops_is_an_alarm_and_its_end_is_told(site, looked):
    config = f"{ENGINE}/pgbackrest.conf"
    site.server.inside("cp", "-p", config, "/root/whole.conf")
    wrong = "s/^repo1-s3-key-secret=.*/repo1-s3-key-secret=x/"
    site.server.inside("sed", "-i", "-e", wrong, config)
    site.server.inside("chown", "--reference=/root/whole.conf", config)
    piece = site.switch()
    wait_for("a piece that waits", lambda: f"{piece}.ready" in site.waits())
    status = f"/var/lib/postgresql/data/pg_wal/archive_status/{piece}.ready"
    site.server.inside("docker", "exec", LIVE, "touch", "-d", "-400 seconds", status)
    site.program("pitr-look")
    watched = site.program("pitr-watch", config="", check=False)
    assert (watched.returncode, watched.stdout.split(":")[0]) == (4, "PITR_STOPPED")
    shown = site.program("status", config="", check=False).stdout
    assert re.search(r"PITR_STOPPED: what PostgreSQL writes is not archived for \d+ min", shown)
    failed = site.program("pitr-backup", check=False)
    assert f"docker logs {LIVE}" in failed.stderr
    assert site.store.secret_key not in failed.stdout + failed.stderr
    site.server.inside("cp", "-p", "/root/whole.conf", config)
    wait_for("nothing that waits", lambda: not site.waits(), timeout=180)
    site.program("pitr-look")
    assert site.program("pitr-watch", config="").stdout == ""
    shown = site.program("status", config="", check=False).stdout
    assert "PITR" not in shown
    assert re.search(r"every second: 0 pieces wait, for .* \(at most \d+ min", shown)
    assert "ARCHIVING_FAILS" not in shown
    kept = r"every second: kept from \S+Z on, by \d backups of the cluster; with the log \d"
    assert re.search(kept, site.program("list", config="").stdout)
    numbers = site.read("/var/lib/postgres-backup/postgres-backup-pitr.prom")
    assert float(re.search(r"(?m)^\S+_pitr_free_bytes{.*} (\S+)$", numbers)[1]) > 1_000_000
    assert float(re.search(r"(?m)^\S+_stored_bytes{.*} (\S+)$", numbers)[1]) > 100_000


def test_a_piece_that_is_missing_is_found_by_counting_and_mended_by_a_full_backup(site, looked):
    lost, after = site.switch(), site.switch()
    wait_for("it", lambda: after in " ".join(site.objects()), timeout=90)
    [key] = [key for key in site.objects() if lost in key]
    site.client.delete_object(Bucket=site.bucket, Key=key)
    site.server.inside("rm", "/var/lib/postgres-backup-pitr/look.json")  # as if an hour had passed
    assert f"missing in the archive: {lost}" in site.program("pitr-look").stdout
    assert "PITR_GAP" in site.program("pitr-watch", config="", check=False).stdout
    assert "the cluster in full" in site.program("pitr-backup").stdout
    assert "PITR_GAP" not in site.program("pitr-watch", config="", check=False).stdout


def test_a_container_that_does_not_run_is_heard_of(site, looked):
    site.type(["docker compose stop"])
    said = site.program("pitr-look").stdout
    site.type(["docker compose up --detach --wait"])
    assert f"nothing is archived: Failed to reach PostgreSQL in the container {LIVE}" in said
    assert "nothing is archived" not in site.program("pitr-look").stdout


def test_the_nightly_dumps_go_on_and_lie_apart(site, dumped, looked):
    assert site.dump() > dumped
    listed = site.server.inside("postgres-backup", "list", "--json").stdout
    assert len(json.loads(listed)["backups"]) >= 2
    assert site.server.inside("postgres-backup", "watch").stdout == ""


def test_a_store_that_does_not_know_the_key_is_found_before_postgresql_is_told(site, looked):
    asked = commands("Set it up there")[2][-1]
    wrong = asked.replace("repo-ls", "--repo1-s3-bucket=nobody-s repo-ls")
    refused = site.server.inside("bash", "-c", wrong, check=False)
    assert refused.returncode == 39, refused.stderr


def zulu(moment: str) -> str:
    """As the playbook takes a time."""
    return moment.replace(" ", "T").replace("+00", "Z")


def test_the_cluster_of_a_moment_stands_beside_the_live_one_until_it_is_removed(site, looked):
    before = site.docker()
    site.sql("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)")
    moment = zulu(now(site))
    site.sql("INSERT INTO orders VALUES (2)")
    said = site.recover(f"target_time={moment}", "keep=true").output
    assert "crm: public.orders: 1 rows, live 2 rows" in said
    assert f"docker exec -it {BESIDE} psql -h 127.0.0.1 -U crm" in said
    assert site.beside("SELECT id FROM orders") == "1"
    assert site.beside("SHOW archive_mode") == "off"
    assert int(site.beside("SELECT count(*) FROM visits")) > 0
    assert (site.volume(), site.sql("SELECT count(*) FROM orders")) == ("crm_data", "2")
    # nobody but we and whoever asks Docker comes in
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    where = site.server.inside("docker", "inspect", "-f", address, BESIDE).stdout.strip()
    knock = ["timeout", "5", "bash", "-c", f"echo > /dev/tcp/{where}/5432"]
    assert "refused" in site.server.inside(*knock, check=False).stderr
    door = "/var/lib/postgres-backup-pitr/recovered-sockets/in/.s.PGSQL.5432"
    assert site.server.inside("test", "-S", door).returncode == 0
    nobody = ("runuser", "-u", "nobody", "--", "test", "-S", door)
    assert site.server.inside(*nobody, check=False).returncode == 1
    # it is none of the application's, which goes on beside it, and nobody takes one for the other
    site.type(["docker compose up --detach --wait --remove-orphans"])
    assert BESIDE not in site.type(["docker compose ps --all"])
    assert site.beside("SELECT id FROM orders") == "1"
    site.program("pitr-look")
    status = site.program("status", config="", check=False).stdout
    assert re.search(
        rf"every second: the cluster as of .+ is kept, since .+, in {LIVE}_rec", status
    )
    assert site.recover("remove=true").recap["boxed"]["changed"] == 1
    assert site.docker() == before
    assert site.recover("remove=true").recap["boxed"]["changed"] == 0


def test_what_a_break_has_left_is_in_the_way_of_the_next_until_it_is_removed(site, looked):
    before, moment = site.docker(), zulu(now(site))
    made = f"{LIVE}_recovered_2026-01-27_15-20-11"
    label = f"postgres-backup.recovered={made}"
    begin = f"docker run --detach --name {BESIDE} --label {label} -v {made}:/data --entrypoint"
    image = layers.IMAGES["postgres"]
    site.type([f"docker volume create --label {label} {made}", f"{begin} sleep {image} 1000"])
    refused = site.recover(f"target_time={moment}", check=False)
    assert refused.status == 2
    assert f"of which nothing is remembered: {made}" in " ".join(refused.output.split())
    drilled = site.program("pitr-drill", check=False)
    assert (drilled.returncode, made in drilled.stderr) == (2, True)
    # though the live one does not run
    site.type(["docker compose stop"])
    removed = site.recover("remove=true")
    site.type(["docker compose up --detach --wait"])
    assert f"{made} is removed" in removed.output
    assert site.docker() == before


def test_one_table_of_a_moment_comes_back_into_the_live_database(site, looked):
    before = site.docker()
    site.sql("CREATE TABLE bills AS SELECT n AS id FROM generate_series(1, 500) n")
    moment = zulu(now(site))
    site.sql("DROP TABLE bills")
    site.recover(f"target_time={moment}", "database=crm", "tables=bills")
    assert site.sql("SELECT count(*), max(id) FROM bills") == "500|500"
    assert site.docker() == before
    # and out of one that was kept, and has seen a reboot since
    site.recover(f"target_time={moment}", "keep=true")
    site.sql("DROP TABLE bills")
    site.server.inside("docker", "stop", BESIDE)
    said = site.recover("database=crm", "tables=bills").output
    assert "Going on with the recovered cluster" in said
    assert site.sql("SELECT count(*), max(id) FROM bills") == "500|500"
    site.recover("remove=true")
    assert site.docker() == before


def test_a_drill_shows_the_first_of_two_rows_and_leaves_nothing(site, looked):
    before = site.docker()
    said = site.program("pitr-drill").stdout
    assert "Drill of every second: passed in" in said
    assert "the first of two rows is in it, and not the second" in said
    assert site.docker() == before
    left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'postgres_backup%'"
    assert site.sql(left) == "0"
    assert site.program("pitr-watch", config="").stdout == ""
    status = site.program("status", config="", check=False).stdout
    assert re.search(r"every second: last drill \S+Z: passed, .*; recovered to ", status)
    assert re.search(
        rf"(?m)^{re.escape(NEVER)} postgres-backup nice .* pitr-drill ", site.read(CRON)
    )
    # one that is killed while it recovers, as by a power cut
    site.server.inside("systemd-run", "--unit=drill", "postgres-backup", "pitr-drill", *OF_PITR)
    wait_for("its volume", lambda: len(site.docker()) > len(before), timeout=60)
    site.server.inside("systemctl", "kill", "--signal=KILL", "drill")
    site.program("pitr-look")
    assert site.docker() == before
    assert "it was broken off" in site.program("pitr-watch", config="", check=False).stdout
    assert "passed" in site.program("pitr-drill").stdout
    assert "PITR_DRILL" not in site.program("pitr-watch", config="").stdout


def volumes() -> list[str]:
    """What the page adds to the override: one block."""
    text = documents.section(PAGE, "All of it in its place")
    return [block.text for block in documents.blocks(PAGE, text) if block.language == "text"]


def recover(site: Site, moment: str, *more: str, lost: bool = False) -> str:
    """As the page says, with ``more`` options; what the recovered one's log says.

    :param lost: there is no live one, which the first command asks.
    """
    [block] = commands("All of it, by hand")
    block = block[1:] if lost else block
    assert sum(MOMENT in command for command in block) == 1
    typed = [command.replace(MOMENT, moment) for command in block]
    return site.type([re.sub(r"restore$", " ".join([*more, "restore"]), each) for each in typed])


def now(site: Site) -> str:
    """PostgreSQL's clock, as a target: a second behind the last backup, for that is how the engine
    counts.
    """
    ended = site.info()["backup"][-1]["timestamp"]["stop"]
    clock = "SELECT floor(extract(epoch FROM clock_timestamp()))"
    wait_for("a later second", lambda: int(site.sql(clock)) > ended)
    form = "YYYY-MM-DD HH24:MI:SS.US+00"
    return site.sql(f"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', '{form}')")


@pytest.fixture(scope="module")
def recovered(site, looked) -> str:
    """Two rows, and the cluster of the moment between them; what its log says."""
    site.sql("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)")
    moment = now(site)
    site.sql("INSERT INTO users VALUES (2)")
    return recover(site, moment)


def test_between_two_rows_there_is_the_first_in_a_new_volume(site, recovered):
    assert "last completed transaction was at log time" in recovered
    assert site.sql("SELECT id FROM users", BACK) == "1"
    assert site.sql("SELECT id FROM users ORDER BY id").split() == ["1", "2"]
    assert site.sql("SHOW archive_mode", BACK) == "off"
    assert int(site.sql("SELECT count(*) FROM visits", BACK)) > 0
    assert site.volume() == "crm_data"


def test_the_new_volume_takes_the_place_of_the_live_one_and_goes_again(site, recovered):
    stop, begin, [asked] = commands("All of it in its place")
    kept = site.read(OVERRIDE)
    [swap] = volumes()
    site.type(stop)
    site.server.write(OVERRIDE, kept + swap)
    assert "crm_back" in site.type(begin)
    assert site.sql("SELECT id FROM users") == "1"
    assert (site.volume(), site.type([asked]).strip()) == ("crm_back", "2")
    assert site.sql("SHOW archive_mode") == "on"
    visits = int(site.sql("SELECT count(*) FROM visits"))
    wait_for("the application", lambda: int(site.sql("SELECT count(*) FROM visits")) > visits)

    site.server.write(OVERRIDE, kept)
    assert "crm_data" in site.type(begin)
    assert site.volume() == "crm_data"
    assert site.type([asked]).strip() == "1"
    # and from here to a moment of the old timeline, though there is a newer one
    site.type([f"docker volume rm {BACK.replace('-', '_')}"])
    site.sql("INSERT INTO users VALUES (3)")
    moment = now(site)
    site.sql("INSERT INTO users VALUES (4)")
    recover(site, moment, "--target-timeline=1", f"--set={site.info()['backup'][-1]['label']}")
    assert site.sql("SELECT id FROM users ORDER BY id", BACK).split() == ["1", "2", "3"]


def test_with_container_and_volume_lost_the_application_goes_on_from_the_new_one(site, recovered):
    [block] = commands("All of it, by hand")
    [stop, begin, [asked]] = commands("All of it in its place")
    left = site.server.inside("docker", "ps", "-aq", "--filter", f"name=^{BACK}$").stdout.split()
    site.type([f"docker rm --force {one}" for one in left])
    site.type(["docker volume rm crm_back"])
    site.sql("INSERT INTO users VALUES (5)")
    moment = now(site)
    site.sql("INSERT INTO users VALUES (6)")
    line = f"--target-timeline={site.type([asked]).strip()}"
    last = f"--set={site.info()['backup'][-1]['label']}"
    rows = site.sql("SELECT id FROM users WHERE id <> 6 ORDER BY id").split()
    site.type([block[0], "docker compose down --volumes"])
    assert "crm_" not in site.type(["docker volume ls --quiet"])
    recover(site, moment, line, last, lost=True)
    site.type(stop)
    [swap] = volumes()
    site.server.write(OVERRIDE, site.read(OVERRIDE) + swap)
    site.type(begin)
    assert site.volume() == "crm_back"
    assert site.sql("SELECT id FROM users ORDER BY id").split() == rows
    assert "5" in rows
    visits = int(site.sql("SELECT count(*) FROM visits"))
    wait_for("the application", lambda: int(site.sql("SELECT count(*) FROM visits")) > visits)


def test_the_cluster_of_a_moment_takes_the_live_one_s_place_and_goes_back_twice(site, looked):
    before, volume = site.docker(), site.volume()
    site.sql("CREATE TABLE offers (id int PRIMARY KEY); INSERT INTO offers VALUES (1)")
    files = {path: site.read(path) for path in (f"{APP}/compose.yml", OVERRIDE)}
    for last in (2, 3):
        moment = zulu(now(site))
        rows = site.sql("SELECT id FROM offers ORDER BY id").split()
        site.sql(f"INSERT INTO offers VALUES ({last})")
        promoted = site.recover(f"target_time={moment}", "promote=true").output
        assert site.sql("SELECT id FROM offers ORDER BY id").split() == rows
        goes_on(site, volume)
        [kept] = re.findall(r"undo_restore\.yml -e kept=(\S+)", promoted)
        held = Path(kept).parent.name
        assert site.docker() == sorted([*before, held])
        # whoever types it on the server has the same
        site.type(["docker compose up --detach --wait --force-recreate"])
        assert site.sql("SELECT id FROM offers ORDER BY id").split() == rows
        back = site.controller.run("playbooks/undo_restore.yml", "-e", f"kept={kept}").output
        assert site.sql("SELECT id FROM offers ORDER BY id").split() == [*rows, str(last)]
        goes_on(site, volume)
        [kept] = re.findall(r"undo_restore\.yml -e kept=(\S+)", back)
        held = Path(kept).parent.name
        assert site.docker() == sorted([*before, held])
        site.type([f"docker volume rm {held}"])
    assert {path: site.read(path) for path in files} == files
    assert "passed" in site.program("pitr-drill").stdout


def goes_on(site: Site, volume: str) -> None:
    """The application writes, and all of that is archived and backed up."""
    assert (site.volume(), site.sql("SHOW archive_mode")) == (volume, "on")
    visits = int(site.sql("SELECT count(*) FROM visits"))
    wait_for("the application", lambda: int(site.sql("SELECT count(*) FROM visits")) > visits)
    site.program("pitr-look")
    assert "PITR" not in site.program("pitr-watch", config="", check=False).stdout
