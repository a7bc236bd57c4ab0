"""Ask the server which PostgreSQL it is, through the module."""

from __future__ import annotations

import pytest

NAME = "postgres_backup_server_info"


@pytest.mark.every_major
def test_each_major_with_its_programs(run_module, says_what_it_returns, config, postgres):
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert answer["major"] == postgres.major
    assert answer["client_version"].split(".")[0] == str(postgres.major)
    assert answer["createdb"]
    assert not answer["superuser"]
    assert not answer["changed"]


def test_programs_of_another_major_are_none(run_module, config, postgres, tmp_path):
    config.change(PG_BIN_DIR=tmp_path)
    assert run_module(NAME, config=config.path)["client_version"] == ""


def test_a_server_that_is_not_there_says_what_to_check(run_module, config):
    config.change(DB_PORT=1)
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert "backup_db_host" in answer["msg"]


def test_a_server_on_which_the_database_is_still_to_be_made(
    run_module, says_what_it_returns, config, postgres
):
    """As on the new machine of a lost server."""
    config.change(DB_NAME="not_there_yet")
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert answer["tables"] == {"not_there_yet": None}
    assert answer["major"] == postgres.major
