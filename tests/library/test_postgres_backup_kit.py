"""The server kit through the module."""

from __future__ import annotations

import pyrage

NAME = "postgres_backup_kit"


def test_saved_and_put_back(
    run_module, says_what_it_returns, config, filled, tmp_path, s3_client, bucket
):
    app = tmp_path / "app"
    app.mkdir()
    (app / ".env").write_text("PASSWORD=x")
    key = pyrage.x25519.Identity.generate()
    config.change(BACKUP_PATHS=app, AGE_RECIPIENTS=key.to_public())

    plan = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, plan, check=True)
    assert (plan["changed"], plan["files"], plan["file_bytes"]) == (True, 2, 10)
    assert "Contents" not in s3_client.list_objects_v2(Bucket=bucket, Prefix="postgres-backup/kit/")

    made = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, made)
    assert made["kit"].endswith(".tar.gz.age")
    assert made["deleted"] == []

    back = {
        "config": config.path,
        "state": "restored",
        "to": tmp_path / "back",
        "identities": [str(key)],
    }
    would = run_module(NAME, check=True, **back)
    says_what_it_returns(NAME, would, check=True)
    assert not (tmp_path / "back").exists()
    done = run_module(NAME, **back)
    says_what_it_returns(NAME, done)
    assert done["kit"] == made["kit"]
    assert (tmp_path / "back" / str(app).lstrip("/") / ".env").read_text() == "PASSWORD=x"
    assert str(key) not in str(done)


def test_secrets_in_the_clear_are_refused_by_name(run_module, config, filled, tmp_path):
    config.change(BACKUP_PATHS=tmp_path)
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert "backup_kit_plain: true" in answer["msg"]
