"""Vouching for what nobody has signed, through the module."""

from __future__ import annotations

NAME = "postgres_backup_adopt"


def test_what_this_server_made_before_it_had_a_key_is_listed_and_then_signed(
    run_module, says_what_it_returns, config, filled, s3_client, bucket
):
    made = run_module("postgres_backup_create", config=config.path)["backup"]
    prefix = f"postgres-backup/manifests/{made.partition('.')[0]}.json"

    def signed() -> bool:
        found = s3_client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        return f"{prefix}.sig" in [item["Key"] for item in found]

    nothing = run_module(NAME, config=config.path)
    says_what_it_returns(NAME, nothing)
    assert (nothing["changed"], nothing["offered"]) == (False, [])
    s3_client.delete_object(Bucket=bucket, Key=f"{prefix}.sig")
    for check in (True, False):
        listed = run_module(NAME, check=check, config=config.path)
        assert [line["backup"] for line in listed["offered"]] == [made]
        assert (listed["changed"], listed["adopted"], signed()) == (False, [], False)
    would = run_module(NAME, check=True, config=config.path, vouch=True)
    says_what_it_returns(NAME, would, check=True)
    assert (would["changed"], would["adopted"], signed()) == (True, [made], False)
    done = run_module(NAME, config=config.path, vouch="yes")
    assert (done["changed"], done["adopted"], done["restored"]) == (True, [made], made)
    assert signed()
    assert f"adopted  {made}, restored" in done["lines"][0]
    assert not run_module(NAME, config=config.path, vouch=True)["changed"]
