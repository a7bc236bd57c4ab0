"""Ask what the store can do through the module."""

from __future__ import annotations

NAME = "postgres_backup_store_check"


def test_check_mode_then_tried_then_remembered(
    run_module, says_what_it_returns, config, s3_client, bucket
):
    plan = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, plan, check=True)
    assert (plan["changed"], plan["fit"], plan["rows"]) == (False, None, [])
    assert s3_client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    done = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, done)
    assert (done["changed"], done["fit"], done["remembered"]) == (False, True, False)
    assert {row["state"] for row in done["rows"]} == {"works", "lacks"}
    assert s3_client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    again = run_module(NAME, config=config.path)
    assert (again["changed"], again["remembered"], again["rows"]) == (False, True, [])
    assert run_module("postgres_backup_bucket", config=config.path)["store_known"] is True


def test_an_unfit_store_fails(run_module, config, s3, monkeypatch):
    from tests.services.hostile_store import HostileStore

    with HostileStore(s3) as hostile:
        config.change(S3_ENDPOINT_URL=hostile.endpoint_url)
        hostile.play("swallowed")
        failed = run_module(NAME, config=config.path)
    assert failed["failed"]
    assert failed["exit_status"] == 4
    assert failed["msg"].startswith("Failed to find the store at ")
    assert {one["code"] for one in failed["findings"]} == {"STORE_UNFIT"}
