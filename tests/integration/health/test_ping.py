"""The dead-man's switch: signs of life to a real web server, which may be slow, broken or gone; a
backup is taken all the same.
"""

from __future__ import annotations

import json
import time

import pytest

from postgres_backup.health import ping
from postgres_backup.machine.progress import Progress
from postgres_backup.nightly.run import run_night
from tests.integration import engine


@pytest.fixture
def pinged(config, web):
    config.change(PING_URL=f"{web.url}/ping/a-secret-uuid?rid=1")
    return config


def test_start_and_success(pinged, web):
    done = engine.run(pinged.path, "run")
    assert done.returncode == 0, done.stderr
    assert web.paths == ["/ping/a-secret-uuid/start?rid=1", "/ping/a-secret-uuid?rid=1"]
    assert web.requests[1].body.splitlines()[-1].startswith("OK test-server: 1 database(s)")
    assert "PING_FAILED" not in done.stderr


def test_a_failed_night_tells_its_last_lines_and_no_secret(pinged, web):
    password = pinged.settings.db_password
    pinged.change(DB_PORT=1)
    done = engine.run(pinged.path, "run")
    assert done.returncode == 1
    assert [path.rpartition("/")[2] for path in web.paths] == ["start?rid=1", "fail?rid=1"]
    text = web.requests[1].body
    assert "Failed to reach PostgreSQL" in text
    assert text.splitlines()[-1].startswith("FAILED test-server")
    for said in (text, done.stderr):
        assert password not in said
        assert "a-secret-uuid" not in said


@pytest.mark.parametrize("fault", ["silence", "drip", "status", "gone"])
def test_a_bad_receiver_never_fails_a_backup(pinged, web, s3_client, bucket, monkeypatch, fault):
    monkeypatch.setattr(ping, "ANSWER", 1.0)
    if fault == "gone":
        pinged.change(PING_URL="http://127.0.0.1:1/ping/a-secret-uuid")
    setattr(
        web,
        "silence" if fault == "silence" else "drip",
        60 if fault == "silence" else fault == "drip",
    )
    web.status = 500 if fault == "status" else 200
    began = time.monotonic()
    result = run_night(pinged.settings, Progress())
    assert time.monotonic() - began < 30
    assert result["exit_status"] == 0
    assert len(engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-")) == 1
    failed = [finding for finding in result["findings"] if finding["code"] == "PING_FAILED"]
    assert len(failed) == (0 if fault == "drip" else 2)
    assert "a-secret-uuid" not in json.dumps(result)


def test_without_an_address_nobody_is_told(config):
    assert ping.send(config.settings, "start") == []


def test_only_the_end_of_a_long_log_is_sent(pinged, web):
    assert ping.send(pinged.settings, "fail", "x" * 1_000_000 + "the end") == []
    assert len(web.requests[0].body) == 10_000
    assert web.requests[0].body.endswith("the end")
