"""The modules of the keys: that of a server, and those that a controller keeps."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

KEY, SIGNERS = "postgres_backup_key", "postgres_backup_signers"
#: of a server that nobody asks
CONFIG = """
SERVER_NAME='db 1'
DB_NAME=crm
DB_USER=crm
S3_ENDPOINT_URL=http://127.0.0.1:1
S3_BUCKET_NAME=bucket
AWS_ACCESS_KEY_ID=a
AWS_SECRET_ACCESS_KEY=b
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "etc/backup-config.env"
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text(CONFIG)
    return path


def test_the_key_is_made_once_and_only_its_public_half_is_told(
    run_module, says_what_it_returns, config
):
    file = config.with_name("signing.key")
    would = run_module(KEY, check=True, config=config)
    says_what_it_returns(KEY, would, check=True)
    assert (would["changed"], would["public_keys"]) == (True, [])
    assert not file.exists()
    made = run_module(KEY, config=config)
    says_what_it_returns(KEY, made)
    assert made["changed"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made["public_key"] in file.with_name("signing.key.pub").read_text()
    assert not run_module(KEY, config=config)["changed"]
    assert run_module(KEY, check=True, config=config, rotate=True)["changed"]
    new = run_module(KEY, config=config, rotate="yes")
    assert (new["changed"], new["replaced"]) == (True, made["fingerprint"])
    assert new["public_keys"] == [new["public_key"], made["public_key"]]
    assert not any(line in str(new) for line in file.read_text().split("\n")[1:-2])


def test_the_controller_keeps_it_and_makes_the_list(
    run_module, says_what_it_returns, config, tmp_path
):
    made = run_module(KEY, config=config)
    given = {
        "folder": tmp_path / "keys",
        "server_name": "db 1",
        "public_keys": made["public_keys"],
    }
    would = run_module(SIGNERS, check=True, **given)
    says_what_it_returns(SIGNERS, would, check=True)
    assert would["changed"]
    assert would["trusted_signers"].endswith(f"{made['trusted_signers']}\n")
    assert not (tmp_path / "keys").exists()
    kept = run_module(SIGNERS, **given)
    says_what_it_returns(SIGNERS, kept)
    assert (kept["changed"], kept["added"]) == (True, [made["fingerprint"]])
    assert made["public_key"] in kept["diff"]["after"]
    assert made["public_key"] in Path(kept["file"]).read_text()
    again = run_module(SIGNERS, **given)
    assert "diff" not in again
    assert (again["changed"], again["trusted_signers"]) == (False, would["trusted_signers"])


def test_a_server_that_nobody_knows_is_named(run_module, tmp_path):
    given = {"folder": tmp_path, "server_name": "db1", "trusted": ["production"]}
    answer = run_module(SIGNERS, **given)
    assert (answer["failed"], answer["exit_status"]) == (True, 2)
    assert "There is no public key of production" in answer["msg"]
    assert "backup_trusted_signers" in answer["msg"]
    assert not run_module(SIGNERS, check=True, **given).get("failed")


def test_what_asks_no_server_runs_within_ansible(tmp_path):
    """No Python is started for it: each would cost the controller more than the rest of a task."""
    root, folder = Path(__file__).resolve().parents[2], tmp_path / "keys"

    def call(*options: str, **arguments: object) -> subprocess.CompletedProcess:
        given = {"folder": str(folder), "server_name": "db1", **arguments}
        words = ["localhost", "-i", "localhost,", "-m", SIGNERS, "-a", json.dumps(given), *options]
        variables = {"ansible_connection": "local", "ansible_python_interpreter": "/nowhere/python"}
        return subprocess.run(
            [Path(sys.executable).with_name("ansible"), *words, "-e", json.dumps(variables)],
            cwd=root,
            env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPZXE8DyCqQlpLFLjKYfBfHBgmTIsXZeuDFaYX6Y/2B"
    would = call("--check", public_keys=[key])
    assert "CHANGED" in would.stdout, would.stdout + would.stderr
    assert not folder.exists()
    assert "CHANGED" in call(public_keys=[key]).stdout
    assert key in (folder / "db1.pub").read_text()
    refused = call(trusted=["production"])
    assert (refused.returncode, "FAILED" in refused.stdout) == (2, True)
    assert "There is no public key of production" in refused.stdout
    assert "exit_status: 2" in refused.stdout
    strange = call(verb="add")
    assert "Unsupported parameters" in strange.stdout + strange.stderr
