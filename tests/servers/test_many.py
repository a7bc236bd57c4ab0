"""Two servers in one run, one of them broken: the other is not held up, and the summary names the
broken one.
"""

from __future__ import annotations

import re
import secrets

import pytest

from tests.servers.controller import Controller

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def pair(lab, lab_s3, new_module_server, tmp_path_factory):
    controller = Controller(lab, tmp_path_factory.mktemp("many") / "controller")
    servers = []
    for name in ("broken", "sound"):  # the broken one first: whoever comes after it must not wait
        server = new_module_server("trixie", layer="ready", name=name)
        password = secrets.token_urlsafe(18)
        server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'")
        server.sql("CREATE DATABASE crm OWNER crm")
        server.sql(
            "SET ROLE crm; CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n",
            "crm",
        )
        controller.add(
            server,
            backup_db_name="crm",
            backup_db_user="crm",
            backup_db_password=password,
        )
        servers.append(server)
    store = {
        "backup_s3_endpoint_url": lab_s3.endpoint_url,
        "backup_s3_bucket": f"backups-{secrets.token_hex(4)}",
    }
    controller.variables(
        **store, backup_s3_access_key=lab_s3.access_key, backup_s3_secret_key=lab_s3.secret_key
    )
    return controller, *servers


@pytest.fixture(scope="module")
def both_set_up(pair):
    """What a setup of both said, while the database of one was away."""
    controller, broken, _ = pair
    broken.inside("systemctl", "stop", "postgresql")
    return controller.run("setup.yml", check=False, timeout=1400)


def test_a_server_without_its_database_does_not_keep_the_other_from_its_setup(pair, both_set_up):
    _, _, sound = pair
    play = both_set_up
    assert play.status == 2
    assert play.recap["broken"]["failed"] == 1
    assert play.recap["sound"] == play.recap["sound"] | {"failed": 0, "unreachable": 0}
    assert "Failed to reach PostgreSQL" in " ".join(play.output.split())
    assert sound.inside("/usr/local/bin/postgres-backup", "status").returncode == 0


def test_each_has_a_folder_of_its_own_in_the_bucket_that_they_share(pair, both_set_up):
    _, broken, sound = pair
    for server in (broken, sound):
        config = server.inside("cat", "/etc/postgres-backup/backup-config.env").stdout
        assert f"\nS3_PREFIX=postgres-backup/{server.name}\n" in config
    said = " ".join(both_set_up.output.split())
    assert "Backups go to postgres-backup/sound/ in the bucket: a folder of its own" in said


def test_one_that_cannot_be_reached_does_not_keep_the_other_from_its_backup(pair, both_set_up):
    controller, broken, _ = pair
    broken.link(False)
    try:
        play = controller.run("playbooks/backup.yml", check=False, timeout=600)
    finally:
        broken.link(True)
    assert play.status == 4
    assert play.recap["broken"]["unreachable"] == 1
    assert play.recap["sound"] == play.recap["sound"] | {"failed": 0, "unreachable": 0}
    taken = re.findall(r"(postgres-backup-\S+) is in the bucket: 100 rows", play.output)
    assert len(taken) == 1  # told as it happens, and not once more at the end


def test_a_restore_of_both_is_asked_for_by_name_and_the_broken_one_says_where_it_stands(
    pair, both_set_up
):
    controller, broken, sound = pair
    broken.inside("systemctl", "start", "postgresql")
    refused = controller.run("restore.yml", "-e", "backup=latest", check=False)
    assert "Which server? There are 2" in refused.output
    play = controller.run("restore.yml", "-e", "backup=latest", "--limit", "all", check=False)
    said = " ".join(play.output.split())
    assert play.recap["sound"]["failed"] == 0
    assert play.recap["broken"]["failed"] == 1  # it never got as far as a backup of its own
    assert "1. The live database is untouched." in said
    assert "--limit broken" in said
    assert sound.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'crm_before_%'") == "1"


def test_once_both_are_set_up_nothing_changes_on_either(pair, both_set_up):
    """What one sets on the bucket that they share is not undone for the other."""
    controller, broken, _ = pair
    broken.inside("systemctl", "start", "postgresql")
    controller.run("setup.yml", "--limit", "broken")
    play = controller.run("setup.yml")
    assert {name: hosts["changed"] for name, hosts in play.recap.items()} == {
        "broken": 0,
        "sound": 0,
    }
