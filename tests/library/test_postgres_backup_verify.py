"""Prove a backup through the module."""

from __future__ import annotations

NAME = "postgres_backup_verify"


def test_the_first_proof_is_a_change_and_the_next_is_not(
    run_module, says_what_it_returns, config, filled
):
    made = run_module("postgres_backup_create", config=config.path)
    looked = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, looked, check=True)
    assert looked["changed"]
    first = run_module(NAME, config=config.path, backup=made["backup"])
    says_what_it_returns(NAME, first)
    assert first["changed"]  # so check mode had not written the proof
    assert (first["rows"], first["sha256"]) == (1000, made["sha256"])
    assert not run_module(NAME, config=config.path)["changed"]


def test_a_backup_swapped_for_another_of_the_same_size_is_bad(
    run_module, config, filled, s3_client, bucket
):
    made = run_module("postgres_backup_create", config=config.path)
    body = bytearray(s3_client.get_object(Bucket=bucket, Key=made["key"])["Body"].read())
    body[len(body) // 2] ^= 1
    s3_client.put_object(Bucket=bucket, Key=made["key"], Body=bytes(body))
    answer = run_module(NAME, config=config.path)
    assert answer["failed"]
    assert answer["exit_status"] == 4
    assert answer["findings"]
