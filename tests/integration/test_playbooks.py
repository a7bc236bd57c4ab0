"""The playbooks on a real database and store: what is shown meanwhile, what comes of it, and that
nothing secret is seen.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.kit import create_kit
from postgres_backup.job import Job
from tests.integration import engine
from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def filled(database):
    """``database`` with a table of 1,000 rows."""
    database.execute(
        "CREATE TABLE users AS SELECT n AS id, 'user ' || n AS name FROM generate_series(1, 1000) n"
    )
    database.execute(f'ALTER TABLE users OWNER TO "{database.owner}"')
    return database


@pytest.fixture
def play(config, filled, tmp_path):
    """``play("backup", "-e", "tables=users")``: a playbook on this machine, without becoming
    anybody.
    """
    home = tmp_path / "home"
    home.mkdir()

    def run(verb: str, *options: str, status: int = 0) -> str:
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "backup_python": sys.executable,
            "backup_become": "false",
            "backup_config_file": str(config.path),
            "backup_db_name": filled.name,
        }
        words = [
            ansible_runs.PLAYBOOK,
            "-i",
            "db1,",
            verb if verb.endswith(".yml") else f"playbooks/{verb}.yml",
        ]
        words += [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
        done = subprocess.run(
            [*words, *options],
            cwd=ROOT,
            env=ansible_runs.environment(HOME=str(home)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        left = (
            list((home / ".ansible_async").glob("*")) if (home / ".ansible_async").exists() else []
        )
        assert left == []  # neither jobs nor progress files stay behind
        return done.stdout

    return run


@pytest.mark.timeout(900)  # seven playbooks; a busy machine needs minutes for them
def test_backup_loss_restore_undo_and_nothing_secret_on_the_way(play, filled, s3):
    shown = play("backup", "-vvv")
    assert re.search(
        rf"^    db1: dumping {filled.name} .* to postgres-backup-\S+\.sql\.gz$", shown, re.MULTILINE
    )
    assert re.search(r"^    db1: .* is in the bucket: 1,?000 rows", shown, re.MULTILINE)
    backup = re.search(r"postgres-backup-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.sql\.gz", shown)[0]
    assert backup in play("list")
    assert "all is well" in play("status")

    filled.execute("DELETE FROM users")
    would = play("restore", "--check", "-e", f"backup={backup}")
    assert "would become what it was" in would
    assert filled.execute("SELECT count(*) FROM users") == [(0,)]
    restored = play("restore", "-vvv", "-e", f"backup={backup}")
    assert re.search(r"^    db1: loading ", restored, re.MULTILINE)
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]
    assert "changed=2" in restored  # loaded beside, and swapped

    play("undo_restore")
    assert filled.execute("SELECT count(*) FROM users") == [(0,)]
    for secret in (filled.password, s3.secret_key):
        assert secret not in shown + restored


def test_a_backup_that_nobody_signed_is_refused_with_the_line_to_type(play, s3_client, bucket):
    backup = re.search(r"postgres-backup-\d{4}-\S+\.sql\.gz", play("backup"))[0]
    key = f"postgres-backup/manifests/{backup.partition('.')[0]}.json.sig"
    assert s3_client.head_object(Bucket=bucket, Key=key)
    s3_client.delete_object(Bucket=bucket, Key=key)
    refused = re.sub(r"\s+", " ", play("restore", "-e", f"backup={backup}", status=2))
    assert f"Nobody vouches for {backup}" in refused
    assert "-e trust_unsigned=true" in refused
    assert "1. The live database is untouched." in refused
    words = ("--check", "-e", f"backup={backup}", "-e", "trust_unsigned=true")
    assert "would become what it was" in play("restore", *words)
    assert "rows" in play("restore", *words, "-e", "tables=users")


def test_setup_asks_once_what_the_store_can_do(play, config, s3_client, bucket, tmp_path):
    setup = bucket_of_setup(tmp_path)
    assert "fit for backups (" in play(str(setup))
    assert s3_client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    again = play(str(setup))
    assert "changed=0" in again
    assert "fit for backups" not in again, "it is remembered, and nobody asks"
    config.change(S3_PREFIX="elsewhere")
    assert "fit for backups (" in play(str(setup))


@pytest.mark.timeout(600)  # three playbooks
def test_setup_makes_the_bucket_of_a_second_store_and_tries_it(play, config, s3, s3_client, bucket):
    second = f"copies-{bucket}"
    config.change(**second_store(s3, second))
    there = ("-e", json.dumps({"backup_copy_to": {"bucket": second}}))
    setup = bucket_of_setup(config.path.parent)
    shown = play(str(setup), *there)
    assert f"bucket {second}: fit for backups (" in shown
    assert s3_client.list_objects_v2(Bucket=second)["KeyCount"] == 0
    again = play(str(setup), *there)
    assert "changed=0" in again
    assert "fit for backups" not in again
    config.change(COPY_SECRET_ACCESS_KEY="another")
    told = " ".join(play(str(setup), *there, status=2).split())
    assert "the secret key does not fit the access key" in told
    assert "Check backup_copy_to.secret_key" in told


def bucket_of_setup(folder: Path) -> Path:
    """What setup.yml does for the bucket, and what it says of the store before the first backup."""
    tasks = [{"import_role": {"name": "bucket", "tasks_from": name}} for name in ("main", "check")]
    setup = folder / "setup.yml"
    known = {"backup_ready": True, "backup_user": "nobody"}
    head = {"hosts": "all", "gather_facts": False, "vars": known}
    setup.write_text(json.dumps([head | {"tasks": tasks}]))
    return setup


def second_store(server, bucket: str) -> dict[str, str]:
    """The lines of a config."""
    return {
        "COPY_ENDPOINT_URL": server.endpoint_url,
        "COPY_BUCKET_NAME": bucket,
        "COPY_ACCESS_KEY_ID": server.access_key,
        "COPY_SECRET_ACCESS_KEY": server.secret_key,
    }


def test_when_the_first_store_is_gone_the_playbooks_take_the_second(
    play, filled, config, s3, new_bucket
):
    config.change(**second_store(s3, new_bucket(s3)))
    taken = engine.answer(engine.run(config.path, "backup", "--json"))["backup"]
    assert engine.run(config.path, "copy").returncode == 0
    filled.execute("DELETE FROM users")
    config.change(S3_ENDPOINT_URL="http://127.0.0.1:9")
    for typed in (("list",), ("restore", "-e", "backup=latest")):
        told = " ".join(play(*typed, status=2).split())
        assert "nothing answers at http://127.0.0.1:9" in told
        assert f"{filled.name}: {taken}: add -e from=copy" in told
    assert taken in play("list", "-e", "from=copy")
    play("restore", "-e", "backup=latest", "-e", "from=copy")
    assert filled.execute("SELECT count(*) FROM users")[0][0] == 1000


def test_setup_counts_what_was_made_before_there_was_a_key_and_signs_it_when_told(
    play, filled, config, s3_client, bucket, tmp_path
):
    """What setup.yml does behind installing."""
    at = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)
    made = engine.forge(s3_client, bucket, at, database=filled.name, signed=False)
    tasks = [{"import_role": {"name": "backup", "tasks_from": "first_backup"}}]
    setup = tmp_path / "setup.yml"
    known = {"backup_ready": True, "__backup_config_written": {"changed": True}}
    known["app_needs"] = ["/srv/crm/.env"]  # as the role app has found it
    head = {"hosts": "all", "gather_facts": False, "vars": known}
    setup.write_text(json.dumps([head | {"tasks": tasks}]))
    offer = "signed: 1. Yours? ansible-playbook setup.yml -e adopt=true --limit db1"
    shown = play(str(setup))
    assert offer in re.sub(r"\s+", " ", shown)
    assert "changed=0" in shown
    assert "would lack /srv/crm/.env: neither" in re.sub(r"\s+", " ", shown)
    config.change(RETENTION_DAYS=30, PING_URL="http://127.0.0.1:9/tokentoken")
    shown = play(str(setup), "-e", "adopt=true")
    assert "Setting changed: RETENTION_DAYS: not set -> 30" in shown
    assert "Setting changed: PING_URL: changed" in shown
    assert "tokentoken" not in shown
    assert f"adopted  {made}, restored" in shown
    assert "Yours?" not in shown
    key = f"postgres-backup/manifests/{made.partition('.')[0]}.json.sig"
    assert s3_client.head_object(Bucket=bucket, Key=key)


def test_a_copy_beside_the_live_database(play, filled):
    backup = re.search(r"postgres-backup-\d{4}-\S+\.sql\.gz", play("backup"))[0]
    look = f"{filled.name}_look"
    words = ("restore", "-e", f"backup={backup}", "-e", f"copy_as={look}", "-e", "keep_days=3")
    assert "holds all of the backup" in play(*words, "-e", "tables=users", status=2)
    assert f"stands beside it as {look}: 1000 rows" in play(*words)
    assert filled.execute("SELECT count(*) FROM users", look) == [(1000,)]


def test_chosen_tables_and_no_rows_as_typed(play, s3_client, bucket):
    assert "1000 rows" in play("backup", "-e", "tables=users,public.users")
    assert ": 0 rows" in play("backup", "-e", "schema_only=true")
    names = [
        item["Key"]
        for item in s3_client.list_objects_v2(Bucket=bucket, Prefix="postgres-backup/partial/")[
            "Contents"
        ]
    ]
    assert len([name for name in names if name.endswith(".schema.sql.gz")]) == 1
    assert "Contents" not in s3_client.list_objects_v2(
        Bucket=bucket, Prefix="postgres-backup/postgres-backup-"
    )


def test_prune_has_nothing_to_do_twice(play):
    play("backup")
    for options in (["--check", "--diff"], [], []):
        shown = play("prune", *options)
        assert "changed=0" in shown
        assert "kept 1 backups" in shown


def test_a_failure_keeps_the_words_of_the_module(play, config):
    config.change(DB_PASSWORD="wrong")
    shown = re.sub(r"\s+", " ", play("backup", status=2))
    assert shown.count("Check backup_db_user and backup_db_password") == 1
    assert "exit_status: 1" not in shown
    assert "exit_status: 1" in re.sub(r"\s+", " ", play("backup", "-v", status=2))


def test_status_fails_without_a_backup(play, filled):
    assert f"{filled.name} has no good backup" in play("status", status=2)


def test_a_drill_with_the_postgresql_of_another_host(
    play, config, filled, new_config, postgres_server, s3, bucket
):
    """A newer one, which has none of the roles."""
    play("backup")
    there = postgres_server(18)
    facts = {"DB_HOST": there.host, "DB_PORT": there.port, "DB_NAME": "others"}
    facts |= {"DB_USER": there.superuser, "DB_PASSWORD": there.password}
    facts |= {"PG_BIN_DIR": there.bin_dir, "SERVER_NAME": "spare"}
    spare = new_config(filled, s3, bucket, **facts)
    spare.change(TRUSTED_SIGNERS_FILE=config.settings.trusted_signers_file)
    paths = json.dumps({"db1": str(config.path), "spare": str(spare.path)})
    words = ("-i", "db1,spare,", "-e", "backup_hosts=db1", "-e", "backup_drill_host=spare")
    chosen = ("-e", json.dumps({"backup_config_file": f"{{{{ {paths}[inventory_hostname] }}}}"}))
    before = there.execute("SELECT datname FROM pg_database ORDER BY 1")
    said = play("drill", *words, *chosen)
    assert f"{filled.name}: the drill of" in said
    assert "passed: 1000 rows" in said
    assert config.settings.s3_secret_key not in said
    assert there.execute("SELECT datname FROM pg_database ORDER BY 1") == before
    refused = play("drill", *words[:-1], "backup_drill_host=db1", *chosen, status=2)
    assert "passed: 1000 rows" in play("drill")  # and on the server itself, where none is named
    assert "is another host of the inventory than db1" in re.sub(r"\s+", " ", refused)


def test_the_escrowed_key_opens_the_newest_backup_and_kit(play, config, filled, tmp_path):
    """Given for the call, it is nowhere on the server's disk; another is named as wrong."""
    app = tmp_path / "app"
    app.mkdir()
    (app / ".env").write_text("SECRET=1\n")
    files, private = {}, {}
    for name in ("right", "wrong"):
        files[name] = tmp_path / f"{name}.key"
        subprocess.run(["age-keygen", "-o", files[name]], check=True, capture_output=True)
        private[name] = files[name].read_text().splitlines()[-1]
    public = files["right"].read_text().split("public key: ")[1].split()[0]
    settings = config.change(AGE_RECIPIENTS=public, BACKUP_PATHS=f"'{app}'")
    made = create_backup(Job(settings))["backup"], create_kit(Job(settings))["kit"]
    assert all(name.endswith(".age") for name in made)

    said = play("drill", "-vvv", "-e", f"backup_age_identity_file={files['right']}")
    assert f"{filled.name}: the drill of {made[0]} passed: 1000 rows" in said
    refused = play("drill", "-vvv", "-e", f"backup_age_identity_file={files['wrong']}", status=2)
    assert refused.count("code: KEY_WRONG") == 2  # the backup's and the kit's
    assert all(name in refused for name in made)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in files.values():
            assert not any(key.encode() in path.read_bytes() for key in private.values()), path
    assert not any(key in said + refused for key in private.values())
