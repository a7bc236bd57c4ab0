"""Chosen tables, or definitions alone, are no backup of the whole."""

from __future__ import annotations

import json

import pytest

from postgres_backup.backup import database as backup_room
from postgres_backup.catalog.backups import Catalog
from postgres_backup.errors import UsageError
from postgres_backup.health import listing
from postgres_backup.job import Job
from postgres_backup.s3.store import Store
from tests.integration import engine


def test_chosen_tables_and_schema_only_are_no_whole_backups(sample_config, s3_client, bucket):
    settings = sample_config.settings
    users = backup_room.create_backup(Job(settings), tables=["users", "public.messages"])
    schema = backup_room.create_backup(Job(settings), schema_only=True)
    both = backup_room.create_backup(Job(settings), tables=["users"], schema_only=True)
    assert users["key"].endswith(".users+public.messages.sql.gz")
    assert schema["key"].endswith(".schema.sql.gz")
    assert both["key"].endswith(".users.schema.sql.gz")
    assert (schema["rows"], both["rows"]) == (0, 0)
    assert users["rows"] > 0
    for taken in (users, schema, both):
        assert taken["key"].startswith("postgres-backup/partial/postgres-backup-")
        found = json.loads(
            s3_client.get_object(Bucket=bucket, Key=taken["key"] + ".json")["Body"].read()
        )
        assert found["partial"]
        assert found["sha256"] == taken["sha256"]
        assert found["globals"] is None
    assert {key.split("/")[1] for key in engine.keys(s3_client, bucket)} == {"partial", "journal"}
    assert listing.look(settings)["backups"] == []
    catalog = Catalog(settings, Store(settings), settings.databases[0])
    with pytest.raises(UsageError, match="There is no backup"):
        catalog.resolve("latest")
    for name in (users["backup"], users["key"]):
        assert catalog.resolve(name).name.part, "found by its name, as the part that it is"


@pytest.mark.parametrize("tables", [["no_such_table"], ["users", "no_such_table"], ["Users"]])
def test_a_pattern_that_fits_nothing_is_an_error(sample_config, s3_client, bucket, tables):
    settings = sample_config.settings
    with pytest.raises(UsageError, match="no matching tables") as caught:
        backup_room.create_backup(
            Job(settings), tables=tables if tables != ["Users"] else ['"Users"']
        )
    assert "double quotes" in caught.value.hint
    engine.nothing_left(s3_client, bucket, settings.state_dir)


def test_many_tables_still_fit_into_a_name(sample_config, s3_client, bucket):
    many = ["users"] + [f"public.user{letter}*" for letter in "s" * 60]
    taken = backup_room.create_backup(Job(sample_config.settings), tables=many)
    assert len(taken["key"].rpartition("/")[2]) < 220
    found = json.loads(
        s3_client.get_object(Bucket=bucket, Key=taken["key"] + ".json")["Body"].read()
    )
    assert found["partial"] == "+".join(many)
