"""A plain dump into a database, and what is said where it does not load."""

from __future__ import annotations

import subprocess

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.postgresql.load import Load
from tests.integration.restoring import rows_of, run_sql


@pytest.fixture
def dump(database) -> bytes:
    run_sql(
        database.server,
        database.name,
        "SET ROLE {owner}",
        "CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1000) n",
        owner=database.owner,
    )
    return subprocess.run(
        [database.server.bin_dir / "pg_dump"],
        env=database.server.environment(database.name),
        capture_output=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("transaction", [False, True], ids=["by table", "in one transaction"])
def test_what_was_dumped_stands_in_another_database(
    transaction, dump, database, new_database, config
):
    other = new_database(owner=f"{database.owner}_too")
    run_sql(
        other.server,
        "postgres",
        "ALTER DATABASE {name} OWNER TO {owner}",
        name=other.name,
        owner=database.owner,
    )
    with Load(config.settings, other.name, transaction=transaction) as load:
        for start in range(0, len(dump), 1000):
            load.feed(dump[start : start + 1000])
        report = load.inspect()
        load.finish()
    assert (report.complete, report.rows) == (True, 1000)
    assert rows_of(other.server, other.name) == rows_of(database.server, database.name)


def test_a_load_that_is_not_finished_leaves_nothing_in_a_transaction(dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    with Load(config.settings, database.name, transaction=True) as load:
        load.feed(dump)
        assert load.inspect().complete
    assert database.execute("SELECT to_regclass('users')::text") == [(None,)]


def loaded(config, name: str, dump: bytes) -> None:
    with Load(config.settings, name, transaction=True) as load:
        load.feed(dump)
        load.inspect()
        load.finish()


def test_a_statement_that_fails_is_told_with_what_helps(dump, database, config):
    run_sql(database.server, database.name, "DROP TABLE users")
    for altered, message, hint in (
        (
            dump.replace(database.owner.encode(), b"nobody_of_that_name"),
            'role "nobody_of_that_name" does not exist',
            'Create it first: CREATE ROLE "nobody_of_that_name";',
        ),
        (
            dump.replace(b"CREATE TABLE", b"CREATE EXTENSION no_such_extension;\nCREATE TABLE", 1),
            'extension "no_such_extension" is not available',
            "Install the package that brings the extension no_such_extension",
        ),
    ):
        with pytest.raises(DatabaseError, match=message) as caught:
            loaded(config, database.name, altered)
        assert caught.value.hint.startswith(hint)
    assert database.execute("SELECT to_regclass('users')::text") == [(None,)]
