"""The disasters, rehearsed with a real docker compose application that writes all the time over a
pool.

The tests are one story in their order, and each brings what it needs of the steps before it. Server
A runs the application and is backed up, kit included. Data is lost and brought back (and the way
back from that); then A is lost for good, and a bare server B becomes what A was, from the checkout,
the inventory, the bucket and the private key. What each step took is printed at the end, for
docs/DISASTERS.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from demo.s3_server import SeaweedFS
from tests.servers import layers
from tests.servers.application import health
from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.services.plain_s3 import client_of
from tests.waiting import wait_for

# packages are installed on servers that share a machine, which may have two cores
pytestmark = pytest.mark.timeout(1800)

NAME = "shop1"
APP = "/srv/crm"
COMPOSE = ("docker", "compose", "--project-directory", APP)
PROGRAM = "/usr/local/bin/postgres-backup"
PREFIX = "postgres-backup/"


@dataclasses.dataclass
class Story:
    """What the tests share."""

    controller: Controller
    store: SeaweedFS
    bucket: str
    server: Server
    password: str
    key: str
    key_file: Path
    plays: dict[str, Play] = dataclasses.field(default_factory=dict)
    facts: dict = dataclasses.field(default_factory=dict)

    def run(self, title: str, playbook: str, *options: str, check: bool = True) -> Play:
        play = self.controller.run(playbook, *options, check=check, timeout=1700)
        self.plays[title] = play
        return play

    def add(self, server: Server, **more: object) -> None:
        """Put a server into the inventory as :data:`NAME` (the machine changes, the name stays)."""
        self.controller.add(
            server,
            backup_db_name="crm",
            backup_db_user="crm",
            backup_db_password=self.password,
            backup_s3_endpoint_url=self.store.endpoint_url,
            backup_s3_bucket=self.bucket,
            backup_s3_access_key=self.store.access_key,
            backup_s3_secret_key=self.store.secret_key,
            backup_age_recipients=[str(pyrage.x25519.Identity.from_str(self.key).to_public())],
            backup_age_identity_file=str(self.key_file),
            backup_paths=[f"{APP}/compose.yml", f"{APP}/.env"],
            backup_app_dir=APP,
            backup_app_health_url="http://127.0.0.1:8000/healthz",
            backup_app_health_seconds=20,
            **({"backup_server_name": NAME} | more),
        )

    def client(self):
        """A plain S3 client, to look at the bucket."""
        return client_of(self.store)

    def backups(self) -> list[str]:
        """Names of the whole-database backups, oldest first."""
        found = self.client().list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, Delimiter="/")
        return sorted(item["Key"].removeprefix(PREFIX) for item in found.get("Contents", []))

    def manifest(self, backup: str) -> dict:
        key = f"{PREFIX}manifests/{backup.split('.')[0]}.json"
        return json.loads(self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read())


@dataclasses.dataclass
class Rebuilt:
    """Server B, what is known of the backup that it was made from, and what was said meanwhile.

    :param before: the backups that there were.
    :param brought: the programs on B when it came, and after the rebuild under a wrong name.
    """

    server: Server
    last: str
    manifest: dict
    before: list[str]
    brought: list[str]
    misnamed: Play
    play: Play


@pytest.fixture(scope="module")
def untouched(lab, lab_s3, new_module_server, tmp_path_factory) -> Iterator[Story]:
    """Server A and its application, with nothing of ours on it yet."""
    folder = tmp_path_factory.mktemp("recovery")
    key, key_file = str(pyrage.x25519.Identity.generate()), folder / "key.txt"
    key_file.write_text(f"# created by age-keygen\n{key}\n")
    key_file.chmod(0o600)
    server = new_module_server("trixie", layer="app", name="shop-a")
    made = Story(
        Controller(lab, folder / "controller"),
        lab_s3,
        f"backups-{secrets.token_hex(4)}",
        server,
        secrets.token_urlsafe(18),
        key,
        key_file,
    )
    server.put(layers.APP / "compose.yml", f"{APP}/compose.yml")
    server.write(f"{APP}/.env", f"DB_PASSWORD={made.password}\n", "0600")
    server.inside(*COMPOSE, "up", "--detach", "--quiet-pull", timeout=300)
    wait_for("the application", lambda: health(server)[0] == 200, timeout=120)
    made.add(server)
    made.controller.variables()
    yield made
    for title, play in made.plays.items():
        print(f"{title}: {play.seconds:.0f} s")
    print(json.dumps(made.facts, indent=1))


@pytest.fixture(scope="module")
def story(untouched) -> Story:
    """Server A, set up; its first backups are in ``facts``."""
    untouched.run("setup", "setup.yml")
    untouched.facts["first"] = untouched.backups()
    return untouched


@pytest.fixture(scope="module")
def good(story) -> str:
    """A backup of A while all was well."""
    wait_for("some visits", lambda: health(story.server)[1]["visits"] > 100, timeout=60)
    taken = json.loads(story.server.inside(PROGRAM, "backup", "--json").stdout)
    story.facts["backup"] = taken["backup"]
    return taken["backup"]


@pytest.fixture(scope="module")
def rebuilt(story, lab, lab_registry, new_module_server, tmp_path_factory) -> Rebuilt:
    """A is gone for good, and so is the inventory; but for the public keys.

    B has nothing but what a hosting company delivers, and is rebuilt: first under a wrong name.
    """
    old = story.server
    last = json.loads(old.inside(PROGRAM, "run", "--json").stdout)["databases"]["crm"]["backup"][
        "backup"
    ]
    manifest, before = story.manifest(last), story.backups()
    old.power_off()
    old.down()
    bare = new_module_server("trixie", docker=True, layer="bare", name="shop-b")
    layers.use_registry(bare, lab_registry)
    look = ("sh", "-c", "command -v docker psql aws")
    brought = [bare.inside(*look, check=False).stdout]
    keys = story.controller.inventory / "keys"
    story.controller = Controller(lab, tmp_path_factory.mktemp("recovery") / "controller")
    story.controller.variables()
    shutil.copytree(keys, story.controller.inventory / "keys")  # git has them
    story.add(bare, backup_server_name="shop-b", backup_db_container="crm-db-1")
    misnamed = story.run("rebuild under a wrong name", "rebuild.yml", check=False)
    brought.append(bare.inside(*look, check=False).stdout)
    # and from now on by the programs of the container
    story.add(bare, backup_db_container="crm-db-1")
    story.facts["rebuilt from"] = last
    play = story.run("rebuild", "rebuild.yml")
    story.server = bare
    return Rebuilt(bare, last, manifest, before, brought, misnamed, play)


def sql(server: Server, statement: str, database: str = "crm") -> str:
    """What the database in the container says."""
    psql = (
        "psql",
        "-X",
        "-At",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "crm",
        "-d",
        database,
        "-c",
        statement,
    )
    return server.inside(*COMPOSE, "exec", "-T", "db", *psql).stdout.strip()


def databases(server: Server) -> set[str]:
    return set(
        sql(server, "SELECT datname FROM pg_database WHERE datname LIKE 'crm%'").splitlines()
    )


def downtimes(server: Server) -> list[dict]:
    """The application's own log of the times in which no write succeeded."""
    return [
        json.loads(line)
        for line in server.inside(
            "sh", "-c", f"cat {APP}/state/downtime.jsonl 2>/dev/null || :"
        ).stdout.splitlines()
    ]


def new_downtimes(server: Server, before: int) -> list[dict]:
    return wait_for(
        "the application's word on its downtime", lambda: downtimes(server)[before:], timeout=60
    )


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_setup_backs_up_the_application_and_its_files(story):
    [backup] = story.facts["first"]
    assert backup.endswith(".sql.gz.age")
    rows = story.manifest(backup)["tables"]
    assert rows["public.customers"]["rows"] == 500
    # .env is root's alone; the backup user may read it and the kit is as the night makes it
    done = json.loads(story.server.inside(PROGRAM, "kit", "--json").stdout)
    assert (done["files"], done["findings"]) == (2, [])
    assert (
        story.server.inside(
            "runuser", "-u", "nobody", "--", "cat", f"{APP}/.env", check=False
        ).returncode
        != 0
    )
    mode, mask = (
        story.server.inside("stat", "-c", "%a", f"{APP}/.env").stdout.strip(),
        story.server.inside("getfacl", "-cp", f"{APP}/.env").stdout,
    )
    assert (mode, "user:postgres-backup:r--" in mask, "other::---" in mask) == ("640", True, True)


def test_lost_data_comes_back_while_the_application_runs_almost_all_the_time(story, good):
    server, backup = story.server, good
    saved = story.manifest(backup)["tables"]["public.visits"]["rows"]
    sql(server, "UPDATE customers SET name = 'nobody ' || id")
    before, gaps = databases(server), len(downtimes(server))

    plan = story.run("restore, check", "restore.yml", "-e", f"backup={backup}", "--check")
    assert "Stopped for the swap: the services web of /srv/crm" in flat(plan.output)
    assert databases(server) == before
    assert len(downtimes(server)) == gaps

    play = story.run("restore", "restore.yml", "-e", f"backup={backup}")
    assert sql(server, "SELECT count(*) FROM customers WHERE name LIKE 'customer %'") == "500"
    [kept] = databases(server) - before
    assert sql(server, "SELECT count(*) FROM customers WHERE name LIKE 'nobody %'", kept) == "500"
    assert (
        int(sql(server, "SELECT count(*) FROM visits", kept)) > saved
    )  # what was written after the backup is not lost
    said = flat(play.output)
    assert f"is kept as {kept}" in said
    assert re.search(r"public\.visits \d+ -> \d+", said)
    assert f'-d "{kept}"' in said
    assert "playbooks/undo_restore.yml --limit shop-a" in said
    [gap] = new_downtimes(server, gaps)
    story.facts["downtime of the application, its own log"] = gap["seconds"]
    story.facts["downtime of the application, the playbook's word"] = float(
        re.search(r"the application for ([\d.]+) s", said)[1]
    )
    own = re.search(r"\(([\d.]+) s of that its own stop, ([\d.]+) s its own start\)", said)
    story.facts |= {"of that its own stop": float(own[1]), "of that its own start": float(own[2])}
    story.facts["downtime of the database"] = float(
        re.search(r"out of reach for ([\d.]+) s", said)[1]
    )
    assert gap["restarted"]
    assert gap["seconds"] < play.seconds / 2
    assert health(server)[0] == 200


def test_an_unhealthy_application_keeps_both_databases_and_the_way_back_is_printed(story):
    """A backup of an older schema under newer code: it starts, and is not healthy."""
    server = story.server
    sql(server, "UPDATE schema_version SET version = 1")
    old = json.loads(server.inside(PROGRAM, "backup", "--json").stdout)["backup"]
    sql(server, "UPDATE schema_version SET version = 2")
    before = databases(server)
    failed = story.run(
        "restore of an old schema", "restore.yml", "-e", f"backup={old}", check=False
    )
    assert failed.status == 2
    said = flat(failed.output)
    [kept] = databases(server) - before
    assert "is not healthy" in said
    assert kept in said
    again = "ansible-playbook playbooks/undo_restore.yml --limit shop-a"
    assert f"4. To go back to the database as it was: {again}" in said
    assert health(server)[0] == 503

    back = story.run("undo", "playbooks/undo_restore.yml", "--limit", "shop-a")
    assert back.recap["shop-a"]["failed"] == 0
    assert sql(server, "SELECT version FROM schema_version") == "2"
    wait_for("the application", lambda: health(server)[0] == 200, timeout=30)


def test_a_restore_that_fails_before_the_swap_leaves_the_application_alone(story):
    server, gaps, before = story.server, len(downtimes(story.server)), databases(story.server)
    failed = story.run(
        "restore of nothing",
        "restore.yml",
        "-e",
        "backup=postgres-backup-2020-01-01_00-00-00.sql.gz",
        check=False,
    )
    assert failed.status == 2
    said = flat(failed.output)
    assert "1. The live database is untouched" in said
    assert "2. The application was not touched" in said
    assert story.backups()[0] in said  # the nearest
    # a stop that fails: nothing is swapped, the side database goes, and what was stopped is started
    # again
    broken = [
        "-e",
        "backup=latest",
        "-e",
        "backup_app_stop=/bin/false",
        "-e",
        "backup_app_start=/bin/true",
    ]
    failed = story.run("restore with a broken stop", "restore.yml", *broken, check=False)
    assert "1. The live database is untouched; the side database was removed." in flat(
        failed.output
    )
    assert "2. The application was stopped and runs again." in flat(failed.output)
    assert databases(server) == before
    assert len(downtimes(server)) == gaps
    assert health(server)[0] == 200


def test_one_table_comes_back_while_everything_else_goes_on(story, good):
    server, backup = story.server, good
    sql(
        server,
        "UPDATE customers SET name = 'wrong ' || id WHERE id <= 100;"
        "INSERT INTO customers (name) VALUES ('later')",
    )
    visits, gaps = int(sql(server, "SELECT count(*) FROM visits")), len(downtimes(server))
    options = ("-e", f"backup={backup}", "-e", "tables=customers")
    checked = story.run("one table, check", "restore.yml", *options, "--check")
    assert "public.customers would be as in" in flat(checked.output)
    assert "0 inserted, 100 set back, 1 later ones deleted" in flat(checked.output)
    assert sql(server, "SELECT count(*) FROM customers WHERE name LIKE 'wrong %'") == "100"
    story.run("one table", "restore.yml", *options)
    assert (
        sql(
            server, "SELECT count(*), count(*) FILTER (WHERE name LIKE 'customer %') FROM customers"
        )
        == "500|500"
    )
    assert int(sql(server, "SELECT count(*) FROM visits")) >= visits
    assert len(downtimes(server)) == gaps


def test_the_private_key_was_only_lent(story, good):
    """Restores have read encrypted backups on this server, and the key is nowhere on it."""
    if not any(title.startswith(("restore", "one table")) for title in story.plays):
        story.run("restore", "restore.yml", "-e", f"backup={good}")
    found = story.server.inside(
        "grep",
        "-rlsF",
        story.key,
        "/etc",
        "/opt",
        "/root",
        "/srv",
        "/tmp",
        "/var",
        "/home",
        check=False,
    )
    assert found.stdout == ""
    for play in story.plays.values():
        assert story.key not in play.output
        assert story.password not in play.output


def test_a_lost_server_is_rebuilt_on_a_bare_one(story, rebuilt):
    bare, last, manifest, play = rebuilt.server, rebuilt.last, rebuilt.manifest, rebuilt.play
    # nobody remembers the name: the bucket does, before anything big is installed
    lost = rebuilt.misnamed
    assert lost.status == 2
    assert f"set backup_server_name: {NAME} and backup_db_name: crm" in flat(lost.output)
    assert "type the same again: ansible-playbook rebuild.yml --limit shop-b" in flat(lost.output)
    assert rebuilt.brought == ["", ""]

    print(play.output[-3000:])
    said = flat(play.output)
    assert "is rebuilt; the application answers at http://127.0.0.1:8000/healthz" in said
    for words in ("(RTO)", "(RPO)", f"crm: {last}, {manifest['rows']:,} rows compared"):
        assert words in said, words
    table = re.search(r"PHASE +SECONDS\n(.*?)\n *crm:", play.output, re.DOTALL)[1]
    story.facts["rebuild"] = [re.sub(r"  +", ": ", line.strip()) for line in table.splitlines()]

    assert health(bare)[0] == 200
    # every table's rows and hashes: what was restored is there, in the order of the dump, and new
    # visits come after it
    for table, facts in manifest["tables"].items():
        copy = f"COPY (SELECT * FROM {table} ORDER BY ctid LIMIT {facts['rows']}) TO STDOUT"
        data = bare.inside(
            *COMPOSE, "exec", "-T", "db", "psql", "-X", "-q", "-U", "crm", "-d", "crm", "-c", copy
        ).stdout
        assert data.count("\n") == facts["rows"], table
        assert hashlib.sha256(data.encode()).hexdigest() == facts["sha256"], table
    assert set(manifest["tables"]) == {"public.customers", "public.schema_version", "public.visits"}
    journal = [
        item["Key"]
        for item in story.client().list_objects_v2(Bucket=story.bucket, Prefix=f"{PREFIX}journal/")[
            "Contents"
        ]
    ]
    assert any(key.endswith(f"-restore.{NAME}.json") for key in journal)
    assert bare.inside("stat", "-c", "%a", f"{APP}/.env").stdout.strip() in ("600", "640")
    # the schedule stands, and the first new backup is whole
    assert PROGRAM in bare.inside("cat", "/etc/cron.d/postgres-backup").stdout
    assert bare.inside("systemctl", "is-active", "cron").stdout == "active\n"
    [new] = set(story.backups()) - set(rebuilt.before)
    assert story.manifest(new)["server"]["name"] == NAME
    proofs = f"{PREFIX}proofs/{new.split('.')[0]}-"
    found = story.client().list_objects_v2(Bucket=story.bucket, Prefix=proofs)["Contents"]
    assert [item["Key"].endswith(".json.sig") for item in found] == [False, True]
    assert story.manifest(new)["server"]["container"] == "crm-db-1"
    assert bare.inside("sh", "-c", "command -v pg_dump psql", check=False).stdout == ""
    assert bare.inside(PROGRAM, "status").returncode == 0
    assert (
        bare.inside(
            "grep",
            "-rlsF",
            story.key,
            "/etc",
            "/opt",
            "/root",
            "/srv",
            "/tmp",
            "/var/lib/postgres-backup",
            check=False,
        ).stdout
        == ""
    )


def test_with_the_programs_of_the_container_data_comes_back_too(story, rebuilt):
    """pg_dump and pg_restore run inside; one of several formats, and a table alone. The database is
    private by now: no port of it is published, Docker says where it is.
    """
    server = rebuilt.server
    compose = server.inside("cat", f"{APP}/compose.yml").stdout
    private = compose.replace('    ports:\n      - "127.0.0.1:5432:5432"\n', "")
    assert private != compose
    server.write(f"{APP}/compose.yml", private)
    server.inside(*COMPOSE, "up", "--detach", "--wait", "db", timeout=300)
    assert ":5432 " not in server.inside("ss", "-ltn").stdout
    taken = json.loads(server.inside(PROGRAM, "backup", "--json").stdout)
    assert story.manifest(taken["backup"])["server"]["container"] == "crm-db-1"
    key = ("--identity", "/root/key.txt")
    server.write("/root/key.txt", story.key + "\n", "0600")
    sql(server, "UPDATE customers SET name = 'nobody ' || id")
    for options in (("--tables", "customers"), ()):
        done = server.inside(PROGRAM, "restore", "latest", *options, *key, "--json", check=False)
        assert done.returncode == 0, done.stderr
        assert sql(server, "SELECT count(*) FROM customers WHERE name LIKE 'customer %'") == "500"
        sql(server, "UPDATE customers SET name = 'nobody ' || id")
    server.inside("rm", "/root/key.txt")
    wait_for("the application", lambda: health(server)[0] == 200, timeout=30)


def _queued(server: Server) -> set[str]:
    """The processes of our sessions that wait for a lock."""
    return set(
        sql(
            server,
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name LIKE 'postgres-backup %'",
        ).splitlines()
    )


def test_what_a_killed_backup_has_left_inside_the_container_ends_with_the_next(story, rebuilt):
    """Its pg_dump waits for a lock there, and nothing tells it that nobody reads it any more."""
    server, answer = rebuilt.server, "/root/second.json"
    sql(server, "CREATE TABLE busy AS SELECT 1 AS x")
    holding = "BEGIN; LOCK TABLE busy; SELECT pg_sleep(300)"
    holder = shlex.join([*COMPOSE, "exec", "-T", "db", "psql", "-U", "crm", "-d", "crm"])
    server.inside("sh", "-c", f"{holder} -c '{holding}' > /dev/null 2>&1 &")
    wait_for(
        "the table to be locked",
        lambda: sql(server, "SELECT 1 FROM pg_locks WHERE relation = 'busy'::regclass"),
    )
    server.inside("sh", "-c", f"{PROGRAM} backup > /dev/null 2>&1 &")
    [left] = wait_for("pg_dump to queue", lambda: _queued(server), timeout=30)
    lock = server.inside("cat", f"/var/lib/postgres-backup/{NAME}.crm.lock").stdout
    server.inside("kill", "-KILL", str(json.loads(lock)["pid"]))
    server.inside("sh", "-c", f"{PROGRAM} backup --json > {answer} 2> /dev/null &")
    [new] = wait_for("another to queue in its place", lambda: _queued(server) - {left}, timeout=30)
    assert _queued(server) == {new}
    sql(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep(300)' AND pid <> pg_backend_pid()",
    )
    taken = json.loads(
        wait_for("the backup", lambda: server.inside("cat", answer).stdout.strip(), timeout=60)
    )
    assert [found["message"] for found in taken["findings"] if found["code"] == "SESSION_LEFT"] == [
        f"a run that was killed had left sessions on the server; they were ended (process {left})"
    ]
    sql(server, "DROP TABLE busy")
    server.inside("rm", answer)


def test_a_rebuild_of_a_machine_with_data_is_refused(story, rebuilt):
    refused = story.run("rebuild again", "rebuild.yml", check=False)
    assert refused.status == 2
    assert "has data: crm with tables in it" in flat(refused.output)
    assert "restore.yml -e backup=latest --limit shop-b" in flat(refused.output)
    assert health(rebuilt.server)[0] == 200
