"""See through the module that alarms arrive."""

from __future__ import annotations

import pytest

from tests.services.receivers import HttpReceiver

NAME = "postgres_backup_alert_test"


@pytest.fixture
def web():
    with HttpReceiver() as receiver:
        yield receiver


def test_each_address_has_one_test_in_its_life(run_module, says_what_it_returns, config, web):
    config.change(ALERT_URLS=f"json://127.0.0.1:{web.port}/a-secret-token")
    planned = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, planned, check=True)
    assert (planned["changed"], planned["addresses"], web.requests) == (True, ["json"], [])
    answer = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, answer)
    assert (answer["changed"], answer["sent"], len(web.requests)) == (True, 1, 1)
    again = run_module(NAME, config=config.path)
    assert (again["changed"], again["sent"], len(web.requests)) == (False, 0, 1)
    assert run_module(NAME, config=config.path, only_new=False)["sent"] == 1


def test_one_that_cannot_be_reached_fails_without_its_secret(run_module, config, web):
    web.status = 500
    config.change(ALERT_URLS=f"json://127.0.0.1:{web.port}/a-secret-token")
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert "number 1 (json)" in answer["msg"]
    assert "a-secret-token" not in str(answer)


def test_a_new_address_of_the_dead_mans_switch_hears_a_first_sign_once(
    run_module, says_what_it_returns, config, web
):
    config.change(PING_URL=f"{web.url}/ping/first-secret")
    planned = run_module(NAME, check=True, config=config.path, ping=True)
    assert (planned["changed"], planned["pinged"], web.paths) == (True, True, [])
    answer = run_module(NAME, config=config.path, ping=True)
    says_what_it_returns(NAME, answer)
    assert (answer["changed"], answer["pinged"], answer["sent"]) == (True, True, 0)
    assert web.paths == ["/ping/first-secret"]
    again = run_module(NAME, config=config.path, ping=True)
    assert (again["changed"], again["pinged"], len(web.paths)) == (False, False, 1)
    # another address is a new one, and a wrong one is told and tried again
    config.change(PING_URL=f"{web.url}/ping/second-secret")
    web.status = 404
    refused = run_module(NAME, config=config.path, ping=True)
    assert refused["failed"]
    assert "could not be told of success (backup_ping_url): HTTP status 404" in refused["msg"]
    assert "Compare backup_ping_url" in refused["msg"]
    assert "second-secret" not in str(refused)
    web.status = 200
    assert run_module(NAME, config=config.path, ping=True)["pinged"]
    assert run_module(NAME, config=config.path, ping=False)["failed"]  # there is nobody to tell
