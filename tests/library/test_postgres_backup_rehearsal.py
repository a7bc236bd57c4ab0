"""What a server has to do with the rehearsal of its rebuild, through the module."""

from __future__ import annotations

import json

import pytest

from tests.integration import engine
from tests.services.proxy import FaultProxy

NAME = "postgres_backup_rehearsal"


@pytest.fixture
def asked(run_module, config, filled):
    run_module("postgres_backup_create", config=config.path)
    return lambda state, **more: run_module(NAME, config=config.path, state=state, **more)


def test_what_it_must_know_and_how_it_ended(
    asked, says_what_it_returns, run_module, config, filled, s3_client, bucket
):
    begun = asked("begun")
    says_what_it_returns(NAME, begun)
    name, prefix = config.settings.server_name, config.settings.s3_prefix
    assert (begun["name"], begun["prefix"]) == (f"{name}-rehearsal", f"{prefix}-rehearsal/{name}")
    assert {filled.owner, config.settings.db_user} <= set(begun["roles"])
    assert not begun["changed"]

    own = engine.keys(s3_client, bucket)
    other = f"{prefix}-rehearsal/{name}2/x"
    for key in (f"{begun['prefix']}/x", f"{begun['prefix']}/manifests/y", other):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert asked("begun", check=True)["removed"] == 0
    assert asked("begun")["removed"] == 2  # and nothing of another server's
    assert set(engine.keys(s3_client, bucket)) == {*own, other}

    s3_client.put_object(Bucket=bucket, Key=f"{begun['prefix']}/x", Body=b"x")
    phases = {"program": 20.04, "restore": 5}
    ended = asked("ended", host="spare", phases=phases)
    says_what_it_returns(NAME, ended)
    assert (ended["seconds"], ended["phases"]) == (25.0, {"program": 20.0, "restore": 5.0})
    assert f"{begun['prefix']}/x" not in engine.keys(s3_client, bucket)
    secret = config.settings.s3_secret_key
    failed = asked("ended", host="spare", reason=f"no way: {secret}\n1. more", stays=["the role a"])
    assert secret not in json.dumps([failed["lines"], failed["reason"]])
    assert "Still on spare: the role a" in failed["lines"]
    told = run_module("postgres_backup_status", config=config.path)
    assert (told["rebuilt"]["host"], told["rebuilt"]["seconds"]) == ("spare", 25.0)
    [line] = [line for line in told["lines"] if "rebuild rehearsed" in line]
    assert line.endswith("on spare: 25.0 s")


def test_a_key_that_may_not_delete_is_told_of(asked, config, s3, s3_client, bucket):
    begun = asked("begun")
    s3_client.put_object(Bucket=bucket, Key=f"{begun['prefix']}/x", Body=b"x")
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", "DELETE", times=1000, status=403, code="AccessDenied")
        ended = asked("ended", host="spare", phases={"program": 1.0})
    [left] = [one for one in ended["findings"] if one["code"] == "REHEARSAL_LEFT"]
    assert f"(s3://{bucket}/{begun['prefix']}/)" in left["message"]
