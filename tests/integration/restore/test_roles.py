"""Roles that a restore misses come back from what was saved beside the backup; those that are there
are left alone.
"""

from __future__ import annotations

import dataclasses
import gzip
import json

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.verify.verify import verify_backup
from tests import hostile
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql, state_of
from tests.services.brief import BriefPostgresServer
from tests.services.signing import forget_signed, put_signed

ROLES = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
       rolbypassrls, rolconnlimit, rolvaliduntil FROM pg_roles"""
HASHES = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname !~ '^pg_'"
SETTINGS = """
SELECT r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = 0"""
MEMBERS = """
SELECT g.rolname, m.rolname, a.admin_option,
       to_jsonb(a)->>'inherit_option', to_jsonb(a)->>'set_option'
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE g.rolname !~ '^pg_'"""
COMMENTS = """
SELECT r.rolname, shobj_description(r.oid, 'pg_authid') FROM pg_roles r
WHERE shobj_description(r.oid, 'pg_authid') IS NOT NULL AND rolname !~ '^pg_'"""
ODD = 'o\'dd; "role"\nof two lines'


@pytest.fixture(scope="module", params=[15, 16, 18], ids=["pg15", "pg16", "pg18"])
def cluster(request, tmp_path_factory):
    """A server of its own: its roles are what is tried here."""
    with BriefPostgresServer(
        tmp_path_factory.mktemp("roles"),
        request.param,
    ) as server:
        yield server


@pytest.fixture
def office(cluster, new_config, s3, bucket):
    """A database with roles, memberships and passwords, and its config as superuser."""
    run_sql(
        cluster,
        "postgres",
        "CREATE ROLE boss LOGIN CREATEDB PASSWORD 'boss-of-a-test'",
        "CREATE ROLE readers",
        "CREATE ROLE staff ROLE boss",
        "GRANT readers TO staff WITH ADMIN OPTION",
        "CREATE ROLE clerk LOGIN PASSWORD 'clerk-of-a-test' CONNECTION LIMIT 7"
        " VALID UNTIL '2031-01-01 00:00+00' NOINHERIT IN ROLE staff",
        "CREATE ROLE {odd} IN ROLE readers",
        'ALTER ROLE clerk SET search_path TO "$user", public',
        "ALTER ROLE clerk SET app.note TO 'it''s; -- \"odd\"\nand long'",
        "COMMENT ON ROLE clerk IS 'writes; it''s \\ all\nday'",
        "CREATE ROLE unrelated LOGIN PASSWORD 'unrelated-of-a-test'",
        "CREATE DATABASE office OWNER boss",
        odd=ODD,
    )
    run_sql(
        cluster,
        "office",
        "SET ROLE boss",
        "CREATE TABLE letters (id int)",
        "RESET ROLE",
        "CREATE TABLE files (id int)",
        "ALTER TABLE files OWNER TO clerk",
        "GRANT SELECT ON letters TO {odd}",
        "ALTER ROLE clerk IN DATABASE office SET work_mem TO '9MB'",
        "INSERT INTO files VALUES (1)",
        odd=ODD,
    )
    yield new_config(
        Database(cluster, "office", cluster.superuser, cluster.password, ""), s3, bucket
    )
    for name in databases_of(cluster) - {"postgres", "template0", "template1"}:
        run_sql(cluster, "postgres", "DROP DATABASE {name} WITH (FORCE)", name=name)
    for (name,) in cluster.execute(
        "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"
    ):
        run_sql(cluster, "postgres", "DROP ROLE {name}", name=name)


def roles_of(server) -> list:
    return [
        sorted(server.execute(query), key=repr)
        for query in (ROLES, HASHES, SETTINGS, MEMBERS, COMMENTS)
    ]


def lose(server, *names: str) -> None:
    run_sql(server, "postgres", "DROP DATABASE office WITH (FORCE)")
    for name in names:
        run_sql(server, "postgres", "DROP ROLE {name}", name=name)


def test_they_come_back_as_they_were(office, cluster):
    """Passwords, settings, comments, memberships, and the groups that no object mentions."""
    settings = office.settings
    create_backup(Job(settings))
    before, whole = roles_of(cluster), state_of(cluster, "office")
    lose(cluster, "clerk", "boss", ODD, "staff", "readers")
    planned = restore_database(Job(settings, check=True), "latest")
    assert roles_of(cluster) != before
    result = restore_database(Job(settings), "latest")
    assert (
        set(result["missing_roles"])
        == set(planned["missing_roles"])
        == {"clerk", "boss", ODD, "staff", "readers"}
    )
    assert roles_of(cluster) == before
    assert state_of(cluster, "office") == whole
    assert (result["kept_database"], result["downtime_seconds"], result["replaces"]) == (
        None,
        0.0,
        False,
    )
    with psycopg.connect(cluster.dsn("office", "clerk", "clerk-of-a-test")) as connection:
        assert connection.execute("SELECT id FROM files").fetchone() == (1,)


def test_those_that_are_there_keep_what_they_have_today(office, cluster):
    settings = office.settings
    create_backup(Job(settings))
    lose(cluster, "clerk", "readers")
    run_sql(
        cluster,
        "postgres",
        "ALTER ROLE boss PASSWORD 'new-of-a-test' CREATEROLE",
        "ALTER ROLE staff LOGIN",
        "COMMENT ON ROLE staff IS 'today'",
    )
    theirs = [
        [row for row in rows if row[0] in ("boss", "staff", "unrelated")]
        for rows in roles_of(cluster)
    ]
    run_sql(cluster, "postgres", "DROP ROLE unrelated")
    assert set(restore_database(Job(settings), "latest")["missing_roles"]) == {"clerk"} | (
        {"readers"} & set(_wanted(settings))
    )
    now = [
        [row for row in rows if row[0] in ("boss", "staff", "unrelated")]
        for rows in roles_of(cluster)
    ]
    assert [[row for row in rows if row[0] != "unrelated"] for rows in theirs][:3] == now[:3]
    assert ("staff", "clerk") in [row[:2] for row in roles_of(cluster)[3]]
    assert not cluster.execute("SELECT 1 FROM pg_roles WHERE rolname = 'unrelated'")


def _wanted(settings) -> list[str]:
    return restore_database(Job(settings, check=True), "latest")["missing_roles"]


def test_nobody_saved_them(office, cluster, s3_client, bucket):
    """Then they are named, with the statements to type, before anything is touched; and in check
    mode too.
    """
    settings = office.settings
    taken = create_backup(Job(settings))
    s3_client.delete_object(Bucket=bucket, Key=f"postgres-backup/globals/{taken['backup']}")
    lose(cluster, "clerk", ODD)
    before = databases_of(cluster), roles_of(cluster)
    for check in (True, False):
        with pytest.raises(DatabaseError, match="lacks the roles clerk") as caught:
            restore_database(Job(settings, check=check), "latest")
        assert 'CREATE ROLE "clerk";' in caught.value.hint
        assert (databases_of(cluster), roles_of(cluster)) == before
    cluster.execute(caught.value.hint.removeprefix("As a superuser: "))
    restore_database(Job(settings), "latest")


def test_without_the_right_to_make_them(office, cluster):
    create_backup(Job(office.settings))
    lose(cluster, "clerk")
    before = databases_of(cluster), roles_of(cluster)
    settings = office.change(DB_USER="boss", DB_PASSWORD="boss-of-a-test")
    with pytest.raises(DatabaseError, match="boss may not create roles") as caught:
        restore_database(Job(settings), "latest")
    assert 'ALTER ROLE "boss" CREATEROLE;' in caught.value.hint
    assert (databases_of(cluster), roles_of(cluster)) == before


def test_with_createrole_and_no_more(office, cluster):
    """No superuser: PostgreSQL does not let us say NOSUPERUSER then."""
    run_sql(
        cluster,
        "office",
        "ALTER TABLE files OWNER TO boss",
        "REVOKE ALL ON letters FROM {odd}",
        "ALTER ROLE clerk IN DATABASE office RESET ALL",
        odd=ODD,
    )
    run_sql(cluster, "office", "GRANT SELECT ON letters TO clerk")
    create_backup(Job(office.settings))
    lose(cluster, "clerk")
    run_sql(cluster, "postgres", "ALTER ROLE boss CREATEROLE")
    if cluster.major >= 16:
        run_sql(cluster, "postgres", "GRANT staff TO boss WITH ADMIN OPTION")
    settings = as_superuser(office, cluster) and office.change(
        DB_USER="boss", DB_PASSWORD="boss-of-a-test"
    )
    result = restore_database(Job(settings), "latest")
    assert result["missing_roles"] == ["clerk"]
    # a setting of an application's own is a superuser's to make; the role does without
    assert [(f["code"], "app.note" in f["message"]) for f in result["findings"]] == [
        ("DISK_NOT_CHECKED", False),
        ("ROLE_SETTING_LEFT_OUT", True),
    ]
    assert cluster.execute(
        "SELECT rolsuper, rolcanlogin, rolconnlimit, rolinherit FROM pg_roles"
        " WHERE rolname = 'clerk'"
    ) == [(False, True, 7, False)]
    with psycopg.connect(cluster.dsn("office", "clerk", "clerk-of-a-test")) as connection:
        assert connection.execute("SELECT count(*) FROM letters").fetchone() == (0,)


def test_roles_that_it_may_make_and_not_act_as(office, cluster):
    """Who makes a role is no member of it by that, and may give it nothing."""
    create_backup(Job(office.settings))
    lose(cluster, "clerk")
    run_sql(cluster, "postgres", "ALTER ROLE boss CREATEROLE")
    settings = office.change(DB_USER="boss", DB_PASSWORD="boss-of-a-test")
    before = databases_of(cluster), roles_of(cluster)
    with pytest.raises(DatabaseError, match="belongs to clerk, which the server lacks") as caught:
        restore_database(Job(settings, check=True), "latest")
    assert 'GRANT "clerk" TO "boss";' in caught.value.hint
    assert (databases_of(cluster), roles_of(cluster)) == before


def forge(s3_client, bucket, taken, change, *, signed: bool = True) -> None:
    """Change the manifest of a backup in the bucket; with somebody's key, or as it was before there
    were keys.
    """
    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    known = json.load(s3_client.get_object(Bucket=bucket, Key=key)["Body"])
    change(known)
    put_signed(s3_client, bucket, key, json.dumps(known).encode())
    if not signed:
        s3_client.delete_object(Bucket=bucket, Key=f"{key}.sig")


def globals_key(taken) -> str:
    return f"postgres-backup/globals/{taken['backup']}"


def test_saved_roles_are_read_and_never_run(office, cluster, s3_client, bucket):
    """What a forged file adds to them is told before, or is not done."""
    taken = create_backup(Job(office.settings))
    forget_signed(office.settings)
    key = globals_key(taken)
    saved = gzip.decompress(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())
    body = gzip.compress(saved + hostile.HOSTILE_GLOBALS.encode())
    s3_client.put_object(Bucket=bucket, Key=key, Body=body)
    lose(cluster, "clerk")
    before = databases_of(cluster), roles_of(cluster)
    for perform in (restore_database, verify_backup):
        with pytest.raises(BadBackupError, match="are not those that were uploaded") as caught:
            perform(Job(office.settings), "latest")
        assert key in caught.value.message
        assert [found["code"] for found in caught.value.findings] == ["OBJECT_ALTERED"]
    assert caught.value.exit_status == 4
    assert (databases_of(cluster), roles_of(cluster)) == before

    def unknown_hash(known) -> None:
        """As in manifests of version 0.1.0."""
        known["roles"].append("evil")
        known["globals"].pop("sha256")

    forge(s3_client, bucket, taken, unknown_hash, signed=False)
    believed = Job(office.settings, trust_unsigned=True, roles_with_power=True)
    planned = restore_database(dataclasses.replace(believed, check=True), "latest")
    told = {found["code"]: found["message"] for found in planned["findings"]}
    for power in ("evil (SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS"):
        assert power in told["ROLES_WITH_POWER"]
    assert "member of pg_execute_server_program" in told["ROLES_WITH_POWER"]
    assert "with the setting session_preload_libraries" in told["ROLES_WITH_POWER"]
    assert "clerk (" not in told["ROLES_WITH_POWER"]
    assert told["GLOBALS_LEFT_OUT"].startswith("7 statements")
    result = restore_database(believed, "latest")
    assert set(result["missing_roles"]) == {"clerk", "evil"}
    assert told.keys() <= {found["code"] for found in result["findings"]}
    query = "SELECT 1 FROM pg_roles WHERE rolname = 'hostile_canary'"
    assert cluster.execute(query) == []
    for name in ("postgres", "office"):
        query = "SELECT 1 FROM pg_class WHERE relname = 'hostile_canary'"
        assert cluster.execute(query, name) == []


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_no_word_of_a_manifest_is_a_statement(office, cluster, s3_client, bucket, who):
    """The name of a right was once pasted into a GRANT in the maintenance database."""
    taken = create_backup(Job(office.settings))
    forget_signed(office.settings)
    canary = "CREATE ON DATABASE postgres TO PUBLIC; CREATE TABLE hostile_canary (); --"

    def change(known) -> None:
        right = {"role": "", "privilege": canary, "grantable": False, "grantor": None}
        known["privileges"] = [right]

    forge(s3_client, bucket, taken, change)
    settings = office.settings
    if who == "owner":
        settings = office.change(DB_USER="boss", DB_PASSWORD="boss-of-a-test")
    before = databases_of(cluster)
    with pytest.raises(BadBackupError, match=r"no sensible privileges\.0\.privilege"):
        restore_database(Job(settings), taken["backup"])
    assert databases_of(cluster) == before
    query = "SELECT 1 FROM pg_class WHERE relname = 'hostile_canary'"
    assert cluster.execute(query, "postgres") == []


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(office, cluster, s3_client, bucket):
    taken = create_backup(Job(office.settings))
    forget_signed(office.settings)
    body = gzip.compress(b"\n" * 150_000_000, 1)
    s3_client.put_object(Bucket=bucket, Key=globals_key(taken), Body=body)
    forge(s3_client, bucket, taken, lambda known: known["globals"].pop("sha256"), signed=False)
    lose(cluster, "clerk")
    done = engine.measured(office, "restore", "latest", "--trust-unsigned", "--check", "--json")
    assert done["status"] == 1
    assert "unpack to more than" in done["err"] + done["out"]
    assert done["peak_kb"] < 200 * 1024
