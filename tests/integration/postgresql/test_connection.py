"""Connections: what they are like whatever the server says by default, what a refusal says, and
rows that come as what was asked for.
"""

from __future__ import annotations

import dataclasses
import signal
import socket
import threading

import psycopg
import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.machine.signals import Interrupted
from postgres_backup.postgresql import container
from postgres_backup.postgresql.connection import (
    connect,
    connect_maintenance,
    first_line,
    row,
    rows,
    value,
    values,
)
from tests.integration.restoring import run_sql


@dataclasses.dataclass(frozen=True)
class Pair:
    number: int
    word: str | None


def test_defaults_of_the_database_neither_cut_it_short_nor_change_its_times(database, config):
    run_sql(
        database.server,
        "postgres",
        "ALTER DATABASE {name} SET statement_timeout TO '1ms'",
        "ALTER DATABASE {name} SET timezone TO 'Asia/Almaty'",
        "ALTER DATABASE {name} SET default_transaction_read_only TO on",
        name=database.name,
    )
    with connect(config.settings, database.name) as connection:
        assert value(connection, str, "SELECT current_setting('timezone')") == "UTC"
        connection.execute("SELECT pg_sleep(0.05)")
        connection.execute("CREATE TEMPORARY TABLE mine (id int)")
    with connect(config.settings, database.name, "REPEATABLE_READ") as connection:
        level = value(connection, str, "SELECT current_setting('transaction_isolation')")
        assert (level, connection.autocommit) == ("repeatable read", False)


def test_rows_come_as_what_was_asked_for(database, config):
    query = "SELECT n AS number, nullif(n::text, '2') AS word FROM generate_series(1, %s) n"
    with connect(config.settings, database.name) as connection:
        assert rows(connection, Pair, query, (2,)) == [Pair(1, "1"), Pair(2, None)]
        assert row(connection, Pair, query, (1,)) == Pair(1, "1")
        assert row(connection, Pair, query, (0,)) is None
        assert values(connection, int, query, (3,)) == [1, 2, 3]
        assert value(connection, int, query, {"never": "used"} and (1,)) == 1
        for wrong in ("SELECT 'text'", "SELECT NULL::int", "SELECT 1 WHERE false"):
            with pytest.raises(TypeError, match="int expected"):
                value(connection, int, wrong)


def test_the_address_that_docker_told_is_the_one_that_is_spoken_to(database, config, monkeypatch):
    """Where the settings' own leads nowhere; the name stays what a certificate is held against."""
    told = (database.server.host, database.server.port)
    monkeypatch.setattr(container, "address", lambda settings: told)
    settings = config.change(DB_HOST="name-of-nothing.invalid", DB_PORT=1)
    with connect(settings, database.name) as connection:
        assert connection.info.host == "name-of-nothing.invalid"
        assert (connection.info.hostaddr, connection.info.port) == told


def test_a_refusal_says_what_to_check(database, config):
    for changes, message, hint in (
        ({"DB_PASSWORD": "wrong"}, "Failed to log in", "backup_db_password"),
        ({"DB_PORT": "1"}, "Failed to reach PostgreSQL", "backup_db_port"),
    ):
        before = {name: config.values[name] for name in changes}
        settings = config.change(**changes)
        for way in (connect, connect_maintenance):
            with pytest.raises(DatabaseError, match=message) as caught, way(settings, "crm"):
                pass
            assert hint in caught.value.hint
        config.change(**before)
    with (
        pytest.raises(DatabaseError, match="it does not exist") as caught,
        connect(config.settings, "no_such_database"),
    ):
        pass
    assert caught.value.hint == "Check backup_db_name"


def test_what_fails_inside_is_told_with_the_database(database, config):
    with (
        pytest.raises(DatabaseError, match=f"'{database.name}': division by zero") as caught,
        connect(config.settings, database.name) as connection,
    ):
        connection.execute("SELECT 1/0")
    assert isinstance(caught.value.__cause__, psycopg.errors.DivisionByZero)
    assert first_line(caught.value.__cause__) == "division by zero"


def test_maintenance_is_done_from_another_database(database, config):
    with connect_maintenance(config.settings, database.name) as connection:
        assert connection.info.dbname == "postgres"
    with connect_maintenance(config.settings, "postgres") as connection:
        assert connection.info.dbname == "template1"


def test_interrupted_it_leaves_no_half_connection(config):
    """For a minute a server waits for who connects to log in, and DROP DATABASE for the server."""
    ended = threading.Event()
    before = signal.getsignal(signal.SIGUSR1)

    def stop(*_: object) -> None:
        raise Interrupted("SIGUSR1")

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(8)  # the beginning of what a client says first
                client.settimeout(5)
                signal.raise_signal(signal.SIGUSR1)
                while client.recv(1024):
                    continue
                ended.set()

        here = {"db_host": "127.0.0.1", "db_port": server.getsockname()[1]}
        settings = dataclasses.replace(config.settings, **here)
        thread = threading.Thread(target=serve)
        signal.signal(signal.SIGUSR1, stop)
        try:
            thread.start()
            with pytest.raises(Interrupted) as caught, connect(settings, "crm"):
                pass
            thread.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert ended.is_set(), caught.value
