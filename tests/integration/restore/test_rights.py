"""Restores by the database's owner, who is no superuser: what works, and what to type where it does
not.
"""

from __future__ import annotations

import psycopg
import pytest

from demo import sample
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_restore
from tests.conftest import Database
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql, state_of
from tests.services import samples


def as_owner(config, made):
    return config.change(DB_USER=made.owner, DB_PASSWORD=made.password)


@pytest.mark.every_major
def test_the_owner_restores_what_is_its_own(database, config):
    """Everything in the sample that takes no superuser, and a public schema given away and taken
    back.
    """
    server, name = database.server, database.name
    samples.load(server.dsn(name), scale=0.01)
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
        r"holds what belongs to {other} \(default privileges .* may not act as that role",
        'GRANT "{other}" TO "{owner}";',
    ),
    "an event trigger": (
        [
            "CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER quiet ON ddl_command_start EXECUTE FUNCTION quiet()",
            "CREATE PUBLICATION everything FOR ALL TABLES",
        ],
        r"event trigger quiet, publication everything, what belongs to postgres \(function quiet",
        "Restore as a superuser",
    ),
    "a right given on by another": (
        [
            (
                "SET ROLE {owner}; CREATE TABLE t (id int);"
                " GRANT SELECT ON t TO {other} WITH GRANT OPTION; RESET ROLE"
            ),
            "SET ROLE {other}; GRANT SELECT ON t TO {third}; RESET ROLE",
        ],
        "rights to table t that {other} granted",
        "Restore as a superuser",
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
    # settings are found out when the side database gets them
    for check in (True, False)["setting" in what :]:
        with pytest.raises(DatabaseError, match=words.format(**names)) as caught:
            restore_database(Job(as_owner(config, database), check=check), "latest")
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
                "CREATE EXTENSION pg_trgm; CREATE EXTENSION citext;"
                " COMMENT ON EXTENSION citext IS 'ours'"
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


def test_a_backup_says_what_its_user_may_not_bring_back(database, new_database, config):
    server, name, owner = database.server, database.name, database.owner
    other = new_database().owner
    run_sql(
        server,
        name,
        "GRANT pg_read_all_data TO {owner}",
        "CREATE SCHEMA own AUTHORIZATION {owner}",
        owner=owner,
    )
    job = Job(as_owner(config, database))
    assert create_backup(job)["findings"] == []
    run_sql(
        server,
        name,
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT SELECT ON TABLES TO PUBLIC",
        other=other,
    )
    said = [(one["code"], one["message"]) for one in create_backup(job)["findings"]]
    assert [code for code, _ in said] == ["RESTORE_NEEDS_RIGHTS"] * 2
    assert "publication everything" in said[0][1]
    assert f'GRANT "{other}" TO "{owner}";' in said[1][1]
    assert create_backup(Job(as_superuser(config, server)))["findings"] == []
