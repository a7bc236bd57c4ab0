"""The playbooks read well to Ansible, and see a user's variables whichever way they are called."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.yml"), *(ROOT / "playbooks").glob("*.yml")]
)
COPIED = (
    "action_plugins",
    "callback_plugins",
    "doc_fragments",
    "library",
    "module_utils",
    "playbooks",
    "roles",
    "requirements",
)


def play(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """``ansible-playbook`` as typed in a folder; nothing of this environment's own settings of
    Ansible.
    """
    settings = {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_GATHERING": "explicit"} | environment
    return subprocess.run(
        [ansible_runs.PLAYBOOK, *words],
        cwd=folder,
        env=ansible_runs.environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout with the files that a user copies from the examples; the host is this
    machine, and nothing becomes root.
    """
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in COPIED:
        (folder / name).symlink_to(ROOT / name)
    for name in ("ansible.cfg", "setup.yml", "restore.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "inventory",
        folder / "inventory",
        symlinks=True,
        ignore=shutil.ignore_patterns("hosts.yml"),
    )
    (folder / "group_vars").mkdir()
    hosts = yaml.safe_load((ROOT / "inventory" / "hosts.example.yml").read_text())
    hosts["all"]["vars"] = {"ansible_python_interpreter": sys.executable, "ansible_become": False}
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return folder


def flat(output: str) -> str:
    return re.sub(r"\s+", " ", output)


def test_every_playbook_passes_the_syntax_check():
    assert len(PLAYBOOKS) >= 9
    done = play(ROOT, "-i", "inventory/hosts.example.yml", "--syntax-check", *PLAYBOOKS)
    assert done.returncode == 0, done.stdout


def test_the_root_playbooks_only_import_their_namesakes():
    for path in ROOT.glob("*.yml"):
        assert [
            task["ansible.builtin.import_playbook"] for task in yaml.safe_load(path.read_text())
        ] == [f"playbooks/{path.name}"]


@pytest.mark.parametrize(
    ("playbook", "variables"),
    [
        ("setup.yml", "group_vars/all.yml"),
        ("playbooks/setup.yml", "group_vars/all.yml"),
        ("setup.yml", "group_vars/all/mine.yml"),
    ],
)
def test_both_ways_of_calling_see_the_variables_and_what_is_missing_is_said_first(
    checkout, playbook, variables
):
    (checkout / variables).parent.mkdir(exist_ok=True)
    (checkout / variables).write_text(
        "backup_db_name: crm\nbackup_s3_bucket: seen\nbackup_db_password: ''\n"
    )
    done = play(checkout, playbook)
    assert done.returncode == 2, done.stdout
    missing = re.search(r"Not set for db1: ([\w, ]+)\.", flat(done.stdout))[1].split(", ")
    assert missing == [
        "backup_db_user",
        "backup_db_password",
        "backup_s3_endpoint_url",
        "backup_s3_access_key",
        "backup_s3_secret_key",
    ]
    assert "group_vars/all.example.yml" in done.stdout
    assert "changed=0" in done.stdout


def test_the_example_asks_for_the_secrets_of_the_environment(checkout):
    shutil.copy(ROOT / "group_vars" / "all.example.yml", checkout / "group_vars" / "all.yml")
    environment = {
        "BACKUP_DB_PASSWORD": "x",
        "BACKUP_S3_ACCESS_KEY": "y",
        "BACKUP_S3_SECRET_KEY": "",
    }
    done = play(checkout, "setup.yml", **environment)
    assert "Not set for db1: backup_s3_secret_key." in flat(done.stdout)


def test_a_time_that_yaml_makes_a_number_is_refused_by_name(checkout):
    shutil.copy(ROOT / "group_vars" / "all.example.yml", checkout / "group_vars" / "all.yml")
    environment = {
        "BACKUP_DB_PASSWORD": "x",
        "BACKUP_S3_ACCESS_KEY": "y",
        "BACKUP_S3_SECRET_KEY": "z",
    }
    done = play(checkout, "setup.yml", "-e", '{"backup_schedule_time": 5400}', **environment)
    assert done.returncode == 2
    said = 'backup_schedule_time is a quoted time of day in UTC, two digits each, such as "07:00"'
    assert said in flat(done.stdout)


def test_a_host_for_drills_that_is_no_host_is_refused_by_setup(checkout):
    shutil.copy(ROOT / "group_vars" / "all.example.yml", checkout / "group_vars" / "all.yml")
    names = ("BACKUP_DB_PASSWORD", "BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY")
    environment = dict.fromkeys(names, "x")
    done = play(checkout, "setup.yml", "-e", "backup_drill_host=db9", **environment)
    assert done.returncode == 2
    said = "backup_drill_host is another host of the inventory, or empty (here: db9;"
    assert said in flat(done.stdout)


def test_what_is_beyond_reason_is_refused_by_name_before_anything_is_touched(checkout):
    shutil.copy(ROOT / "group_vars" / "all.example.yml", checkout / "group_vars" / "all.yml")
    environment = {
        "BACKUP_DB_PASSWORD": "x",
        "BACKUP_S3_ACCESS_KEY": "y\n",
        "BACKUP_S3_SECRET_KEY": "z",
    }
    odd = {
        "backup_retention_days": "9" * 5000,
        "backup_keep_weekly": -1,
        "backup_db_port": 70000,
        "backup_s3_region": "eu west",
        "backup_fresh_hours": 0,
        "backup_server_name": "a\nb",
    }
    done = play(checkout, "setup.yml", "-e", json.dumps(odd), **environment)
    assert done.returncode == 2
    told = re.search(r"Beyond reason for db1: (.+?)\.", flat(done.stdout))[1].split("; ")
    assert {said.split()[0] for said in told} == {*odd, "backup_s3_access_key"}
    assert "changed=0" in done.stdout


def test_a_second_store_that_is_none_is_refused_by_name_before_anything_is_touched(checkout):
    shutil.copy(ROOT / "group_vars" / "all.example.yml", checkout / "group_vars" / "all.yml")
    environment = dict.fromkeys(
        ("BACKUP_DB_PASSWORD", "BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY"), "x"
    )
    odd = {
        "endpoint_url": "https://object.pscloud.io/",
        "bucket": "my-company-backups",
        "access_key": "a\nb",
        "region": "eu west",
        "retention_days": 99999,
    }
    done = play(checkout, "setup.yml", "-e", json.dumps({"backup_copy_to": odd}), **environment)
    assert done.returncode == 2
    told = flat(done.stdout)
    for said in (
        "In backup_copy_to for db1: secret_key is not set",
        "region is a name such as us-east-1",
        "retention_days is 1 to 36500",
        "this is the first store: name another bucket, at another provider",
        "access_key is one line",
    ):
        assert said in told
    assert "changed=0" in done.stdout
    slip = {"backup_copy_to": odd | {"retention_day": 3}}
    done = play(checkout, "setup.yml", "-e", json.dumps(slip), **environment)
    assert done.returncode == 2
    assert "retention_day" in flat(done.stdout)


def test_without_an_inventory_it_fails_instead_of_doing_nothing(checkout):
    (checkout / "inventory" / "hosts.yml").unlink()
    done = play(checkout, "setup.yml")
    assert done.returncode != 0
    assert "inventory/hosts.yml" in done.stdout


@pytest.mark.parametrize("playbook", ["restore.yml", "playbooks/restore.yml"])
def test_a_restore_without_a_backup_asks_which(checkout, playbook):
    done = play(checkout, playbook)
    assert done.returncode == 2
    assert (
        "Which backup? ansible-playbook restore.yml -e backup=latest (see playbooks/list.yml)"
        in flat(done.stdout)
    )


@pytest.mark.parametrize("playbook", ["restore.yml", "playbooks/undo_restore.yml"])
def test_several_servers_are_not_restored_at_once_by_oversight(checkout, playbook):
    inventory = (
        "-i",
        "db1,db2",
        "-e",
        "ansible_connection=local",
        "-e",
        "backup=latest",
        "-e",
        "backup_become=false",
    )
    done = play(checkout, playbook, *inventory)
    assert done.returncode == 2
    assert "Which server? There are 2: add --limit db1" in flat(done.stdout)
    limited = play(checkout, playbook, *inventory, "--limit", "db2")
    assert "Which server?" not in limited.stdout
    assert (
        "postgres-backup is not installed on db2: ansible-playbook setup.yml --limit db2"
        in flat(limited.stdout)
    )


def test_every_playbook_that_calls_a_module_first_sees_that_the_program_is_there():
    for verb in ("backup", "list", "prune", "status", "undo_restore", "restore"):
        (only,) = yaml.safe_load((ROOT / "playbooks" / f"{verb}.yml").read_text())
        works = next(
            n
            for n, task in enumerate(only["tasks"])
            if any(
                key.startswith(("postgres_backup_", "ansible.builtin.include_tasks"))
                for key in task
            )
        )
        before = {
            task.get("ansible.builtin.import_role", {}).get("tasks_from")
            for task in only["tasks"][:works]
        }
        assert before & {"installed", "one_server"}, verb


def test_the_report_sees_that_too_and_goes_on():
    (only,) = yaml.safe_load((ROOT / "playbooks/tasks/report_ask.yml").read_text())
    assert only["block"][0]["ansible.builtin.import_role"]["tasks_from"] == "installed"
    assert only["rescue"]


def test_a_server_without_the_program_says_what_to_type(checkout):
    done = play(
        checkout,
        "playbooks/status.yml",
        "-e",
        f"backup_program_dir={checkout}/none",
        "-e",
        "backup_become=false",
    )
    assert done.returncode == 2
    assert (
        "postgres-backup is not installed on db1: ansible-playbook setup.yml --limit db1"
        in flat(done.stdout)
    )


@pytest.mark.parametrize(
    ("settings", "options", "why"),
    [
        ({}, (), "from what backup_pitr has archived, and it is not set for db1"),
        ({"backup_pitr": True}, ("-e", "backup=crm-2026.sql.gz"), "crm-2026.sql.gz is a nightly"),
        (
            {"backup_pitr": True, "backup_app_dir": "/srv/crm", "app_db_service": "db"},
            (),
            "or in a container that docker compose begins: backup_db_container is its name",
        ),
        ({"backup_pitr": True, "backup_db_container": "db"}, (), "that docker compose begins"),
        (
            {
                "backup_pitr": True,
                "backup_db_container": "db",
                "backup_app_dir": "/srv/crm",
                "backup_app_start": "systemctl start crm",
                "backup_app_stop": "systemctl stop crm",
            },
            (),
            "the folder of compose.yml (without backup_app_start)",
        ),
        (
            {
                "backup_pitr": True,
                "backup_db_container": "db",
                "backup_app_dir": "/srv/crm",
                "app_db_service": "",
            },
            (),
            "and app_db_service the service",
        ),
        ({"backup_pitr": True, "backup_db_host": "db.example.com"}, (), "at db.example.com"),
        (
            {"backup_pitr": True},
            ("-e", "target_time=2026-01-27T14:03:00"),
            "target_time is a moment with its zone, Z for UTC",
        ),
        (
            {"backup_pitr": True},
            ("-e", "target_time=2026-01-27T14:03:00Z", "-e", "from=copy"),
            "target_time is for -e from=pitr",
        ),
    ],
)
def test_a_rebuild_to_the_last_second_that_cannot_be_is_refused_before_anything(
    checkout, settings, options, why
):
    settings = {
        "backup_db_name": "crm",
        "backup_db_user": "crm",
        "backup_db_password": "x",
        "backup_s3_endpoint_url": "https://s3.example.com",
        "backup_s3_bucket": "b",
        "backup_s3_access_key": "a",
        "backup_s3_secret_key": "s",
        **settings,
    }
    (checkout / "group_vars/all.yml").write_text(yaml.safe_dump(settings))
    done = play(checkout, "playbooks/rebuild.yml", "-e", "from=pitr", *options)
    assert done.returncode == 2, done.stdout
    assert why in flat(done.stdout), done.stdout
    assert "changed=0" in done.stdout
