"""The copy made by the PostgreSQL of another host, with what the call takes along."""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.drill import lent_roles
from postgres_backup.drill.database import drill_database
from postgres_backup.drill.elsewhere import came_back, copy_here, lines
from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from tests.integration import engine
from tests.integration.restoring import databases_of, run_sql, state_of
from tests.services.brief import BriefPostgresServer


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    """The PostgreSQL of another host, which has no role of the first."""
    with BriefPostgresServer(tmp_path_factory.mktemp("spare"), 16) as server:
        yield server


@pytest.fixture
def two(config, new_config, database, s3, bucket, spare):
    """A server with a backup, and the settings of a host that is set up for another database."""
    reader = f"{database.role_prefix}reader"
    run_sql(
        database.server,
        database.name,
        "CREATE ROLE {reader}",
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 100) n",
        "ALTER TABLE users OWNER TO {owner}",
        "GRANT SELECT ON users TO {reader}",
        reader=reader,
        owner=database.owner,
    )
    taken = create_backup(Job(config.settings))
    facts = {"DB_HOST": spare.host, "DB_PORT": spare.port, "SERVER_NAME": "spare"}
    facts |= {"DB_USER": spare.superuser, "DB_PASSWORD": spare.password, "DB_NAME": "others"}
    here = new_config(database, s3, bucket, **facts | {"PG_BIN_DIR": spare.bin_dir})
    here.change(TRUSTED_SIGNERS_FILE=config.settings.trusted_signers_file)
    return config, here, taken


def roles_of(server) -> set[str]:
    return {name for (name,) in server.execute("SELECT rolname FROM pg_roles")}


def test_the_copy_is_made_there_and_noted_here(two, database, spare, s3_client, bucket):
    config, here, taken = two
    text, before = config.path.read_text(), (databases_of(spare), roles_of(spare))
    keys, live = engine.keys(s3_client, bucket), state_of(database.server, database.name)
    looked = copy_here(Job(here.settings, check=True), text, taken["key"])
    assert (looked["restored"], looked["key"]) == (False, taken["key"])
    copied = copy_here(Job(here.settings), text, taken["key"])
    assert (databases_of(spare), roles_of(spare)) == before
    assert (copied["rows"], copied["restored"]) == (100, True)
    assert [one["code"] for one in copied["findings"] if one["level"] == "failed"] == []
    assert "100 rows" in lines(copied)[0]
    # nothing of it is told there, in the bucket or on the disk, and nothing secret is
    assert engine.keys(s3_client, bucket) == keys
    secret = config.settings.s3_secret_key.encode()
    folder = here.path.parent
    assert all(
        secret not in path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != here.path
    )
    result = drill_database(Job(config.settings), copied=came_back(dict(copied)))
    assert (result["passed"], result["rows"], result["changed"]) == (True, 100, True)
    outcomes = {one["check"]: one["outcome"] for one in result["checks"]}
    assert outcomes["indexes"] == outcomes["owners"] == outcomes["roles"] == "passed"
    [proof] = engine.proofs_of(s3_client, bucket, result)
    assert proof["kind"] == "restored"
    assert state_of(database.server, database.name) == live


def test_what_is_found_there_fails_here(two, spare, s3_client, bucket):
    config, here, taken = two
    body = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=body[:-9] + 9 * b"?")
    before = databases_of(spare), roles_of(spare)
    copied = copy_here(Job(here.settings), config.path.read_text(), taken["key"])
    assert (databases_of(spare), roles_of(spare)) == before
    result = drill_database(Job(config.settings), copied=copied)
    assert not result["passed"]
    assert "OBJECT_ALTERED" in [one["code"] for one in result["findings"]]
    assert engine.proofs_of(s3_client, bucket, result) == []


def test_what_makes_no_sense_is_said(two):
    config, here, taken = two
    with pytest.raises(UsageError, match="Missing in the config of the other server"):
        copy_here(Job(here.settings), "SERVER_NAME='db1'", taken["key"])
    with pytest.raises(UsageError, match="cannot be read: no sensible"):
        came_back({"key": 1})
    copied = copy_here(Job(here.settings, check=True), config.path.read_text(), taken["key"])
    with pytest.raises(UsageError, match="A newer backup was taken"):
        drill_database(Job(config.settings), copied=copied | {"key": "another"})


def test_roles_that_a_dead_drill_has_left_go_and_no_others(spare, two):
    _, here, _ = two
    spare.execute("CREATE ROLE somebody")
    job = Job(here.settings)
    with lent_roles.lent_roles(job, ["lent"]):
        [(can,)] = spare.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'lent'")
        assert not can
        spare.execute("CREATE SCHEMA of_another_drill AUTHORIZATION lent")
    assert {"lent", "somebody"} <= roles_of(spare)  # something still needs it
    spare.execute("DROP SCHEMA of_another_drill")
    with lent_roles.lent_roles(job, []):
        assert "lent" not in roles_of(spare)
    assert "somebody" in roles_of(spare)
    spare.execute("DROP ROLE somebody")
