"""Restores by the database's owner, who is no superuser: what works, and what to type where it does
not.
"""

from __future__ import annotations

import re

import psycopg
import pytest

from demo import sample
from postgres_backup.backup.database import create_backup
from postgres_backup.catalog import manifest
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_restore
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql, state_of


def as_owner(config, made):
    return config.change(DB_USER=made.owner, DB_PASSWORD=made.password)


@pytest.mark.every_major
def test_the_owner_restores_what_is_its_own(database, config):
    """Everything in the sample that takes no superuser, and a public schema given away and taken
    back.
    """
    server, name = database.server, database.name
    sample.load(server.dsn(name), scale=0.01, roles=False)
    run_sql(server, name, "ALTER TABLE billing.orders DISABLE ROW LEVEL SECURITY")
    run_sql(
        server, "postgres", "GRANT {owner} TO {admin}", owner=database.owner, admin=server.superuser
    )
    run_sql(
        server,
        name,
        "ALTER SCHEMA public OWNER TO {owner}",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DATABASE {name} SET search_path TO public, school",
        "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
        owner=database.owner,
        name=name,
    )
    whole = state_of(server, name)
    create_backup(Job(config.settings))
    sample.destroy(server.dsn(name))
    result = restore_database(Job(config.settings), "latest")
    assert [finding["code"] for finding in result["findings"]] == ["DISK_NOT_CHECKED"]
    assert state_of(server, name) == whole
    undo_restore(Job(config.settings))
    undo_restore(Job(config.settings))
    assert state_of(server, name) == whole


CASES = {
    "a table of another's": (
        ["CREATE TABLE t (id int)", "ALTER TABLE t OWNER TO {other}"],
        '"{other}"',
        'GRANT "{other}" TO "{owner}";',
    ),
    "default privileges of another's": (
        ["ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT SELECT ON TABLES TO PUBLIC"],
        "permission denied to change default privileges|must be member of role|SET ROLE",
        "superuser",
    ),
    "an event trigger": (
        [
            "CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER quiet ON ddl_command_start EXECUTE FUNCTION quiet()",
        ],
        "event trigger|must be able to SET ROLE",
        "lacks a right that the backup takes: restore as a superuser",
    ),
    "a right given on by another": (
        [
            "SET ROLE {owner}; CREATE TABLE t (id int); GRANT SELECT ON t TO {other} WITH GRANT OPTION; RESET ROLE",
            "SET ROLE {other}; GRANT SELECT ON t TO {third}; RESET ROLE",
        ],
        "session authorization",
        "restore as one",
    ),
    "a setting of an application's own": (
        ["ALTER DATABASE {name} SET app.colour TO 'red'"],
        "app.colour",
        'GRANT SET ON PARAMETER "app"."colour" TO "{owner}";',
    ),
    "a setting of a superuser's": (
        ["ALTER DATABASE {name} SET log_statement TO 'none'"],
        "log_statement",
        'GRANT SET ON PARAMETER "log_statement" TO "{owner}";',
    ),
    "another's setting": (
        ["ALTER ROLE {other} IN DATABASE {name} SET work_mem TO '5MB'"],
        "permission denied|must have",
        "superuser",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_what_takes_more_says_so_and_changes_nothing(what, database, new_database, config):
    statements, words, hint = CASES[what]
    server, name = database.server, database.name
    other, third = new_database().owner, new_database().owner
    names = {"owner": database.owner, "other": other, "third": third, "name": name}
    for statement in statements:
        run_sql(server, name, statement, **names)
    create_backup(Job(as_superuser(config, server)))
    before, rows = databases_of(server), rows_of(server, name)
    with pytest.raises(DatabaseError, match=words.format(**names)) as caught:
        restore_database(Job(as_owner(config, database)), "latest")
    assert hint.format(**names).lower() in caught.value.hint.lower(), caught.value.hint
    assert (databases_of(server), rows_of(server, name)) == (before, rows)
    if "GRANT SET" in caught.value.hint:  # what it says helps
        run_sql(server, name, *[caught.value.hint.removeprefix("As a superuser: ")])
        restore_database(Job(config.settings), "latest")
    restore_database(Job(as_superuser(config, server)), "latest")


def test_an_extension_that_only_a_superuser_may_create(
    postgres_server, new_config, s3, bucket, tmp_path
):
    """Known before anything is touched; a trusted one is the owner's to create. Debian's server has
    many extensions.
    """
    server = postgres_server(15)
    try:
        server.execute("CREATE ROLE librarian LOGIN CREATEDB PASSWORD 'librarian-of-a-test'")
        server.execute("CREATE DATABASE shelves OWNER librarian")
        config = new_config(
            Database(server, "shelves", "librarian", "librarian-of-a-test", ""), s3, bucket
        )
        with psycopg.connect(
            server.dsn("shelves", "librarian", "librarian-of-a-test"), autocommit=True
        ) as connection:
            connection.execute(
                "CREATE EXTENSION pg_trgm; CREATE EXTENSION citext; COMMENT ON EXTENSION citext IS 'ours'"
            )
            connection.execute("CREATE TABLE t (id citext)")
        create_backup(Job(config.settings))
        restore_database(Job(config.settings), "latest")
        server.execute("CREATE EXTENSION pg_stat_statements", "shelves")
        create_backup(Job(config.settings))
        before = databases_of(server)
        for check in (True, False):
            with pytest.raises(
                DatabaseError, match="pg_stat_statements, which only a superuser may create"
            ) as caught:
                restore_database(Job(config.settings, check=check), "latest")
            assert "DB_USER" in caught.value.hint
            assert databases_of(server) == before
        restore_database(Job(as_superuser(config, server)), "latest")
    finally:
        for name in [n for n in databases_of(server) if n.startswith("shelves")]:
            run_sql(server, "postgres", "DROP DATABASE {name} WITH (FORCE)", name=name)
        server.execute("DROP ROLE librarian")


def test_an_extension_or_a_version_that_the_server_lacks(postgres_server, new_config, s3, bucket):
    """From 15 with an extension that the other server has not; from 18 into 16."""
    old, new = postgres_server(15), postgres_server(16)
    for server in (old, new):
        server.execute("CREATE DATABASE movable")
    try:
        theirs = new_config(Database(old, "movable", old.superuser, old.password, ""), s3, bucket)
        ours = new_config(Database(new, "movable", new.superuser, new.password, ""), s3, bucket)
        run_sql(old, "movable", "CREATE EXTENSION hstore")
        create_backup(Job(theirs.settings))
        before = databases_of(new)
        with pytest.raises(DatabaseError, match="lacks the extensions hstore"):
            restore_database(Job(ours.settings), "latest")
        taken = create_backup(Job(ours.settings))
        with pytest.raises(
            DatabaseError, match="made by PostgreSQL 16, this server is 15"
        ) as caught:
            restore_database(Job(theirs.settings), taken["backup"])
        assert caught.value.hint == "Restore it into PostgreSQL 16 or newer"
        assert databases_of(new) == before
    finally:
        for server in (old, new):
            run_sql(server, "postgres", "DROP DATABASE movable")


def test_whose_backup_it_is(database, new_database, config, new_config, s3, bucket):
    """A name alone brings back this database's own; another's needs its whole key, and is told."""
    server = database.server
    other = new_database()
    run_sql(
        server,
        other.name,
        "GRANT CREATE ON SCHEMA public TO {owner}",
        "SET ROLE {owner}; CREATE TABLE theirs (id int)",
        owner=other.owner,
    )
    theirs = new_config(other, s3, bucket, SERVER_NAME="elsewhere")
    taken = create_backup(Job(theirs.settings))
    ours = create_backup(Job(config.settings))
    assert restore_database(Job(config.settings, check=True), "latest")["backup"] == ours["backup"]
    with pytest.raises(
        UsageError,
        match=f"a backup of the database {other.name} on elsewhere, not of {database.name}",
    ) as caught:
        restore_database(Job(config.settings), taken["backup"])
    key = caught.value.hint.rpartition(" ")[2]
    assert key == f"s3://{bucket}/{taken['key']}"
    assert not server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'theirs'", database.name)
    result = restore_database(Job(as_superuser(config, server)), key)
    assert "FOREIGN_BACKUP" in [finding["code"] for finding in result["findings"]]
    assert server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'theirs'", database.name) == [
        (1,)
    ]
    with pytest.raises(UsageError) as caught:
        restore_database(Job(config.settings), "postgres-backup-2026-01-27_00-00-00.sql.gz")
    assert caught.value.exit_status == 2
    assert ours["backup"] in caught.value.hint


def test_row_level_security_that_binds_the_owner(database, config):
    """Whoever may not see every row can neither back up nor restore them; a superuser can."""
    server, name = database.server, database.name
    run_sql(
        server,
        name,
        "SET ROLE {owner}",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE mine ENABLE ROW LEVEL SECURITY",
        owner=database.owner,
    )
    run_sql(server, name, "INSERT INTO mine SELECT generate_series(1, 9)")
    create_backup(Job(config.settings))
    restore_database(Job(config.settings), "latest")
    run_sql(server, name, "ALTER TABLE mine FORCE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseError, match="row-level security"):
        create_backup(Job(config.settings))
    create_backup(Job(as_superuser(config, server)))
    before = databases_of(server)
    with pytest.raises(DatabaseError, match="row-level security"):
        restore_database(Job(as_owner(config, database)), "latest")
    assert databases_of(server) == before
    assert restore_database(Job(as_superuser(config, server)), "latest")["rows"] == 9


def test_all_that_stands_in_the_way_is_told_at_once(
    postgres_server, new_config, s3, s3_client, bucket
):
    """Whoever mends one thing does not learn of the next only then; check mode says the same, and
    nothing is touched.
    """
    server = postgres_server(15)
    server.execute("CREATE DATABASE obstacles")
    server.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk-of-a-test'")
    try:
        config = new_config(
            Database(server, "obstacles", server.superuser, server.password, ""), s3, bucket
        )
        taken = create_backup(Job(config.settings))
        found = engine.manifest_of(s3_client, bucket, taken)
        found |= {
            "extensions": [{"name": "no_such_thing", "version": "1", "schema": "public"}],
            "roles": ["postgres", "somebody_else"],
        }
        found |= {
            "database_bytes": 10**15,
            "postgresql_version": "17.1",
            "locale": found["locale"] | {"collate": "xx_YY.UTF-8", "ctype": "xx_YY.UTF-8"},
        }
        key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
        s3_client.put_object(Bucket=bucket, Key=key, Body=manifest.dump(found))
        before = databases_of(server)
        clerk = config.change(DB_USER="clerk", DB_PASSWORD="clerk-of-a-test")
        for check in (True, False):
            with pytest.raises(DatabaseError) as caught:
                restore_database(Job(clerk, check=check), "latest")
            told = (
                "PostgreSQL 17",
                "no_such_thing",
                "may not create databases",
                "xx_YY",
                "its owner is postgres",
                "somebody_else",
            )
            for number, words in enumerate(told, 1):
                assert re.search(rf"{number}\. [^;]*{words}", caught.value.message), (
                    words,
                    caught.value.message,
                )
            assert "3. As a superuser: ALTER ROLE" in caught.value.hint
            assert databases_of(server) == before
    finally:
        server.execute("DROP DATABASE obstacles")
        server.execute("DROP ROLE clerk")


def test_a_locale_that_the_system_lacks_is_known_before_anything_is_touched(
    database, config, s3_client, bucket
):
    server = database.server
    taken = create_backup(Job(config.settings))
    found = engine.manifest_of(s3_client, bucket, taken)
    key = f"postgres-backup/manifests/{taken['backup'].split('.')[0]}.json"
    right = dict(found["locale"])
    for change in ({"collate": "xx_YY.UTF-8", "ctype": "xx_YY.UTF-8"}, {"collate": "xx_YY.UTF-8"}):
        s3_client.put_object(
            Bucket=bucket, Key=key, Body=manifest.dump(found | {"locale": right | change})
        )
        before = databases_of(server)
        for check in (True, False):
            with pytest.raises(
                DatabaseError, match="lacks the locale that the backup needs"
            ) as caught:
                restore_database(Job(config.settings, check=check), "latest")
            assert "locale-gen" in caught.value.hint
            assert databases_of(server) == before
    s3_client.put_object(Bucket=bucket, Key=key, Body=manifest.dump(found))
    restore_database(Job(config.settings), "latest")
