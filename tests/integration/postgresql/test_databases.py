"""Databases made as others are: owner, locale, settings and privileges; and dropped."""

from __future__ import annotations

import dataclasses

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.postgresql import databases
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.postgresql.facts import DatabaseFacts, DatabaseSetting, Grant, database_facts
from tests.integration.restoring import as_superuser, databases_of, run_sql


@pytest.mark.every_major
def test_a_database_is_made_as_another_is(new_database, new_config, s3, bucket):
    made = new_database(options="TEMPLATE template0 LOCALE 'C'")
    server, name = made.server, made.name
    settings = as_superuser(new_config(made, s3, bucket), server)
    run_sql(
        server,
        "postgres",
        'ALTER DATABASE {name} SET search_path TO "$user", public, "we""ird, one"',
        "ALTER ROLE {owner} IN DATABASE {name} SET work_mem TO '7MB'",
        "GRANT CREATE ON DATABASE {name} TO {owner} WITH GRANT OPTION",
        "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
        "ALTER DATABASE {name} CONNECTION LIMIT 9",
        name=name,
        owner=made.owner,
    )
    with connect_maintenance(settings, name) as connection:
        original = database_facts(connection, name)
        assert original is not None
        databases.create_database(connection, f"{name}_copy", original, "a copy")
        assert databases.dress_database(connection, f"{name}_copy", original) == []
        databases.limit_connections(connection, f"{name}_copy", original.connection_limit)
        copy = database_facts(connection, f"{name}_copy")
        assert copy is not None
        assert dataclasses.replace(copy, database_bytes=None) == dataclasses.replace(
            original, database_bytes=None, comment="a copy"
        )
        databases.drop_database(connection, f"{name}_copy")
        databases.drop_database(connection, f"{name}_copy")  # there is none: no error
    assert f"{name}_copy" not in databases_of(server)


def test_a_setting_that_the_server_does_not_take_is_a_finding(database, config):
    settings = as_superuser(config, database.server)
    wanted = DatabaseFacts(
        database.owner,
        grants=(Grant("", "CONNECT", False),),
        settings=(DatabaseSetting("", "no_such_setting=1"), DatabaseSetting("", "work_mem=8MB")),
    )
    with connect_maintenance(settings, database.name) as connection:
        [finding] = databases.dress_database(connection, database.name, wanted)
        dressed = database_facts(connection, database.name)
    assert finding["code"] == "SETTING_LEFT_OUT"
    assert "no_such_setting" in finding["message"]
    assert dressed is not None
    assert dressed.settings == wanted.settings[1:]
    # manifests of old do not say who gave a right: the owner did
    assert dressed.grants == (Grant("", "CONNECT", False, database.owner),)


def test_a_locale_or_a_right_that_is_missing_is_said_with_what_helps(database, config):
    name = f"{database.name}_copy"
    with connect_maintenance(config.settings, database.name) as connection:
        odd = DatabaseFacts(database.owner, "UTF8", "xx_YY.UTF-8", "xx_YY.UTF-8")
        with pytest.raises(DatabaseError, match="lacks the locale") as caught:
            databases.require_locale(connection, odd)
        assert "locale-gen" in caught.value.hint
        with pytest.raises(DatabaseError, match="Failed to create the database") as caught:
            databases.create_database(connection, name, odd, "never")
        assert "locale-gen" in caught.value.hint
        theirs = DatabaseFacts(database.server.superuser)
        with pytest.raises(DatabaseError, match="Failed to create the database") as caught:
            databases.create_database(connection, name, theirs, "never")
        assert f'GRANT "{database.server.superuser}" TO' in caught.value.hint
    assert name not in databases_of(database.server)
