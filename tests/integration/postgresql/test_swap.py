"""The moment in which a restored database takes the place of the live one, which is in use."""

from __future__ import annotations

import signal
import threading
import time

import psycopg
import pytest
from psycopg import sql

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import BadBackupError, DatabaseError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql import swap
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.restore.database import restore_database, undo_restore
from tests.integration import engine
from tests.integration.restoring import clients, databases_of, run_sql
from tests.services.brief import BriefPostgresServer
from tests.waiting import wait_for

TABLES = (
    "CREATE TABLE public.pulse (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz)",
    "CREATE TABLE public.book (id int PRIMARY KEY, title text)",
)


@pytest.fixture
def library(database):
    """A small database whose tables belong to its owner."""
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO book SELECT i, md5(i::text) FROM generate_series(1, 1000) i"
        )
    return database


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server for this file alone, with room for prepared transactions."""
    with BriefPostgresServer(
        tmp_path_factory.mktemp("own"),
        16,
        settings={"max_prepared_transactions": "5"},
    ) as server:
        yield server


def books(server, name: str) -> int:
    return server.execute("SELECT count(*) FROM book", name)[0][0]


def nothing_changed(server, before: set[str], name: str, count: int) -> None:
    assert databases_of(server) == before
    assert books(server, name) == count


@pytest.mark.alone
@pytest.mark.every_major
def test_an_application_at_work_loses_its_connection_for_a_moment(library, config):
    """Eight clients that write all the time and come back at once, as their owner, who is no
    superuser.
    """
    server, name = library.server, library.name
    taken = create_backup(Job(config.settings))
    server.execute("DELETE FROM book WHERE id > 10", name)
    with clients(library.dsn(), 8) as working:
        wait_for("the clients", lambda: all(client.written > 5 for client in working))
        assert restore_database(Job(config.settings, check=True), "latest")["sessions"] >= 8
        result = restore_database(Job(config.settings), "latest")
        written = [client.written for client in working]
        wait_for(
            "the clients to come back",
            lambda: all(
                client.written > old + 5 for client, old in zip(working, written, strict=True)
            ),
        )
    assert books(server, name) == 1000
    assert taken["rows"] == 1000
    gap = max(client.longest_gap for client in working)
    print(
        f"downtime: {result['downtime_seconds']} s by our clock, {gap:.3f} s for the slowest client"
    )
    assert result["downtime_seconds"] < 1
    assert gap < 1
    assert books(server, result["kept_database"]) == 10
    # every write that a client was told of is in one of the two databases
    there = sum(
        server.execute("SELECT count(*) FROM pulse", where)[0][0]
        for where in (name, result["kept_database"])
    )
    assert there >= sum(client.written for client in working)


@pytest.mark.alone
def test_whoever_idles_in_a_transaction_is_cut_off(library, config):
    server, name = library.server, library.name
    create_backup(Job(config.settings))
    with (
        psycopg.connect(library.dsn()) as idle,
        psycopg.connect(library.dsn(), application_name="named", autocommit=True) as named,
    ):
        idle.execute("LOCK TABLE book")
        named.execute("SELECT 1")
        assert restore_database(Job(config.settings), "latest")["downtime_seconds"] < 1
        for connection in (idle, named):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
    assert books(server, name) == 1000


def test_connections_outlive_a_restore_that_fails(library, config, s3_client, bucket):
    server, name = library.server, library.name
    taken = create_backup(Job(config.settings))
    data = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    s3_client.put_object(Bucket=bucket, Key=taken["key"], Body=data[:-1] + b"?")
    before = databases_of(server)
    with psycopg.connect(library.dsn(), autocommit=True) as open_all_the_time:
        pid = open_all_the_time.execute("SELECT pg_backend_pid()").fetchone()
        with pytest.raises(BadBackupError):
            restore_database(Job(config.settings), "latest")
        assert open_all_the_time.execute("SELECT pg_backend_pid()").fetchone() == pid
    nothing_changed(server, before, name, 1000)


def test_sessions_of_others_need_a_right(library, new_database, config):
    """Said before anything is loaded; with the right, done."""
    server, name = library.server, library.name
    stranger = new_database()
    create_backup(Job(config.settings))
    before = databases_of(server)
    with psycopg.connect(stranger.dsn(name), autocommit=True) as theirs:
        with pytest.raises(DatabaseError, match=stranger.owner) as caught:
            restore_database(Job(config.settings), "latest")
        assert f'GRANT pg_signal_backend TO "{library.owner}"' in caught.value.hint
        nothing_changed(server, before, name, 1000)
        assert theirs.execute("SELECT 1").fetchone() == (1,)
        # check mode says the same
        with pytest.raises(DatabaseError, match=stranger.owner):
            restore_database(Job(config.settings, check=True), "latest")
        server.execute(
            sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(library.owner))
        )
        restore_database(Job(config.settings), "latest")
        with pytest.raises(psycopg.OperationalError):
            theirs.execute("SELECT 1")
    with server.connect(name) as superusers:
        with pytest.raises(DatabaseError, match="postgres"):
            undo_restore(Job(config.settings))
        assert superusers.execute("SELECT 1").fetchone() == (1,)
    undo_restore(Job(config.settings))


def test_a_session_that_comes_too_late_to_be_known_stops_the_swap_and_nothing_else(library, config):
    """It comes while the backup is loading; the swap finds it, gives up, and the copy is gone."""
    server, name = library.server, library.name
    create_backup(Job(config.settings))
    server.execute("DELETE FROM book WHERE id > 10", name)
    before = databases_of(server)
    came = []

    class Latecomer(Progress):
        def step(self, text: str) -> None:
            if "swapping" in text:
                came.append(server.connect(name))

    with pytest.raises(DatabaseError, match="postgres"):
        restore_database(Job(config.settings, progress=Latecomer()), "latest")
    with came.pop() as still_there:
        assert still_there.execute("SELECT 1").fetchone() == (1,)
    nothing_changed(server, before, name, 10)


@pytest.mark.alone
def test_monitoring_that_comes_and_goes_is_waited_for(library, config):
    """A superuser looks in while we are about to swap; hours of loading are not thrown away for
    that.
    """
    server, name = library.server, library.name
    create_backup(Job(config.settings))

    class Visitor(Progress):
        def step(self, text: str) -> None:
            if "swapping" in text:
                visit = server.connect(name)
                leaving.append(threading.Timer(1.0, visit.close))
                leaving[0].start()

    leaving = []
    assert (
        restore_database(Job(config.settings, progress=Visitor()), "latest")["downtime_seconds"] < 1
    )  # nobody else was sent away meanwhile
    leaving[0].join()
    assert books(server, name) == 1000


def test_who_is_not_the_owner_may_not(library, new_database, new_config, config, s3, bucket):
    """Known before the load, not after hours of it."""
    server, name = library.server, library.name
    create_backup(Job(config.settings))
    other = new_database()
    before = databases_of(server)
    stranger = config.change(DB_USER=other.owner, DB_PASSWORD=other.password)
    with pytest.raises(DatabaseError, match=f"its owner is {library.owner}") as caught:
        restore_database(Job(stranger), "latest")
    assert caught.value.hint == f'As a superuser: GRANT "{library.owner}" TO "{other.owner}";'
    nothing_changed(server, before, name, 1000)
    server.execute(caught.value.hint.removeprefix("As a superuser: "))
    restore_database(Job(stranger), "latest")
    assert server.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", params=(name,)
    ) == [(library.owner,)]


def test_without_createdb_it_says_which_right(library, config):
    server, name = library.server, library.name
    create_backup(Job(config.settings))
    before = databases_of(server)
    run_sql(server, "postgres", "ALTER ROLE {owner} NOCREATEDB", owner=library.owner)
    with pytest.raises(DatabaseError, match="may not create databases") as caught:
        restore_database(Job(config.settings), "latest")
    assert f'ALTER ROLE "{library.owner}" CREATEDB;' in caught.value.hint
    assert "backup_restore_in_place" in caught.value.hint
    nothing_changed(server, before, name, 1000)


@pytest.fixture
def own_library(own_server, new_config, s3, bucket):
    """A database of the server with prepared transactions, and its config."""
    from tests.conftest import Database

    own_server.execute("CREATE ROLE keeper LOGIN CREATEDB PASSWORD 'keeper-of-a-test'")
    own_server.execute("CREATE DATABASE books OWNER keeper")
    made = Database(own_server, "books", "keeper", "keeper-of-a-test", "")
    with psycopg.connect(made.dsn(), autocommit=True) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO book SELECT i, md5(i::text) FROM generate_series(1, 1000) i"
        )
    yield made, new_config(made, s3, bucket)
    for name in databases_of(own_server) - {"postgres", "template0", "template1"}:
        run_sql(own_server, "postgres", "DROP DATABASE {name} WITH (FORCE)", name=name)
    own_server.execute("DROP ROLE keeper")


def test_a_prepared_transaction_is_named(own_library):
    made, config = own_library
    server = made.server
    create_backup(Job(config.settings))
    before = databases_of(server)
    with psycopg.connect(made.dsn()) as connection:
        connection.execute("DELETE FROM book WHERE id > 10")
        connection.execute("PREPARE TRANSACTION 'it''s half done'")
    with pytest.raises(DatabaseError, match="it's half done") as caught:
        restore_database(Job(config.settings), "latest")
    assert "ROLLBACK PREPARED 'it''s half done';" in caught.value.hint
    nothing_changed(server, before, "books", 1000)
    server.execute("ROLLBACK PREPARED 'it''s half done'", "books")
    restore_database(Job(config.settings), "latest")


def test_the_database_named_postgres_too(own_server, new_config, s3, bucket):
    """Many containers have no other; no connection of ours may stand in it when it is renamed."""
    from tests.conftest import Database

    made = Database(own_server, "postgres", own_server.superuser, own_server.password, "")
    settings = new_config(made, s3, bucket).settings
    own_server.execute("CREATE TABLE book (id int); INSERT INTO book VALUES (1), (2)")
    create_backup(Job(settings))
    own_server.execute("DELETE FROM book")
    result = restore_database(Job(settings), "latest")
    assert books(own_server, "postgres") == 2
    assert books(own_server, result["kept_database"]) == 0
    undone = undo_restore(Job(settings))
    assert books(own_server, "postgres") == 0
    own_server.execute("DROP TABLE book")
    run_sql(own_server, "postgres", "DROP DATABASE {name}", name=undone["kept_database"])


def test_killed_at_any_moment_around_the_swap(library, config):
    """One of the two states, whole, and never a database that is missing; the next restore cleans
    up.
    """
    server, name = library.server, library.name
    create_backup(Job(config.settings))
    server.execute("DELETE FROM book WHERE id > 10", name)
    ours = databases_of(server)
    seen = []
    for delay in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3):
        with engine.started(
            config.path, "restore", "latest", stderr=engine.subprocess.PIPE
        ) as running:
            for line in running.stderr:
                if "swapping" in line:
                    break
            time.sleep(delay)
            running.send_signal(signal.SIGKILL)
            running.communicate(timeout=30)
        # a rename under way ends or is undone without us
        wait_for(
            "the server to notice",
            lambda: (
                not server.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'postgres-backup%'"
                )
            ),
        )
        count = books(server, name)
        assert count in (10, 1000)
        seen.append(count)
        if count == 1000:
            undo_restore(Job(config.settings))
            assert books(server, name) == 10
    print("after each kill:", seen)
    restore_database(Job(config.settings), "latest")
    assert books(server, name) == 1000
    assert not [other for other in databases_of(server) - ours if "_restore_" in other]


def test_the_ejector_leaves_the_others_alone(library, new_database, config):
    """Only the database that is to be renamed is emptied; a session that may not be closed does not
    stop it from closing others.
    """
    server = library.server
    other = new_database()
    with (
        psycopg.connect(other.dsn(), autocommit=True) as elsewhere,
        psycopg.connect(library.dsn(), autocommit=True) as inside,
        server.connect(library.name) as superusers,
    ):
        ejector = swap.Ejector(config.settings, library.name)
        ejector.start()
        wait_for("the ejector", lambda: ejector.closed)
        ejector.stop()
        assert ejector.error is None
        assert elsewhere.execute("SELECT 1").fetchone() == (1,)
        assert superusers.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
    with connect_maintenance(config.settings, library.name) as connection:
        assert [session.closable for session in swap.sessions(connection, library.name)] == []
