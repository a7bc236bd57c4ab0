"""Where in the bucket the role lets a server write: what its config says after one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from postgres_backup.machine.config_file import parse
from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[2]
#: as 0.1.0 has written it, and a version of today where nobody has set backup_s3_prefix
STANDS = "# ansible-playbook setup.yml\nSERVER_NAME=stands\nS3_PREFIX=postgres-backup\n"
TASKS = [
    {"ansible.builtin.import_role": {"name": "backup", "tasks_from": name}}
    for name in ("place", "config")
]


def test_who_stands_keeps_its_place_and_a_new_one_has_a_folder(s3, bucket, new_bucket, tmp_path):
    """Of those that share a bucket; who has one to itself has no use for a folder."""
    hosts = {
        "new": {},
        "beside": {"backup_server_name": "db 2"},
        "stands": {},
        "told": {"backup_s3_prefix": "mine"},
        "alone": {"backup_s3_bucket": new_bucket(s3)},
        "scripts": {"__backup_moving": True},
    }
    for name, variables in hosts.items():
        config = tmp_path / name / "backup-config.env"
        config.parent.mkdir()
        variables["backup_config_file"] = str(config)
    Path(hosts["stands"]["backup_config_file"]).write_text(STANDS)
    common = {
        "backup_db_name": "crm",
        "backup_db_user": "crm",
        "backup_db_password": "secret",
        "backup_s3_endpoint_url": s3.endpoint_url,
        "backup_s3_bucket": bucket,
        "backup_s3_access_key": s3.access_key,
        "backup_s3_secret_key": s3.secret_key,
        "backup_become": False,
        "backup_ready": True,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "backup_python": sys.executable,
    }
    inventory = {"all": {"hosts": hosts, "vars": common}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    play = {"hosts": "all", "gather_facts": False, "tasks": TASKS}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [ansible_runs.PLAYBOOK, "-vvv", "-i", "hosts.json", "play.yml"],
        cwd=tmp_path,
        env=ansible_runs.environment(ANSIBLE_CONFIG=str(ROOT / "ansible.cfg")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert {
        name: parse(Path(variables["backup_config_file"]).read_text())["S3_PREFIX"]
        for name, variables in hosts.items()
    } == {
        "new": "postgres-backup/new",
        "beside": "postgres-backup/db%202",
        "stands": "postgres-backup",
        "told": "mine",
        "alone": "postgres-backup",
        "scripts": "postgres-backup",
    }
    said = " ".join(done.stdout.split())
    assert "Backups go to postgres-backup/new/ in the bucket: a folder of its own" in said
    assert "Backups go to mine" not in said
    assert s3.secret_key not in done.stdout
