"""Chosen tables ask for no more room than they take."""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore import preflight, tables
from postgres_backup.restore.room import chosen_bytes, whole_bytes
from tests.integration.restoring import as_superuser, run_sql

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    "CREATE TABLE days (day int, said text) PARTITION BY LIST (day)",
    "CREATE TABLE day_1 PARTITION OF days FOR VALUES IN (1)",
    "CREATE TABLE day_2 PARTITION OF days FOR VALUES IN (2)",
    "CREATE TABLE noise (said text)",
    "CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users)",
    "INSERT INTO users VALUES (1, 'one')",
    "INSERT INTO days SELECT n % 2 + 1, 'said' FROM generate_series(1, 50) n",
    "INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 40000) n",
    "INSERT INTO orders VALUES (1, 1)",
)


def test_little_room_is_enough_for_a_small_table(database, config, monkeypatch):
    run_sql(database.server, database.name, *SHOP)
    job = Job(as_superuser(config, database.server))
    create_backup(job)
    backup = preflight.make_plan(job, "latest", beside=True).backup
    whole = whole_bytes(backup)
    free = whole // 2
    for small in (["users"], ["days"], ["public.day_2", "USERS"]):
        assert chosen_bytes(job, backup, small) < free
    assert chosen_bytes(job, backup, ["users", "noise"]) == whole
    assert chosen_bytes(job, backup, ["nobody_knows"]) == whole

    monkeypatch.setattr(preflight, "free_bytes", lambda *_: free)
    run_sql(database.server, database.name, "DELETE FROM users WHERE false", "DELETE FROM days")
    assert tables.restore_tables(job, "latest", ["days"])["tables"][0]["inserted"] == 50
    with pytest.raises(DatabaseError, match="There is no room for what these tables take") as no:
        tables.restore_tables(job, "latest", ["noise"])
    assert no.value.findings[0]["code"] == "DISK_SHORT"
    assert "in place" not in no.value.hint


def test_what_takes_more_than_was_asked_for_is_not_begun(database, config, monkeypatch):
    """A CHECK that reads another table: all of them would be loaded."""
    run_sql(
        database.server,
        database.name,
        *SHOP,
        "CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql STABLE AS"
        " 'SELECT EXISTS (SELECT FROM public.users WHERE id = $1)'",
        "CREATE TABLE marks (user_id int CHECK (public.known(user_id)))",
        "INSERT INTO marks VALUES (1)",
    )
    job = Job(as_superuser(config, database.server))
    create_backup(job)
    free = whole_bytes(preflight.make_plan(job, "latest", beside=True).backup) // 2
    monkeypatch.setattr(preflight, "free_bytes", lambda *_: free)
    with pytest.raises(DatabaseError, match=r"no room to go on \(.*marks") as refused:
        tables.restore_tables(job, "latest", ["marks"])
    assert [one["code"] for one in refused.value.findings] == ["DISK_SHORT"]
