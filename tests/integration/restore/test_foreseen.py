"""What a server cannot take back is known before anything is touched."""

from __future__ import annotations

import re

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import manifest
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import databases_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.services.signing import forget_signed, put_signed

#: an extension that one database alone may have, as pg_cron, and one whose library is not there
_EXTENSIONS = {
    "clock.control": "default_version = '1'\nrelocatable = false\nschema = pg_catalog\n",
    "clock--1.sql": """
        DO $$ BEGIN
            IF current_database() <> 'crm' THEN
                RAISE EXCEPTION 'can only create extension in database crm';
            END IF;
        END $$;""",
    "fatal.control": "default_version = '1'\n",
    "fatal--1.sql": "SELECT pg_terminate_backend(pg_backend_pid());",
    "hollow.control": "default_version = '1'\nmodule_pathname = '$libdir/hollow'\n",
    "hollow--1.sql": "CREATE FUNCTION hollow() RETURNS int LANGUAGE c AS 'MODULE_PATHNAME';",
}


class _DockersServer(BriefPostgresServer):
    """Its first role is called as in a container with POSTGRES_USER."""

    superuser = "app"


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    (folder / "extension").mkdir()
    for name, text in _EXTENSIONS.items():
        (folder / "extension" / name).write_text(text)
    for path in (folder, folder / "extension"):
        path.chmod(0o755)
    with _DockersServer(
        tmp_path_factory.mktemp("docker"),
        18,
        settings={"extension_control_path": f"$system:{folder}"},
    ) as server:
        server.execute("CREATE ROLE shop LOGIN CREATEDB CREATEROLE PASSWORD 'shop-of-a-test'")
        yield server


def test_things_of_the_first_role_on_a_server_with_another(
    docker, postgres_server, new_config, s3, s3_client, bucket
):
    debian = postgres_server(18)
    theirs = Database(debian, "moving", debian.superuser, debian.password, "")
    ours = Database(docker, "moving", docker.superuser, docker.password, "")
    there, here = (new_config(one, s3, bucket) for one in (theirs, ours))
    debian.execute("CREATE DATABASE moving")
    try:
        run_sql(debian, "moving", "CREATE TABLE t AS SELECT 1 AS i")
        taken = create_backup(Job(there.settings))
        assert engine.manifest_of(s3_client, bucket, taken)["roles"] == ["postgres"]
        docker.execute("CREATE DATABASE moving OWNER shop")
        key = f"s3://{bucket}/{taken['key']}"
        planned = restore_database(Job(here.settings, check=True), key)
        assert planned["missing_roles"] == ["postgres"]
        [power] = [one for one in planned["findings"] if one["code"] == "ROLES_WITH_POWER"]
        assert "postgres (SUPERUSER" in power["message"]
        shop = here.change(DB_USER="shop", DB_PASSWORD="shop-of-a-test")
        with pytest.raises(DatabaseError, match="lacks the roles postgres; postgres of them had"):
            restore_database(Job(shop, check=True), key)
        here.change(DB_USER=docker.superuser, DB_PASSWORD=docker.password)
        restore_database(Job(here.settings), key)
        assert docker.execute("SELECT tableowner FROM pg_tables WHERE tablename = 't'", "moving")
    finally:
        debian.execute("DROP DATABASE moving")


def test_extensions_that_cannot_be_made(docker, new_config, s3, s3_client, bucket):
    """Of one database alone, or without their files; in place the first works."""
    docker.execute("CREATE DATABASE crm")
    ours = Database(docker, "crm", docker.superuser, docker.password, "")
    settings = new_config(ours, s3, bucket).settings
    run_sql(docker, "crm", "CREATE EXTENSION clock", "CREATE TABLE t AS SELECT 1 AS i")
    taken = create_backup(Job(settings))
    before = databases_of(docker)
    for check in (True, False):
        with pytest.raises(DatabaseError) as caught:
            restore_database(Job(settings, check=check), "latest")
        assert re.search("clock cannot be made .* can only create .* crm", caught.value.message)
        assert "--in-place" in caught.value.hint
    assert databases_of(docker) == before
    run_sql(docker, "crm", "DELETE FROM t")
    restore_database(Job(settings), "latest", in_place_wanted=True)
    assert docker.execute("SELECT * FROM t", "crm") == [(1,)]

    forget_signed(settings)
    found = engine.manifest_of(s3_client, bucket, taken)
    found["extensions"] = [
        {"name": name, "version": "1", "schema": "public"} for name in ("hollow", "fatal", "clock")
    ]
    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    put_signed(s3_client, bucket, key, manifest.dump(found))
    for in_place in (True, False):
        with pytest.raises(DatabaseError, match="hollow is not whole on the server") as caught:
            restore_database(Job(settings, check=True), "latest", in_place_wanted=in_place)
        assert "fatal cannot be made on the server: terminating conn" in caught.value.message
