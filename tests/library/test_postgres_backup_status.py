"""Ask for the state of the backups through the module."""

from __future__ import annotations

NAME = "postgres_backup_status"


def test_no_backup_is_an_answer_and_not_a_failure(
    run_module, says_what_it_returns, config, database
):
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert not answer["healthy"]
    assert not answer.get("failed")
    assert [finding["code"] for finding in answer["findings"]] == ["NO_BACKUP"]


def test_a_fresh_backup_is_healthy(run_module, config, filled):
    made = run_module("postgres_backup_create", config=config.path)
    answer = run_module(NAME, check=True, config=config.path)
    assert answer["healthy"]
    assert answer["databases"][filled.name]["last"]["backup"] == made["backup"]
    assert any(made["backup"] in line for line in answer["lines"])
    assert not answer["changed"]
    narrow = run_module(NAME, check=True, config=config.path, columns=78)["lines"]
    assert max(map(len, narrow)) <= 78 < max(map(len, answer["lines"]))
    assert len(narrow) > len(answer["lines"])
