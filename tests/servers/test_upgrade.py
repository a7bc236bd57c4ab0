"""A server and a bucket as version 0.1.0 has left them: ``setup.yml`` tells what it moves, and all
that an administrator types afterwards works on what was there; and a server that was lost in
between comes back from that bucket.

What each command makes of such backups is tried in ``tests/integration/test_upgrade.py``, on the
PostgreSQL that made them. Here it is Debian 13's, a newer major, as on a server that was upgraded
too.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
from pathlib import Path

import pytest

from tests.servers.controller import Controller, Play
from tests.servers.server import Server
from tests.services.plain_s3 import client_of

# a busy machine with two cores takes its time
pytestmark = pytest.mark.timeout(1800)

LEFT = Path(__file__).resolve().parents[1] / "fixtures/version_0_1_0"
NAME, PREFIX, STATE = "school-db", "postgres-backup/", "/var/lib/postgres-backup"
CONFIG = "/etc/postgres-backup/backup-config.env"
LESSONS = "SELECT count(*) FROM lessons"


class School:
    """The bucket, and whatever machine is ``school-db``."""

    def __init__(self, store, controller: Controller) -> None:
        self.store, self.controller = store, controller
        self.bucket, self.password = f"school-{secrets.token_hex(4)}", secrets.token_hex(12)
        self.client = client_of(store)
        self.client.create_bucket(Bucket=self.bucket)
        for path in sorted((LEFT / "bucket").rglob("*")):
            if path.is_file():
                key = path.relative_to(LEFT / "bucket").as_posix()
                self.client.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        self.left = self.backups()

    def backups(self) -> list[str]:
        """What a listing of the prefix shows, oldest first."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, Delimiter="/")
        return sorted(one["Key"].removeprefix(PREFIX) for one in found["Contents"])

    def is_on(self, server: Server) -> None:
        """The inventory of 0.1.0, with this machine in it."""
        self.controller.add(
            server,
            backup_db_name="school",
            backup_db_user="school_owner",
            backup_db_password=self.password,
            backup_s3_endpoint_url=self.store.endpoint_url,
            backup_s3_bucket=self.bucket,
            backup_s3_access_key=self.store.access_key,
            backup_s3_secret_key=self.store.secret_key,
            # what was left only gets older
            backup_retention_days=36500,
            backup_keep_replaced_days=36500,
        )
        self.controller.variables()

    def play(self, playbook: str, *options: str, check: bool = True) -> Play:
        play = self.controller.run(playbook, *options, check=check, timeout=1700)
        print(f"{playbook} {' '.join(options)}: {play.seconds:.0f} s")
        assert self.password not in play.output
        return play


def changed(play: Play) -> set[str]:
    """The tasks that changed something, or would."""
    task, found = "", set()
    for line in play.output.splitlines():
        if begun := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:.* : )?(.*?)\] \*", line):
            task = begun[1]
        elif line.startswith("changed: "):
            found.add(task)
    return found


def installed_by_0_1_0(server: Server, school: School) -> None:
    """Its files, its user, the state of a night and a restore, and its databases."""
    server.sql(f"CREATE ROLE school_owner LOGIN CREATEDB PASSWORD '{school.password}'")
    server.sql("CREATE ROLE school_reader NOLOGIN")
    for known in json.loads((LEFT / "server/databases.json").read_text()):
        server.sql(f'CREATE DATABASE "{known["name"]}" OWNER school_owner')
        comment = known["comment"].replace("'", "''")
        server.sql(f"""COMMENT ON DATABASE "{known["name"]}" IS '{comment}'""")
        if known["name"] != "school":
            server.sql(
                "SET ROLE school_owner; CREATE TABLE before AS SELECT 'as it was' AS said",
                known["name"],
            )
    newest = LEFT / "bucket" / PREFIX / school.left[-1]
    server.sql(gzip.decompress(newest.read_bytes()).decode(), "school")
    words = ["useradd", "--system", "--user-group", "--home-dir", STATE, "--no-create-home"]
    server.inside(*words, "--shell", "/usr/sbin/nologin", "postgres-backup")
    for folder in ("etc", "usr", "var"):
        server.put(LEFT / "server" / folder, f"/{folder}")
    text = (LEFT / "server" / CONFIG[1:]).read_text()
    ours = {
        "DB_PASSWORD": school.password,
        "S3_ENDPOINT_URL": school.store.endpoint_url,
        "S3_BUCKET_NAME": school.bucket,
        "AWS_ACCESS_KEY_ID": school.store.access_key,
        "AWS_SECRET_ACCESS_KEY": school.store.secret_key,
    }
    for name, value in ours.items():
        text, count = re.subn(rf"(?m)^((?:export )?{name}=).*$", rf"\g<1>{value}", text)
        assert count == 1
    server.write(CONFIG, text, "0600")
    log = "/var/log/postgres-backup.log"
    server.write(log, "2026-11-28T07:59:18Z OK school-db: 1 database(s)\n", "0640")
    owner = "postgres-backup:postgres-backup"
    server.inside("chown", "-R", owner, STATE, CONFIG)
    server.inside("chown", "postgres-backup:adm", log)
    server.inside("chmod", "0755", "/usr/local/bin/postgres-backup")
    server.inside("chmod", "0750", STATE)
    server.inside("systemctl", "daemon-reload")
    server.inside("systemctl", "enable", "--quiet", "--now", "postgres-backup-watch.timer")


def files(server: Server) -> list[str]:
    """What 0.1.0 has laid, and all else where a setup writes: names, owners, modes, contents. But
    not what a look at the bucket remembers of it, which is nobody's setting.
    """
    places = "/etc/postgres-backup /etc/cron.d /etc/logrotate.d /etc/systemd/system /usr/local"
    skipped = "! -path '*/venv/*' ! -path '*/.ansible/*' ! -name 'seen-*'"
    look = f"find {places} /opt/postgres-backup {STATE} -xdev -type f {skipped}"
    each = f"{look} -printf '%p %u %g %m\\n'; {look} -exec sha256sum {{}} +"
    return sorted(server.inside("sh", "-ec", each).stdout.splitlines())


#: what a setup of today moves on a server of 0.1.0, as it says beforehand
MOVED = {
    "Lay its folders, the list of its libraries and the command",
    "Install the program",
    "Write the config",
    "Make the key that signs",
    "Lay the list of those that it believes",
    "Take a first backup",
    "Write the schedule, and let the log be rotated",
    "Install the timer that looks whether all is well",
}
#: what cannot be foreseen: there is no key yet, and no backup
FOLLOWS = {"Keep its public half beside the inventory", "Prove it"}


def test_all_that_it_left_goes_on_after_a_setup(lab_s3, new_server, controller):
    """One story: each step stands on the one before."""
    school = School(lab_s3, controller)
    server = new_server("trixie", layer="ready", name=NAME)
    installed_by_0_1_0(server, school)
    school.is_on(server)
    first = next(name for name in school.left if "_07-59-09" in name)

    # it says what it moves, and moves that
    before = files(server)
    checked = changed(school.play("setup.yml", "--check", "--diff"))
    assert files(server) == before
    assert checked >= MOVED
    done = changed(school.play("setup.yml"))
    assert done == checked | FOLLOWS
    again = school.play("setup.yml")
    assert again.recap[NAME]["changed"] == 0, again.output
    assert set(school.backups()) > set(school.left)
    [new] = set(school.backups()) - set(school.left)
    status = server.inside("/usr/local/bin/postgres-backup", "status").stdout
    assert "all is well" in status
    # its state was read, not made anew
    assert "the run of 2026-11-28T07:59:17Z was OK" in status

    # list, verify, restore, undo
    listed = school.play("playbooks/list.yml").output
    assert [name for name in school.backups() if name not in listed] == []
    read = server.inside("/usr/local/bin/postgres-backup", "verify", first)
    assert f"{first} is whole: 300 rows" in read.stderr
    restored = school.play("restore.yml", "-e", f"backup={first}", "-e", "trust_unsigned=true")
    assert f"school is what it was in {first}: 300 rows" in restored.output
    assert server.sql(LESSONS, "school") == "240"
    school.play("playbooks/undo_restore.yml")
    assert server.sql(LESSONS, "school") == "242"

    # adopted they are as any other; only what is the server's own, and old, is pruned
    days = ("-e", "backup_retention_days=1")
    adopted = school.play("setup.yml", "-e", "adopt=true", *days)
    assert changed(adopted) == {"Write the config", "Vouch for what nobody has signed"}
    assert re.findall(r"adopted  (postgres-backup-2\S+),", adopted.output) == school.left[::-1]
    assert "adopted  postgres-backup-kit-2026-11-28_07-59-18.tar.gz, read" in adopted.output
    pruned = school.play("playbooks/prune.yml")
    scripts = [name for name in school.left if name.endswith("_00-00-00.sql.gz")]
    assert re.findall(r"deleted  (postgres-backup-\S+)", pruned.output) == scripts[::-1]
    assert school.backups() == [*(name for name in school.left if name not in scripts), new]
    assert "taken by the server before this one" in pruned.output


@pytest.mark.gameday
@pytest.mark.timeout(3600)
def test_a_server_that_was_lost_comes_back_from_its_bucket(lab_s3, new_server, controller):
    """Nobody has signed what 0.1.0 made: one word more, and a bare machine has all of it."""
    school = School(lab_s3, controller)
    server = new_server("trixie", name=NAME)
    school.is_on(server)
    refused = school.play("rebuild.yml", "--limit", NAME, check=False)
    said = " ".join(refused.output.split())
    assert refused.status == 2
    assert "If you know where it comes from: -e trust_unsigned=true" in said
    assert server.inside("ls", "/usr/lib/postgresql", check=False).returncode != 0
    done = school.play("rebuild.yml", "--limit", NAME, "-e", "trust_unsigned=true")
    print(done.output[-3000:])
    said = " ".join(done.output.split())
    assert f"school: {school.left[-1]}, 302 rows compared" in said
    assert "school-db is rebuilt" in said
    assert server.sql(LESSONS, "school") == "242"
    assert server.inside("cat", "/srv/school/uploads/a.txt").stdout == "a\n"
    assert set(school.backups()) > set(school.left)
    assert server.inside("/usr/local/bin/postgres-backup", "status").returncode == 0
    assert "run --at 00:00" in server.inside("cat", "/etc/cron.d/postgres-backup").stdout
