"""Two copies of a database never both take what a publisher sends, and no subscription keeps a
copy from being dropped.
"""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_restore
from postgres_backup.restore.tables import restore_tables
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server that publishes and subscribes."""
    settings = {"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"}
    with BriefPostgresServer(tmp_path_factory.mktemp("logical"), 16, settings=settings) as server:
        yield server


def _on(server) -> dict[str, bool]:
    """Which databases have the subscription, and whether it is on."""
    return dict(
        server.execute(
            "SELECT datname, subenabled FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        )
    )


def _left(result) -> list[str]:
    return [one["message"] for one in result["findings"] if one["code"] == "REPLICATION_LEFT"]


def test_a_database_that_subscribes(database, config):
    server, name = database.server, database.name
    job = Job(as_superuser(config, server))
    run_sql(
        server,
        name,
        "CREATE TABLE t (i int PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 20)",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=none' PUBLICATION p"
        " WITH (connect = false, slot_name = 's')",
        "ALTER SUBSCRIPTION s ENABLE",
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'not here'; END $$",
        "CREATE EVENT TRIGGER nodrop ON sql_drop EXECUTE FUNCTION no()",
        "CREATE EVENT TRIGGER nochange ON ddl_command_start WHEN TAG IN ('ALTER SUBSCRIPTION')"
        " EXECUTE FUNCTION no()",
    )
    create_backup(job)
    run_sql(server, name, "DELETE FROM t WHERE i < 5")

    before = databases_of(server)
    tables = restore_tables(job, "latest", ["t"])
    kept_rows = tables["kept_database"]
    assert (databases_of(server), _on(server)) == (before | {kept_rows}, {name: True})
    assert tables["tables"][0]["inserted"] == 4
    assert _left(tables) == []  # nothing is replaced

    planned = restore_database(Job(job.settings, check=True), "latest")
    restored = restore_database(job, "latest")
    [said] = _left(restored)
    assert _left(planned) == [said]
    assert "is switched off there" in said
    assert 'SET (slot_name = NONE); DROP SUBSCRIPTION "s";' in said
    [off] = [one for one in restored["findings"] if one["code"] == "SUBSCRIPTION_OFF"]
    assert f"{name} gets back the subscriptions of the backup (s) switched off" in off["message"]
    kept = restored["kept_database"]
    assert _on(server) == {name: False, kept: False}

    undone = undo_restore(job)
    assert _left(undone) == []
    assert _on(server) == {name: True, undone["kept_database"]: False}

    in_place = restore_database(job, "latest", in_place_wanted=True)
    assert "comes back as the backup has it, switched off" in _left(in_place)[0]
    assert _on(server)[name] is False


def test_what_a_publisher_sends_goes_into_no_kept_database(database, new_database, config):
    """And an undo misses nothing of it."""
    server, name, far = database.server, database.name, new_database().name
    job = Job(as_superuser(config, server))
    for one in (far, name):
        run_sql(server, one, "CREATE TABLE t (i int PRIMARY KEY)")
    run_sql(server, far, "CREATE PUBLICATION p FOR TABLE t")
    server.execute("SELECT pg_create_logical_replication_slot('sent', 'pgoutput')", far)
    run_sql(
        server,
        name,
        f"CREATE SUBSCRIPTION s CONNECTION '{server.dsn(far)}' PUBLICATION p"
        " WITH (create_slot = false, slot_name = 'sent')",
    )

    def has(count: int) -> bool:
        return server.execute("SELECT count(*) FROM t", name) == [(count,)]

    def idle() -> bool:
        return not server.execute("SELECT 1 FROM pg_replication_slots WHERE active")

    run_sql(server, far, "INSERT INTO t SELECT generate_series(1, 50)")
    wait_for("the first rows", lambda: has(50))
    create_backup(job)
    kept = restore_database(job, "latest")["kept_database"]
    run_sql(server, far, "INSERT INTO t SELECT generate_series(51, 60)")
    wait_for("an idle slot", idle)
    assert server.execute("SELECT count(*) FROM t", kept) == [(50,)]
    assert _on(server) == {name: False, kept: False}
    undo_restore(job)
    wait_for("the rows that were sent meanwhile", lambda: has(60))
    run_sql(server, name, "ALTER SUBSCRIPTION s DISABLE")
    wait_for("an idle slot", idle)


def test_a_database_that_publishes_is_restored_in_place(database, config):
    """The slot stays where it is, and what its consumer will be sent is told beforehand."""
    server, name = database.server, database.name
    job = Job(as_superuser(config, server))
    run_sql(server, name, "CREATE TABLE t (i int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    run_sql(server, name, "CREATE PUBLICATION p FOR TABLE t")
    create_backup(job)
    server.execute("SELECT pg_create_logical_replication_slot('shop', 'pgoutput')", name)
    try:
        planned = restore_database(Job(job.settings, check=True), "latest", True)
        done = restore_database(job, "latest", True)
        [said] = _left(planned)
        assert _left(done) == [said]
        assert "the consumer of the logical replication slot shop is sent every row" in said
        assert server.execute("SELECT slot_name, active FROM pg_replication_slots", name) == [
            ("shop", False)
        ]
    finally:
        server.execute("SELECT pg_drop_replication_slot('shop')", name)
