"""The modules of the keys: that of a server, and those that a controller keeps."""

from __future__ import annotations

import stat
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
