"""List the backups through the module."""

from __future__ import annotations

NAME = "postgres_backup_info"


def test_an_empty_bucket_is_an_empty_list(run_module, says_what_it_returns, config):
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert answer["backups"] == []
    assert len(answer["table"]) == 1
    assert not answer["changed"]


def test_a_backup_is_listed_with_what_is_known_of_it(
    run_module, says_what_it_returns, config, filled
):
    made = run_module("postgres_backup_create", config=config.path)
    answer = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, answer)
    (listed,) = answer["backups"]
    for key in ("backup", "database", "key", "bytes", "dump_bytes", "rows", "sha256"):
        assert listed[key] == made[key]
    assert listed["ours"]
    assert listed["keep"]
    assert any(made["backup"] in line and "1,000" in line for line in answer["table"])
    assert not answer["changed"]


def test_an_unknown_database_is_refused(run_module, config):
    answer = run_module(NAME, config=config.path, database="nobody's")
    assert answer["failed"]
    assert answer["exit_status"] == 2


def test_a_check_is_of_the_config_that_would_be_written(run_module, config):
    text = config.path.read_text()
    config.write(S3_BUCKET_NAME="another-bucket")
    assert run_module(NAME, check=True, config=config.path)["failed"]
    assert "failed" not in run_module(NAME, check=True, config=config.path, config_text=text)
    assert run_module(NAME, config=config.path, config_text=text)["failed"]
    config.path.unlink()
    answer = run_module(NAME, check=True, config=config.path, config_text=text)
    assert ("failed" not in answer, config.path.exists()) == (True, False)
    wrong = run_module(NAME, check=True, config=config.path, config_text="DB_NAME")
    assert wrong["failed"]
    assert config.values["DB_PASSWORD"] not in str(wrong)
