"""What was changed in the config is told once, without a secret."""

from __future__ import annotations

import json

from postgres_backup.catalog import history
from tests.integration import engine

NAME = "postgres_backup_settings"


def test_changed_settings_are_an_event_with_names_and_values_and_no_secret(
    run_module, says_what_it_returns, config, s3_client, bucket, tmp_path
):
    config.change(STATE_DIR=tmp_path / "state")
    first = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, first)
    assert (first["changed"], first["changes"]) == (False, [])  # a new server

    def journal() -> list[str]:
        keys = [key for key in engine.keys(s3_client, bucket) if "/journal/" in key]
        return [key for key in keys if "settings" in key and key.endswith(".json")]

    settings = config.change(RETENTION_DAYS=30, PING_URL="https://hc.example.org/tokentoken")
    would = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, would, check=True)
    changes = [
        {"name": "RETENTION_DAYS", "before": "", "after": "30"},
        {"name": "PING_URL", "before": "changed", "after": "changed"},
    ]
    assert (would["changed"], would["changes"], journal()) == (True, changes, [])
    told = run_module(NAME, config=config.path)
    assert (told["changes"], told["findings"]) == (changes, [])
    assert told["lines"][0] == "Setting changed: RETENTION_DAYS: not set -> 30"
    assert not run_module(NAME, config=config.path)["changed"]
    [found] = journal()
    body = s3_client.get_object(Bucket=bucket, Key=found)["Body"].read()
    assert json.loads(body)["changes"] == changes
    remembered = b"".join(one.read_bytes() for one in (tmp_path / "state").rglob("*.json"))
    assert b"tokentoken" not in body + remembered
    [said] = history.lines(history.history(settings))
    assert "  settings  RETENTION_DAYS: not set -> 30, PING_URL: changed" in said
