"""A lost server whose PostgreSQL was a system package: a bare Debian 12 becomes it, from what the
bucket and the application's repository hold.

Nothing of the old server is there, nor does anybody remember which files its kit had. The rebuild
is cut off three times on the way, each time in another phase, and goes on; what it has done is not
done again. The backups are those of a PostgreSQL beside the tests.
"""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import re
import secrets
import subprocess
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.kit import create_kit
from postgres_backup.catalog import manifest
from postgres_backup.copying.copy import copy_backups
from postgres_backup.job import Job
from postgres_backup.s3 import bucket as bucket_room
from postgres_backup.s3.store import Store
from postgres_backup.signing import keys as signing_keys
from postgres_backup.signing import own_key
from tests.conftest import Database
from tests.services.brief import BriefPostgresServer
from tests.services.plain_s3 import client_of
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(1500)

DATABASES = ("desk", "archive")
APP = "/srv/desk"
APP_START = f"systemd-run --unit=desk --collect python3 -m http.server 8000 --directory {APP}"


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.fixture
def repository(lab, tmp_path) -> Iterator[str]:
    """The address of the application's git repository: a file that says that it is well, and an
    example of its settings.
    """
    work, served = tmp_path / "work", tmp_path / "www/desk.git"
    work.mkdir()
    git = ["git", "-C", work, "-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    (work / "health.txt").write_text("well\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=The application"], check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", work, served], check=True)
    subprocess.run(["git", "-C", served, "update-server-info"], check=True)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www")
    )
    with http.server.ThreadingHTTPServer((lab.address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{lab.address}:{server.server_port}/desk.git"
        server.shutdown()
        thread.join()


@pytest.fixture
def lost(tmp_path_factory, lab_s3, new_config) -> types.SimpleNamespace:
    """What a server ``db1`` has left: two databases in the bucket, and the kit of a file. It had a
    locale that a bare one has not.
    """
    password, bucket = secrets.token_urlsafe(18), f"backups-{secrets.token_hex(4)}"
    env_file = tmp_path_factory.mktemp("lost") / ".env"
    env_file.write_text("SECRET=correct-horse-battery\n")
    with BriefPostgresServer(
        tmp_path_factory.mktemp("pg15lost"),
        15,
    ) as server:
        server.execute(f"CREATE ROLE desk LOGIN CREATEDB PASSWORD '{password}'")
        server.execute("CREATE ROLE readers")
        for number, name in enumerate(DATABASES, 1):
            server.execute(f"CREATE DATABASE {name} OWNER desk")
            server.execute(
                "SET ROLE desk; CREATE TABLE notes AS SELECT n AS id, md5(n::text) AS text"
                f" FROM generate_series(1, {1000 * number}) n",
                name,
            )
            server.execute("SET ROLE desk; GRANT SELECT ON notes TO readers", name)
        facts = {
            "DB_NAMES": " ".join(DATABASES),
            "SERVER_NAME": "db1",
            "BACKUP_PATHS": str(env_file),
            "KIT_PLAIN": "true",
        }
        config = new_config(
            Database(server, "desk", server.superuser, server.password, ""), lab_s3, bucket, **facts
        )
        bucket_room.create(Store(config.settings).s3)
        taken = {name: create_backup(Job(config.settings, name)) for name in DATABASES}
        create_kit(Job(config.settings))
    client = client_of(lab_s3)
    signing_key = signing_keys.load(config.settings)
    for one in taken.values():
        folder, _, name = one["key"].rpartition("/")
        key = f"{folder}/manifests/{name.split('.')[0]}.json"
        found = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        found["locale"] |= {"collate": "en_US.UTF-8", "ctype": "en_US.UTF-8"}
        body = manifest.dump(found)
        client.put_object(Bucket=bucket, Key=key, Body=body)
        client.put_object(Bucket=bucket, Key=f"{key}.sig", Body=signing_key.sign(body))
    env_file.unlink()
    return types.SimpleNamespace(
        password=password,
        bucket=bucket,
        env_file=env_file,
        taken=taken,
        client=client,
        settings=config.settings,
        key=own_key.own_key(config.settings),
    )


@pytest.mark.parametrize(
    "rehearsed",
    # two minutes more: the rehearsal on a spare host is in ``make gameday``. There an estimate is
    # compared with what was measured a minute before: the machine must be as busy then as now.
    [
        pytest.param(False, id="rebuilt"),
        pytest.param(
            True,
            id="and_rehearsed",
            marks=[pytest.mark.gameday, pytest.mark.alone, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_a_server_without_docker_is_rebuilt_over_several_attempts(
    new_server, controller, lab_s3, lost, repository, rehearsed
):
    server = new_server("bookworm", name="db1")
    variables = {
        "backup_databases": list(DATABASES),
        "backup_db_name": "desk",
        "backup_db_user": "desk",
        "backup_db_password": lost.password,
        "backup_s3_endpoint_url": lab_s3.endpoint_url,
        "backup_s3_bucket": lost.bucket,
        "backup_s3_access_key": lab_s3.access_key,
        "backup_s3_secret_key": lab_s3.secret_key,
        "backup_app_dir": APP,
        "backup_app_stop": "systemctl stop desk",
        "backup_app_start": "/bin/false",
        "backup_app_health_url": "http://127.0.0.1:8000/health.txt",
        "backup_app_health_seconds": 20,
        "app_repo": repository,
    }
    controller.add(server, **variables)
    controller.variables()

    def attempt(status: int = 2):
        play = controller.run("rebuild.yml", "--limit", "db1", check=False, timeout=1200)
        assert play.status == status, play.output[-6000:]
        assert lost.password not in play.output
        print(play.output[-3000:])
        return play, flat(play.output)

    # 0. nobody here knows its key, and another is no help: nothing is installed but the program
    known = controller.inventory / "keys/db1.pub"
    play, said = attempt()
    assert 'stopped in the phase "bucket" at "Insist on somebody who vouches for them"' in said
    assert f"not signed by a server that is trusted here, but by {lost.key['fingerprint']}" in said
    assert "-e trust_unsigned=true" in said
    assert server.inside("ls", "/usr/lib/postgresql", check=False).returncode != 0
    [own] = known.read_text().splitlines()  # that of the new machine
    known.write_text(f"{own}\n{lost.key['public_key']}\n")

    # 1. the second of two databases is damaged in the bucket: the first is back, and it says what
    # to do
    archive = lost.taken["archive"]["key"]
    whole = lost.client.get_object(Bucket=lost.bucket, Key=archive)["Body"].read()
    lost.client.put_object(Bucket=lost.bucket, Key=archive, Body=whole[:-9] + b"?" + whole[-8:])
    play, said = attempt()
    assert 'stopped in the phase "restore" at "Bring the data back"' in said
    assert "1. Nothing in the bucket was touched" in said
    assert "type the same again: ansible-playbook rebuild.yml --limit db1" in said
    assert server.sql("SELECT count(*) FROM notes", "desk") == "1000"
    assert server.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'archive%'") == "0"
    lost.client.put_object(Bucket=lost.bucket, Key=archive, Body=whole)

    # 2. meanwhile somebody has brought data back by hand: it is not replaced
    server.sql("CREATE DATABASE archive OWNER desk")
    server.sql("CREATE TABLE by_hand (id int)", "archive")
    play, said = attempt()
    assert "archive has tables now, which it had not when this rebuild began" in said
    assert server.sql("SELECT count(*) FROM by_hand", "archive") == "0"
    server.sql("DROP DATABASE archive")

    # 3. the application does not start
    live = server.sql("SELECT oid FROM pg_database WHERE datname = 'desk'")
    play, said = attempt()
    assert 'stopped in the phase "application" at "Start it by its own command"' in said
    assert "loading" not in play.output.replace(
        f"loading {lost.taken['archive']['backup']}", ""
    )  # desk, which was back, is left alone
    assert server.sql("SELECT count(*) FROM notes", "archive") == "2000"

    # 4. it goes on to the end, without a second restore. Somebody has put a file there by hand
    server.inside("sh", "-c", f"echo by-hand > {APP}/.env")
    controller.add(
        server,
        **variables | {"backup_app_start": APP_START},
    )
    play, said = attempt(0)
    assert "loading" not in play.output
    assert server.sql("SELECT oid FROM pg_database WHERE datname = 'desk'") == live
    for name, rows in zip(DATABASES, ("1,000", "2,000"), strict=True):
        assert f"{name}: {lost.taken[name]['backup']}, {rows} rows compared" in said
    assert "db1 is rebuilt; the application answers at http://127.0.0.1:8000/health.txt" in said
    # the kit was put back although nobody remembered backup_paths, and how to save it again is said
    assert server.inside("cat", str(lost.env_file)).stdout == "SECRET=correct-horse-battery\n"
    assert f'backup_paths: ["{lost.env_file}", "{APP}/.env"], then' in said
    assert f"REBUILD_LACKS: a rebuild of this server would lack {APP}/.env" in said
    assert "REBUILD_LACKS" in server.inside("/usr/local/bin/postgres-backup", "status").stdout
    # as it was: owner, locale, the role that was missing and its right
    facts = "SELECT pg_get_userbyid(datdba), datcollate FROM pg_database WHERE datname = 'desk'"
    assert server.sql(facts) == "desk|en_US.UTF-8"
    assert server.sql("SELECT has_table_privilege('readers', 'notes', 'SELECT')", "desk") == "t"
    assert (
        server.inside("systemctl", "is-active", "cron", "desk", "postgresql").stdout.split()
        == ["active"] * 3
    )
    assert "run --at 00:00" in server.inside("cat", "/etc/cron.d/postgres-backup").stdout
    assert server.inside("/usr/local/bin/postgres-backup", "status").returncode == 0
    marker = json.loads(server.inside("cat", "/var/lib/postgres-backup/rebuild.json").stdout)
    assert marker["restored"] == {"desk": 1000, "archive": 2000}
    assert marker["ended"] > marker["began"]

    # 5. once more, as a rehearsal on a spare host, while this server lives
    if not rehearsed:
        return
    # its user goes with the rehearsal: nothing of the tests may wait there as it
    spare = new_server("trixie", layer="ready", name="spare", forks=False)
    controller.add(spare)
    rehearse = Rehearsal(controller, lost, server, spare, variables)
    rehearse.is_refused_where_it_would_do_harm()
    rehearse.goes_well_and_leaves_nothing()
    rehearse.fails_and_leaves_nothing()


@pytest.mark.gameday  # two minutes; the phases are those of the rebuild above
def test_a_server_is_rebuilt_from_the_second_store_alone(
    new_server, controller, lab_s3, lost, repository
):
    """The first provider is gone with the server: nothing is asked of it, and nothing else is
    lost.
    """
    second = f"copies-{secrets.token_hex(4)}"
    bucket_room.create(
        Store(dataclasses.replace(lost.settings, s3_bucket=second)).s3,
    )
    job = Job(
        dataclasses.replace(
            lost.settings,
            copy_endpoint_url=lab_s3.endpoint_url,
            copy_bucket=second,
            copy_access_key=lab_s3.access_key,
            copy_secret_key=lab_s3.secret_key,
        )
    )
    # the manifests were written anew behind its back, which it would hold against them
    Path(lost.settings.state_dir, "signed.json").unlink()
    copied = copy_backups(job)["copied"]
    assert {one["backup"] for one in lost.taken.values()} < set(copied)
    for page in lost.client.get_paginator("list_objects_v2").paginate(Bucket=lost.bucket):
        for one in page["Contents"]:
            lost.client.delete_object(Bucket=lost.bucket, Key=one["Key"])
    server = new_server("bookworm", name="db1")
    controller.add(
        server,
        backup_databases=list(DATABASES),
        backup_db_name="desk",
        backup_db_user="desk",
        backup_db_password=lost.password,
        backup_s3_endpoint_url="http://127.0.0.1:9",
        backup_s3_bucket=lost.bucket,
        backup_s3_access_key="gone",
        backup_s3_secret_key="gone",
        backup_copy_to={
            "endpoint_url": lab_s3.endpoint_url,
            "bucket": second,
            "access_key": lab_s3.access_key,
            "secret_key": lab_s3.secret_key,
        },
        backup_app_dir=APP,
        backup_app_stop="systemctl stop desk",
        backup_app_start=APP_START,
        backup_app_health_url="http://127.0.0.1:8000/health.txt",
        app_repo=repository,
    )
    controller.variables()
    known = controller.inventory / "keys/db1.pub"
    known.parent.mkdir(exist_ok=True)
    known.write_text(f"{lost.key['public_key']}\n")
    play = controller.run("rebuild.yml", "--limit", "db1", check=False, timeout=1200)
    assert play.status == 2, play.output[-6000:]
    assert "nothing answers at http://127.0.0.1:9" in flat(play.output)
    assert "add -e from=copy" in flat(play.output)
    words = ("rebuild.yml", "--limit", "db1", "-e", "from=copy")
    play = controller.run(*words, check=False, timeout=1200)
    assert play.status == 0, play.output[-6000:]
    said = flat(play.output)
    assert "db1 is rebuilt; the application answers at" in said
    assert "It came from the second store" in said
    assert server.sql("SELECT count(*) FROM notes", "archive") == "2000"
    assert server.inside("cat", str(lost.env_file)).stdout == "SECRET=correct-horse-battery\n"
    status = server.inside("/usr/local/bin/postgres-backup", "list", "--from", "copy")
    assert lost.taken["desk"]["backup"] in status.stdout


class Rehearsal:
    """``playbooks/drill.yml -e rebuild=true`` of a server that lives, on a spare one."""

    def __init__(self, controller, lost, server, spare, variables) -> None:
        self.controller, self.lost, self.live, self.spare = controller, lost, server, spare
        self.variables = variables | {"backup_drill_host": "spare", "backup_app_start": APP_START}
        self.key = (controller.inventory / "keys/db1.pub").read_text()
        # its own looks may have something to tell while this counts what is written; cron leaves
        # what it has begun alive, and so does a timer
        server.inside("systemctl", "stop", "cron", "postgres-backup-watch.timer")
        wait_for("its own looks to end", self.is_idle, 180)

    def is_idle(self) -> bool:
        """Whether the program does nothing on the server that lives. (What the tests fork modules
        from waits there as its user.)
        """
        program = ("-f", r"postgres-backup[.](compiled[.])?pyz")
        mine = self.live.inside("pgrep", "-a", "-u", "postgres-backup", *program, check=False)
        return not mine.stdout

    def play(self, status: int, *options: str, **variables: object) -> str:
        self.controller.add(self.live, **self.variables | variables)
        words = ("playbooks/drill.yml", "--limit", "db1", "-e", "rebuild=true", *options)
        play = self.controller.run(*words, check=False, timeout=1200)
        assert play.status == status, play.output[-6000:]
        assert self.lost.password not in play.output
        print(play.output[-3000:])
        return play.output

    def everything(self) -> list[str]:
        """What the spare host has: databases, roles, users, files where a rebuild writes."""
        folders = ["/etc/postgres-backup*", "/opt/postgres-backup*", "/var/lib/postgres-backup*"]
        places = " ".join([*folders, APP, str(self.lost.env_file), "/etc/cron.d/postgres*"])
        found = self.spare.inside("sh", "-c", f"ls -d {places}", check=False).stdout
        names = self.spare.sql("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles")
        users = self.spare.inside("getent", "passwd").stdout
        units = self.spare.inside("systemctl", "list-units", "--plain", "desk*").stdout
        return sorted([*found.split(), *names.split(), *users.split("\n"), *units.split("\n")])

    def objects(self) -> set[str]:
        pages = self.lost.client.get_paginator("list_objects_v2").paginate(Bucket=self.lost.bucket)
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def read(self, key: str) -> str:
        return self.lost.client.get_object(Bucket=self.lost.bucket, Key=key)["Body"].read().decode()

    def asked(self, *words: str) -> str:
        command = ["runuser", "-u", "postgres-backup", "--", "/usr/local/bin/postgres-backup"]
        return self.live.inside(*command, *words, check=False).stdout

    def wrong_events(self) -> list[str]:
        return [line for line in self.asked("history").splitlines() if line.startswith("EVENT_")]

    def is_refused_where_it_would_do_harm(self) -> None:
        before, told = self.everything(), self.objects()
        assert "is rehearsed on a spare host: set" in flat(self.play(2, backup_drill_host=""))
        assert "than db1 (here: db1)" in flat(self.play(2, backup_drill_host="db1"))
        elsewhere = self.play(2, backup_db_host="db.example.com")
        assert "is on another machine (db.example.com)" in flat(elsewhere)
        self.spare.sql("CREATE DATABASE desk")
        self.spare.inside("mkdir", "-p", APP)
        said = flat(self.play(2))
        assert f"spare has what a rebuild of db1 would make: {APP}, the database desk" in said
        self.spare.inside("rmdir", APP)
        self.spare.sql("DROP DATABASE desk")
        assert (self.everything(), self.objects()) == (before, told)

    def goes_well_and_leaves_nothing(self) -> None:
        before, told, wrong = self.everything(), self.objects(), self.wrong_events()
        healthy = self.asked("status").splitlines()[0]
        output = self.play(0)
        assert "Rebuild rehearsed on spare: " in output
        assert "Still on spare" not in output
        assert self.everything() == before
        # the journal says so, and nothing else was written that stays
        events = sorted(key for key in self.objects() - told if key.endswith(".json"))
        assert len(events) == 1, [self.read(key) for key in events]
        [event] = events
        assert re.search(r"journal/[-0-9_]+-\d+-rehearsal\.db1\.json$", event)
        assert (self.controller.inventory / "keys/db1.pub").read_text() == self.key
        last = next(line for line in self.asked("history").splitlines() if "rehearsal" in line)
        assert "on spare" in last
        assert self.wrong_events() == wrong
        status = self.asked("status")
        assert re.search(r"rebuild rehearsed \S+ on spare: ", status)
        assert status.splitlines()[0] == healthy
        # and the estimate of the next drill is what was measured
        drill = json.loads(self.asked("drill", "--database", "desk", "--fast", "--json"))
        rehearsed, rebuild = drill["rebuild"]["rehearsed"], drill["rebuild"]
        print(f"rehearsed {rehearsed} s, estimated {rebuild}")
        assert rebuild["assumed"] == [], drill
        assert 0.7 < rebuild["seconds"] / rehearsed < 1.3, drill

    def fails_and_leaves_nothing(self) -> None:
        before, told = self.everything(), self.objects()
        said = flat(self.play(2, backup_app_start="/bin/false"))
        assert 'The rehearsal of a rebuild of db1 stopped in the phase "application"' in said
        assert "What it made on spare is removed again" in said
        assert self.everything() == before
        [event] = [key for key in self.objects() - told if key.endswith(".json")]
        assert "-rehearsal-failed.db1" in event
