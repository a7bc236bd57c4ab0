"""Prune through the module."""

from __future__ import annotations

import json
import re

NAME = "postgres_backup_prune"


def age(s3_client, bucket, key, days):
    """Make a backup ``days`` days older than it is, manifest included; its new name."""
    old = re.search(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", key)[0]
    new = f"20{26 - days // 365}-01-{days % 28 + 1:02d}_00-00-00"
    manifest_key = f"postgres-backup/manifests/postgres-backup-{old}.json"
    manifest = json.loads(s3_client.get_object(Bucket=bucket, Key=manifest_key)["Body"].read())
    manifest["name"] = manifest["name"].replace(old, new)
    body = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=key.replace(old, new), Body=body)
    s3_client.put_object(
        Bucket=bucket, Key=manifest_key.replace(old, new), Body=json.dumps(manifest).encode()
    )
    return manifest["name"]


def listed(s3_client, bucket):
    found = s3_client.list_objects_v2(Bucket=bucket, Prefix="postgres-backup/", Delimiter="/")[
        "Contents"
    ]
    return {item["Key"].removeprefix("postgres-backup/") for item in found}


def test_check_mode_says_what_goes_the_run_does_it_and_the_next_changes_nothing(
    run_module, says_what_it_returns, config, filled, s3_client, bucket
):
    made = run_module("postgres_backup_create", config=config.path)
    old = age(s3_client, bucket, made["key"], 400)
    before = listed(s3_client, bucket)
    assert before == {made["backup"], old}

    plan = run_module(NAME, check=True, config=config.path)
    says_what_it_returns(NAME, plan, check=True)
    assert plan["changed"]
    assert [entry["backup"] for entry in plan["deleted"]] == [old]
    assert [entry["backup"] for entry in plan["kept"]] == [made["backup"]]
    assert all(entry["reason"] for entry in plan["deleted"] + plan["kept"])
    assert plan["diff"] == {"before": f"{old}\n{made['backup']}\n", "after": f"{made['backup']}\n"}
    assert listed(s3_client, bucket) == before

    done = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, done)
    assert done["deleted"] == plan["deleted"]
    assert listed(s3_client, bucket) == {made["backup"]}

    again = run_module(NAME, config=config.path)
    assert not again["changed"]
    assert again["deleted"] == []
