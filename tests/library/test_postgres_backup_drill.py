"""Drill a restore through the module."""

from __future__ import annotations

NAME = "postgres_backup_drill"


def test_a_drill_and_a_check_of_one(run_module, says_what_it_returns, config, filled, tmp_path):
    made = run_module("postgres_backup_create", config=config.path)
    looked = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, looked, check=True)
    assert not looked["changed"]
    answer = run_module(NAME, config=config.path, fast=True, junit=tmp_path / "drill.xml")
    says_what_it_returns(NAME, answer)
    assert (answer["changed"], answer["passed"]) == (True, True)
    assert (answer["backup"], answer["rows"]) == (made["backup"], 1000)
    assert (tmp_path / "drill.xml").exists()


def test_what_has_not_passed_is_a_failure(run_module, config, filled, s3_client, bucket):
    made = run_module("postgres_backup_create", config=config.path)
    body = bytearray(s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read())
    body[len(body) // 2] ^= 1
    s3_client.put_object(Bucket=bucket, Key=made["key"], Body=bytes(body))
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert answer["exit_status"] == 4
    assert "OBJECT_ALTERED" in [found["code"] for found in answer["findings"]]
    assert "OBJECT_ALTERED" in answer["msg"]
