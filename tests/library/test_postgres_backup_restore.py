"""Restore, and undo it, through the modules."""

from __future__ import annotations

import pytest
from ansible.module_utils.postgres_backup.restore import steps

NAME, UNDO = "postgres_backup_restore", "postgres_backup_undo_restore"


def databases(server):
    return {name for (name,) in server.execute("SELECT datname FROM pg_database")}


def test_check_mode_then_restore_then_undo(run_module, says_what_it_returns, config, filled):
    made = run_module("postgres_backup_create", config=config.path)
    filled.execute("DELETE FROM users WHERE id > 10")
    before = databases(filled.server)

    plan = run_module(NAME, check=True, config=config.path, backup="latest")
    says_what_it_returns(NAME, plan, check=True)
    assert plan["changed"]
    assert (plan["replaces"], plan["proven"], plan["missing_roles"], plan["in_place"]) == (
        True,
        False,
        [],
        False,
    )
    assert plan["backup"] == made["backup"]
    assert databases(filled.server) == before
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]

    done = run_module(NAME, config=config.path, backup=made["backup"])
    says_what_it_returns(NAME, done)
    assert done["rows"] == 1000
    assert {"key", "bytes", "sha256", "seconds", "downtime_seconds", "kept_database", *plan} <= set(
        done
    )
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]
    assert databases(filled.server) == before | {done["kept_database"]}
    assert filled.execute("SELECT count(*) FROM users", done["kept_database"]) == [(10,)]

    would_undo = run_module(UNDO, check=True, config=config.path)
    says_what_it_returns(UNDO, would_undo, check=True)
    assert would_undo["restored_database"] == done["kept_database"]
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]

    undone = run_module(UNDO, config=config.path)
    says_what_it_returns(UNDO, undone)
    assert undone["restored_database"] == done["kept_database"]
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]


def test_what_nobody_signed_is_used_only_when_somebody_says_so(
    run_module, says_what_it_returns, config, filled, s3_client, bucket
):
    """A check is enough to see it: it is refused before anything is touched."""
    made = run_module("postgres_backup_create", config=config.path)
    stem = made["backup"].partition(".")[0]
    key = f"postgres-backup/manifests/{stem}.json.sig"
    assert s3_client.head_object(Bucket=bucket, Key=key)
    given = {"config": config.path, "backup": made["backup"]}
    assert not run_module(NAME, check=True, **given).get("failed")
    s3_client.delete_object(Bucket=bucket, Key=key)
    refused = run_module(NAME, **given)
    assert (refused["failed"], refused["exit_status"]) == (True, 2)
    assert [found["code"] for found in refused["findings"]] == ["UNSIGNED"]
    assert "-e trust_unsigned=true" in refused["msg"]
    plan = run_module(NAME, check=True, trust_unsigned="yes", **given)
    says_what_it_returns(NAME, plan, check=True)
    assert "UNSIGNED" in [found["code"] for found in plan["findings"]]


@pytest.mark.parametrize("said", [{}, {"trust_unsigned": "true"}, {"roles_with_power": True}])
def test_what_is_trusted_by_hand_is_the_jobs_and_no_option_of_the_step(
    run_module, config, monkeypatch, said
):
    given: list = []

    def step(job, **options):
        given.extend([job.trust_unsigned, job.roles_with_power, sorted(options)])
        return {"changed": False}

    monkeypatch.setattr(steps, "perform_step", step)
    monkeypatch.setattr(steps, "lines", lambda *_: [])
    run_module(NAME, config=config.path, backup="latest", **said)
    assert given[:2] == ["trust_unsigned" in said, "roles_with_power" in said]
    assert not {"trust_unsigned", "roles_with_power", "identities"} & set(given[2])


def test_a_restore_in_steps(run_module, says_what_it_returns, config, filled):
    """As playbooks/restore.yml goes through it, an application being stopped and started in
    between.
    """
    made = run_module("postgres_backup_create", config=config.path)
    filled.execute("DELETE FROM users WHERE id > 10")
    before = databases(filled.server)

    would = run_module(NAME, check=True, config=config.path, stage="load", backup="latest")
    says_what_it_returns(NAME, would, check=True)
    assert (would["side_database"], would["rows"]) == (None, 1000)
    assert databases(filled.server) == before

    loaded = run_module(NAME, config=config.path, stage="load", backup="latest")
    says_what_it_returns(NAME, loaded)
    assert databases(filled.server) == before | {loaded["side_database"]}
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]
    step = {
        "config": config.path,
        "backup": made["backup"],
        "side_database": loaded["side_database"],
    }

    plan = run_module(NAME, check=True, stage="swap", **step)
    says_what_it_returns(NAME, plan, check=True)
    assert plan["kept_database"]
    assert databases(filled.server) == before | {loaded["side_database"]}

    swapped = run_module(NAME, stage="swap", **step)
    says_what_it_returns(NAME, swapped)
    assert databases(filled.server) == before | {swapped["kept_database"]}
    assert filled.execute("SELECT count(*) FROM users") == [(1000,)]
    assert 0 < swapped["downtime_seconds"] < 5

    compared = run_module(
        NAME, config=config.path, stage="compare", kept_database=swapped["kept_database"]
    )
    says_what_it_returns(NAME, compared)
    assert compared["row_differences"] == [
        {"table": "public.users", "kept_rows": 10, "live_rows": 1000}
    ]

    again = run_module(NAME, stage="swap", **step)
    assert again["failed"]
    assert "There is no side database" in again["msg"]


def test_a_side_database_that_is_not_wanted_any_more(
    run_module, says_what_it_returns, config, filled
):
    run_module("postgres_backup_create", config=config.path)
    before = databases(filled.server)
    side = run_module(NAME, config=config.path, stage="load", backup="latest")["side_database"]
    assert run_module(NAME, check=True, config=config.path, stage="discard", side_database=side)[
        "changed"
    ]
    assert databases(filled.server) == before | {side}
    gone = run_module(NAME, config=config.path, stage="discard", side_database=side)
    says_what_it_returns(NAME, gone)
    assert gone["changed"]
    assert databases(filled.server) == before
    assert not run_module(NAME, config=config.path, stage="discard")["changed"]
    run_module(NAME, config=config.path, stage="discard", side_database=filled.name)
    assert databases(filled.server) == before  # the live one is none


def test_chosen_tables(run_module, says_what_it_returns, config, filled):
    filled.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    filled.execute(f'ALTER TABLE notes OWNER TO "{filled.owner}"')
    run_module("postgres_backup_create", config=config.path)
    filled.execute("DELETE FROM users WHERE id > 10")
    filled.execute("INSERT INTO notes VALUES (1)")
    options = {"config": config.path, "backup": "latest", "tables": ["users"]}

    plan = run_module(NAME, check=True, **options)
    says_what_it_returns(NAME, plan, check=True)
    assert plan["tables"] == [
        {
            "table": "public.users",
            "rows": 1000,
            "inserted": 990,
            "updated": 0,
            "deleted": 0,
            "created": False,
        }
    ]
    assert filled.execute("SELECT count(*) FROM users") == [(10,)]

    done = run_module(NAME, **options)
    says_what_it_returns(NAME, done)
    assert done["tables"] == plan["tables"]
    assert filled.execute("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM notes)") == [
        (1000, 1)
    ]
    assert not run_module(NAME, **options)["changed"]


def test_what_does_not_go_together(run_module, config, filled):
    for options, words in (
        ({}, "Which backup?"),
        ({"backup": "latest", "tables": ["users"], "stage": "load"}, "Chosen tables"),
    ):
        answer = run_module(NAME, config=config.path, **options)
        assert answer["failed"]
        assert answer["exit_status"] == 2
        assert words in answer["msg"]


def test_a_name_that_does_not_exist_names_the_nearest(run_module, config, filled):
    made = run_module("postgres_backup_create", config=config.path)
    answer = run_module(
        NAME, config=config.path, backup="postgres-backup-2020-01-01_00-00-00.sql.gz"
    )
    assert answer["failed"]
    assert answer["exit_status"] == 2
    assert made["backup"] in answer["msg"]


def test_nothing_to_undo(run_module, config, filled):
    answer = run_module(UNDO, config=config.path)
    assert answer["failed"]
    assert "Nothing to undo" in answer["msg"]


def test_a_copy_under_another_name(run_module, says_what_it_returns, config, filled):
    run_module("postgres_backup_create", config=config.path)
    look = f"{filled.name}_look"
    given = {"config": config.path, "backup": "latest", "copy_as": look, "keep_days": "3"}
    plan = run_module(NAME, check=True, **given)
    says_what_it_returns(NAME, plan, check=True)
    assert (plan["changed"], plan["copy_database"], plan["keep_days"]) == (True, look, 3)
    assert look not in databases(filled.server)
    done = run_module(NAME, **given)
    says_what_it_returns(NAME, done)
    assert (done["rows"], done["replaces"]) == (1000, False)
    assert filled.execute("SELECT count(*) FROM users", look) == [(1000,)]
    again = run_module(NAME, **given)
    assert (again["failed"], again["exit_status"]) == (True, 2)
    filled.server.execute(f'DROP DATABASE "{look}"')
